"""The same firmware on every board: bytes, cycles, traces, messages and where things lie in memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from rnnc.diagnostics import BudgetError, CompileError
from rnnc.target import load_board
from rnnc.toolchain.cc import Image, build, measure_model
from rnnc.toolchain.run import checksum, run_image, self_test_input

RUNNABLE = ("host", "qemu-mps2-an386")
BOARDS = (*RUNNABLE, "stm32f439")
RUN_BYTES = 20
ROW_BYTES = 5
WERROR = ("-Werror",)

INPUT = bytes((7 * i + 120) & 0xFF for i in range(3 * RUN_BYTES))
CALL = "arm_offset_q7(in, tiny_increment[0], out, ROW_BYTES);"


def plus_one(values: bytes) -> bytes:
    """What the fixture model computes: +1 on int8, saturated at 127 (0x7f)."""
    return bytes(v if v == 0x7F else (v + 1) & 0xFF for v in values)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def address_of(image: Image, name: str) -> tuple[int, int]:
    section = image.section(name)
    assert section is not None
    return section.address, section.size


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("portable", [False, True])
def test_outputs_and_cycles_of_each_run(bundle: Path, tmp_path: Path, name: str, portable: bool) -> None:
    board = load_board(name)
    image = build(bundle, board, tmp_path / "out", portable=portable, extra_flags=WERROR)
    result = run_image(image, board, INPUT)
    assert result.outputs == plus_one(INPUT)
    assert len(result.cycles) == 3
    assert result.checksum is None
    assert run_image(image, board, b"").outputs == b""


@pytest.mark.parametrize("name", RUNNABLE)
def test_self_test_runs_on_noise(bundle: Path, tmp_path: Path, name: str) -> None:
    board = load_board(name)
    result = run_image(build(bundle, board, tmp_path / "out"), board, None)
    assert result.checksum == checksum(plus_one(self_test_input(RUN_BYTES)))
    assert len(result.cycles) == 1


@pytest.mark.parametrize("name", RUNNABLE)
def test_trace_holds_every_row(bundle: Path, tmp_path: Path, name: str) -> None:
    board = load_board(name)
    image = build(bundle, board, tmp_path / "out", trace=True, extra_flags=WERROR)
    trace = run_image(image, board, INPUT[:RUN_BYTES], trace=True).trace
    rows = plus_one(INPUT[:RUN_BYTES])
    expected = b"".join(
        struct.pack("<HHI", 0, row, ROW_BYTES) + rows[row * ROW_BYTES : (row + 1) * ROW_BYTES] for row in range(4)
    )
    assert trace == expected


@pytest.mark.parametrize("name", RUNNABLE)
@pytest.mark.parametrize("used_rows", [4, 3])
def test_streamed_input_needs_one_row(bundle: Path, tmp_path: Path, name: str, used_rows: int) -> None:
    """A ring of one row; and a model that never asks for the last row of its input."""
    model = bundle / "model.c"
    edit(model, ".ring = 4, .producer = RNNC_NONE", ".ring = 1, .producer = RNNC_NONE")
    edit(model, ".height = 4, .ring = 4, .producer = 0", f".height = {used_rows}, .ring = 4, .producer = 0")
    edit(model, ".jobs = 4", f".jobs = {used_rows}")
    text = model.read_text(encoding="utf-8")
    head, tail = text.split("rnnc_port outputs", 1)
    tail = tail.replace(".height = 4", f".height = {used_rows}", 1)
    model.write_text(f"{head}rnnc_port outputs{tail}", encoding="utf-8")
    board = load_board(name)
    image = build(bundle, board, tmp_path / "out", extra_flags=WERROR)
    runs = [INPUT[i : i + RUN_BYTES] for i in range(0, len(INPUT), RUN_BYTES)]
    expected = b"".join(plus_one(run[: used_rows * ROW_BYTES]) for run in runs)
    assert run_image(image, board, INPUT).outputs == expected
    with pytest.raises(CompileError, match=r"input\.bin ends in the middle of a run"):
        run_image(image, board, INPUT[:-1])


@pytest.mark.parametrize("name", RUNNABLE)
def test_partial_input_is_an_error(bundle: Path, tmp_path: Path, name: str) -> None:
    board = load_board(name)
    image = build(bundle, board, tmp_path / "out")
    for size in (1, RUN_BYTES + ROW_BYTES, 2 * RUN_BYTES - 1):
        with pytest.raises(CompileError, match=r"input\.bin ends in the middle of a run"):
            run_image(image, board, INPUT[:size])


def test_image_without_tracing_gives_no_trace(bundle: Path, tmp_path: Path) -> None:
    board = load_board("host")
    image = build(bundle, board, tmp_path / "out")
    with pytest.raises(CompileError, match="wrote no trace"):
        run_image(image, board, INPUT, trace=True)


def test_host_build_is_clean_with_clang_and_sanitizers(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = load_board("host")
    for compiler in ("gcc", "clang"):
        monkeypatch.setenv("CC", compiler)
        flags = (*WERROR, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
        image = build(bundle, board, tmp_path / compiler, extra_flags=flags)
        assert run_image(image, board, INPUT).outputs == plus_one(INPUT)


def test_emulated_cycles_are_counted_instructions(bundle: Path, tmp_path: Path) -> None:
    """A loop of 2 instructions per turn, 4 rows: 1,000 turns more are 8,000 instructions more."""
    board = load_board("qemu-mps2-an386")
    figures = []
    for turns in (1000, 2000):
        spin = f'{{ unsigned n = {turns}; __asm__ volatile("1: subs %0, #1\\n bne 1b" : "+l"(n) : : "cc"); }}'
        edit(bundle / "model.c", "(void)params;", f"(void)params; /**/{spin}")
        figures.append(run_image(build(bundle, board, tmp_path / "out"), board, None).cycles[0])
        edit(bundle / "model.c", f"/**/{spin}", "")
    assert abs(figures[1] - figures[0] - 8000) <= 2


def test_stack_used_is_within_the_predicted(bundle: Path, tmp_path: Path) -> None:
    board = load_board("qemu-mps2-an386")
    image = build(bundle, board, tmp_path / "out")
    result = run_image(image, board, INPUT)
    assert image.stack is not None and image.engine_stack is not None and result.stack is not None
    assert image.engine_stack.bytes < result.stack <= image.stack.bytes
    assert image.stack.path[0] == "Reset_Handler"
    assert address_of(image, ".stack")[1] >= image.stack.bytes


def test_stack_overflow_is_reported(bundle: Path, tmp_path: Path) -> None:
    """Stack that no analysis can see, taken behind the compiler's back."""
    board = load_board("qemu-mps2-an386")
    move = "mov r2, sp\\n sub.w r3, r2, #4096\\n mov sp, r3\\n push {r0}\\n mov sp, r2"
    grab = f'__asm__ volatile("{move}" : : : "r2", "r3");'
    edit(bundle / "model.c", "(void)params;", f"(void)params; {grab}")
    image = build(bundle, board, tmp_path / "out")
    with pytest.raises(CompileError, match="stack overflow"):
        run_image(image, board, INPUT, timeout=20)


