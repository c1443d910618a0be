"""The timing model against cycles counted by hand from the manual's table and its rules for loads and stores."""

from __future__ import annotations

import pytest

from rnnc.profiler.listing import Instruction, parse_listing, read_listing
from rnnc.profiler.timing import Timing, block_cost
from rnnc.toolchain.cc import ARM_GCC
from rnnc.toolchain.tools import check_tool, find_tool

SEQUENCES = {
    # straight-line arithmetic, one cycle each
    "add r0, r1, r2; smlad r0, r1, r2, r3; smlald r0, r1, r2, r3; umull r0, r1, r2, r3; mla r0, r1, r2, r3": 5,
    "sxtb16 r0, r1, ror #8; ssat r0, #8, r1; smmulr r0, r1, r2; pkhbt r0, r1, r2; movw r0, #1; clz r0, r1": 6,
    "cmp r0, #1; itte ne; addne r0, #1; movne r1, r0; moveq r1, #0": 5,
    "udiv r0, r1, r2; sdiv r0, r1, r2": 12,
    "mrs r0, primask": 2,
    # the manual's examples of loads and stores that overlap
    "ldr r0, [r1]; ldr r1, [r2]": 3,
    "ldr r0, [r1, r2]; str r0, [r3, #20]": 3,
    "ldr r0, [r1, r2]; str r1, [r3, r2]": 3,
    "ldr r0, [r1, r5]; ldr r1, [r2]; ldr r2, [r3, #4]": 4,
    # an address that the load before brings cannot overlap with it
    "ldr r1, [r2]; ldr r0, [r1]": 4,
    "ldr r1, [r2]; ldr r0, [r3, r1, lsl #2]": 4,
    # nor can anything overlap across another instruction, or behind a store
    "ldr r0, [r1]; nop; ldr r1, [r2]": 5,
    "str r0, [r1, #4]; ldr r1, [r2]": 3,
    "str r0, [r1, #4]; str r0, [r1, #8]; strb r0, [r1], #1; strh r0, [r1, #2]!": 4,
    "str r0, [r1, r2]": 2,
    "ldrb r0, [r1], #1; ldrsh r2, [r1], #2; ldrsb r3, [r1, #3]; ldrh r3, [r1, r4]": 5,
    "ldrd r0, r1, [r2]; ldr r3, [r4]; strd r0, r1, [r2, #8]": 8,
    "ldm r0!, {r1, r2, r3}; ldr r4, [r5]": 4 + 2,
    "ldr r4, [r5]; ldm r0, {r1, r2, r3, r6}": 2 + 5,
    "stm r0!, {r1-r6}": 7,
    "push {r4-r8, lr}; pop {r4-r8, lr}": 7 + 7,
    # without the refill, which is paid when they are taken
    "bl .; blx r0; bx lr; beq .; b .; cbz r0, 1f; 1: mov pc, r0": 7,
    "pop {r4, pc}; ldr pc, [r0]": 3 + 2,
    "tbb [pc, r0]": 2,
    # floating point
    "vldr s0, [r0]; vstr s0, [r0]; vldr d0, [r0]; vldmia r0!, {s0-s3}; vpush {d8-d9}": 2 + 2 + 3 + 5 + 5,
    "vadd.f32 s0, s1, s2; vmul.f32 s0, s1, s2; vcvt.s32.f32 s0, s1; vcmp.f32 s0, s1; vmov s0, r0": 5,
    "vmla.f32 s0, s1, s2; vfma.f32 s0, s1, s2; vdiv.f32 s0, s1, s2; vsqrt.f32 s0, s1; vmov r0, r1, s0, s1": 36,
}


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Instruction, ...]]:
    """The instructions of each sequence; all are assembled at once, as functions."""
    folder = tmp_path_factory.mktemp("timing")
    names = {f"sequence_{index}": text for index, text in enumerate(SEQUENCES)}
    parts = [f".type {name}, %function\n{name}: {text.replace('; ', chr(10))}\n" for name, text in names.items()]
    source = folder / "all.s"
    source.write_text(".syntax unified\n.thumb\n" + "".join(parts))
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-c"]
    check_tool([find_tool(ARM_GCC), *flags, source, "-o", folder / "all.o"], where=source.name)
    listing = read_listing(folder / "all.o")
    return {names[f.name]: listing.between(f.start, f.end) for f in listing.functions if f.name in names}


@pytest.mark.parametrize("text", SEQUENCES)
def test_cycles_counted_by_hand(text: str, assembled: dict[str, tuple[Instruction, ...]]) -> None:
    cost = block_cost(Timing(), assembled[text])
    assert cost.instructions == len(text.split("; "))
    assert cost.cycles == SEQUENCES[text]


def cost_of(text: str, before: int = 0, timing: Timing = Timing()) -> tuple[int, int]:  # noqa: B008 - frozen
    """Cycles and stalls of 'mnemonic operands' instructions, the first ``before`` of which ran before."""
    parts = [part.split(" ", 1) for part in text.split("; ")]
    block = [Instruction(4 * index, 4, mnemonic, operands) for index, (mnemonic, operands) in enumerate(parts)]
    cost = block_cost(timing, block[before:], block[before - 1] if before else None)
    return cost.cycles, cost.stalls


def test_what_ran_before_the_block_counts() -> None:
    assert cost_of("ldr r0, [r1]; ldr r2, [r3]", before=1) == (1, 0)
    assert cost_of("ldr r3, [r1]; ldr r2, [r3]", before=1) == (2, 0)


def test_address_stalls_are_counted_and_added_on_request() -> None:
    text = "add r1, r1, #4; ldr r0, [r1]; cmp r3, #1; ldr r0, [r3]; smull r4, r5, r6, r7; str r0, [r2, r5]"
    assert cost_of(text) == (3 + 2 + 2 + 2, 2)
    assert cost_of(text, timing=Timing(address_stall=1)) == (3 + 2 + 2 + 2 + 2, 2)


def test_a_division_costs_what_the_timing_says() -> None:
    assert cost_of("udiv r0, r1, r2", timing=Timing(divide=12)) == (12, 0)


def test_the_listing_leaves_out_data_and_remarks() -> None:
    listing = parse_listing(
        "00000100 <f>:\n"
        " 100:\t4801      \tldr\tr0, [pc, #4]\t@ (108 <f+0x8>)\n"
        " 102:\tf7ff fffd \tbl\t100 <f>\n"
        " 106:\tbf00      \tnop\n"
        " 108:\t12345678 \t.word\t0x12345678\n"
        "0000010c <g>:\n"
        " 10c:\tf000 b800 \tb.w\t110 <g+0x4>\n"
    )
    assert [(i.address, i.size, i.mnemonic, i.operands) for i in listing.instructions.values()] == [
        (0x100, 2, "ldr", "r0, [pc, #4]"),
        (0x102, 4, "bl", "100 <f>"),
        (0x106, 2, "nop", ""),
        (0x10C, 4, "b", "110 <g+0x4>"),
    ]
    assert [(f.name, f.start, f.end) for f in listing.functions] == [("f", 0x100, 0x10C), ("g", 0x10C, 0x110)]
    assert listing.caller_of("f").name == "f"