def test_a_hanging_guest_is_ended(bundle: Path, tmp_path: Path) -> None:
    board = load_board("qemu-mps2-an386")
    edit(bundle / "model.c", "(void)params;", '(void)params; for (;;) { __asm__ volatile(""); }')
    image = build(bundle, board, tmp_path / "out")
    with pytest.raises(CompileError, match="did not finish within 1 s"):
        run_image(image, board, INPUT, timeout=1)


def test_stm32_image_lies_where_the_chip_wants_it(bundle: Path, tmp_path: Path) -> None:
    image = build(bundle, load_board("stm32f439"), tmp_path / "out", extra_flags=WERROR)
    assert image.sections[0].name == ".vectors"
    vectors, size = address_of(image, ".vectors")
    assert (vectors, size) == (0x08000000, 4 * (16 + 91))
    stack, stack_size = address_of(image, ".stack")
    assert stack == 0x20000000
    assert image.bin is not None and image.map is not None and image.map.is_file()
    top, reset = struct.unpack_from("<II", image.bin.read_bytes())
    assert top == stack + stack_size
    text, text_size = address_of(image, ".text")
    assert reset & 1 and text <= reset < text + text_size
    arena, _ = address_of(image, ".arena")
    assert 0x20000000 < arena < 0x20030000
    assert image.flash == image.bin.stat().st_size


def test_second_bank_lies_in_ccm(bundle: Path, tmp_path: Path) -> None:
    edit(bundle / "rnnc_firmware.h", "#define RNNC_FW_INIT tiny_init", "#define RNNC_FW_INIT tiny_init2")
    edit(bundle / "rnnc_firmware.h", "#endif", "#define RNNC_FW_BANK1_SIZE 4096\n#endif")
    text = "int tiny_init2(tiny_t *m, void *arena, size_t size, void *bank1, size_t size1);"
    edit(bundle / "model.h", "#endif", f"{text}\n#endif")
    body = "{ return bank1 == NULL || size1 < 4096 ? RNNC_ERR_ARENA : tiny_init(m, arena, size); }"
    (bundle / "more.c").write_text(f'#include "model.h"\n{text.removesuffix(";")} {body}\n', encoding="utf-8")
    image = build(bundle, load_board("stm32f439"), tmp_path / "out", extra_flags=WERROR)
    assert address_of(image, ".arena1") == (0x10000000, 4096)
    qemu = load_board("qemu-mps2-an386")
    assert run_image(build(bundle, qemu, tmp_path / "qemu"), qemu, INPUT).outputs == plus_one(INPUT)


def test_program_over_the_ram_is_a_budget_error(bundle: Path, tmp_path: Path) -> None:
    edit(bundle / "model.h", "TINY_ARENA_SIZE 40", "TINY_ARENA_SIZE 200000")
    with pytest.raises(BudgetError, match="does not fit the board") as caught:
        build(bundle, load_board("stm32f439"), tmp_path / "out")
    assert "too much for RAM" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_broken_code_names_the_file_and_keeps_the_old_image(bundle: Path, tmp_path: Path) -> None:
    board = load_board("host")
    image = build(bundle, board, tmp_path / "out")
    before = image.elf.read_bytes()
    edit(bundle / "weights.c", "const int8_t tiny_increment", "const int9_t tiny_increment")
    with pytest.raises(CompileError, match=r"weights\.c: the C compiler refused a file") as caught:
        build(bundle, board, tmp_path / "out")
    assert "int9_t" in str(caught.value)
    assert image.elf.read_bytes() == before


def test_missing_compiler_says_what_to_install(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompileError, match="'arm-none-eabi-gcc' was not found") as caught:
        build(bundle, load_board("stm32f439"), tmp_path / "out")
    assert "apt install gcc-arm-none-eabi" in str(caught.value)


def test_empty_folder_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="not a compiled model"):
        build(tmp_path, load_board("host"), tmp_path / "out")


def test_changed_header_is_not_taken_from_the_cache(bundle: Path, tmp_path: Path) -> None:
    board = load_board("host")
    image = build(bundle, board, tmp_path / "out")
    edit(
        bundle / "rnnc_firmware.h",
        "#define RNNC_FW_ARENA_SIZE TINY_ARENA_SIZE",
        "#define RNNC_FW_ARENA_SIZE 8",
    )
    with pytest.raises(CompileError, match="the model refused its arena"):
        run_image(build(bundle, board, tmp_path / "out"), board, INPUT)
    assert image.elf.exists()


def test_unwritable_cache_does_not_matter(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    board = load_board("host")
    assert run_image(build(bundle, board, tmp_path / "out"), board, INPUT).outputs == plus_one(INPUT)


def test_stm32_images_need_a_board(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("stm32f439")
    image = build(bundle, board, tmp_path / "out")
    stand_in(tmp_path / "bin", monkeypatch, "echo 'Error: open failed' >&2; exit 1")
    with pytest.raises(CompileError, match="no debug probe was found"):
        run_image(image, board, INPUT)


def test_what_a_board_prints_is_read(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No board takes part: a stand-in for OpenOCD prints what the firmware would, and keeps what it was asked for."""
    board = load_board("stm32f439")
    image = build(bundle, board, tmp_path / "out")
    printed = "rnnc: self-test cycles 123456 checksum 0x0badcafe"
    asked = stand_in(tmp_path / "bin", monkeypatch, f"echo '{printed}' >&2")
    result = run_image(image, board, None)
    assert (result.cycles, result.checksum) == ((123456,), 0x0BADCAFE)
    commands = asked.read_text()
    assert commands.index("verify") < commands.index("arm semihosting enable") < commands.index("wait_halt")
    stand_in(tmp_path / "bin", monkeypatch, "echo 'Error: timed out while waiting for target halted' >&2; exit 1")
    with pytest.raises(CompileError, match="did not end"):
        run_image(image, board, None)


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A program in the place of openocd; its arguments go to the file that is returned."""
    folder.mkdir(exist_ok=True)
    program = folder / "openocd"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "asked"


def test_model_stack_is_that_of_the_call(bundle: Path) -> None:
    report = measure_model(bundle, "tiny_run").stack
    assert report.path[:2] == ("tiny_run", "rnnc_engine_step")
    assert 0 < report.bytes < 1024


def test_measuring_an_unknown_function(bundle: Path) -> None:
    with pytest.raises(CompileError, match="tiny_walk"):
        measure_model(bundle, "tiny_walk")


def test_cmsis_library_call_gives_the_same_bytes(bundle: Path, tmp_path: Path, cmsis_sources: Path) -> None:
    board = load_board("qemu-mps2-an386")
    image = build(bundle, board, tmp_path / "out", cmsis=cmsis_sources, extra_flags=WERROR)
    assert image.map is not None
    assert "arm_offset_q7" in image.map.read_text(encoding="utf-8")
    assert run_image(image, board, INPUT).outputs == plus_one(INPUT)


INTRINSICS = """
    uint32_t a = 0x8000FFFEu, b = 0x7FFF0003u;
    int bad = __SMLAD(a, b, 5u) != (uint32_t)(5 - 6 - 32768 * 32767);
    bad |= (__SMLADX(a, b, 5u) != (uint32_t)(5 - 2 * 32767 - 32768 * 3)) << 1;
    bad |= (__SMLALD(a, b, UINT64_MAX) != (uint64_t)(-1 - 6 - (int64_t)32768 * 32767)) << 2;
    bad |= (__QADD16(a, b) != 0xFFFF0001u || __QSUB16(a, b) != 0x8000FFFBu) << 3;
    bad |= (__QADD8(0x7F8001FFu, 0x01FF0203u) != 0x7F800302u) << 4;
    bad |= (__SXTB16(0x12801280u) != 0xFF80FF80u || __PKHBT(a, b, 16) != 0x0003FFFEu) << 5;
    bad |= (__PKHTB(a, b, 16) != 0x80007FFFu || __SMMLA(-2, 3, 7) != 6) << 6;
    bad |= (__CLZ(0u) != 32 || __CLZ(1u) != 31 || __ROR(0x80000001u, 1u) != 0xC0000000u ||
            __SSAT(40000, 16) != 32767 || __USAT(-1, 8) != 0 || __QADD(INT32_MAX, 1) != INT32_MAX) << 7;
    for (int i = 0; i < ROW_BYTES; ++i) {
        out[i] = (int8_t)(bad >> (i < 4 ? 2 * i : 0));
    }
    (void)in;
"""


def test_intrinsics_of_the_shim(bundle: Path, tmp_path: Path, cmsis_sources: Path) -> None:
    """Expected values worked out by hand from the instruction descriptions of the Armv7-M manual."""
    edit(bundle / "model.c", CALL, INTRINSICS)
    board = load_board("qemu-mps2-an386")
    image = build(bundle, board, tmp_path / "out", cmsis=cmsis_sources)
    assert run_image(image, board, INPUT[:RUN_BYTES]).outputs == bytes(RUN_BYTES)
