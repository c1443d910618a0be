"""Boards and targets as board.toml describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnc.diagnostics import CompileError
from rnnc.resources import boards_dir, runtime_dir, templates_dir
from rnnc.target import Bank, board_names, load_board, load_target, read_board

GOOD = """
name = "x"
description = "y"
isa = "armv7e-m"
runner = "qemu"
cpu_flags = []
clock_hz = 1
sources = []
include = []
"""


def test_every_board_is_complete() -> None:
    assert board_names() == ["host", "qemu-mps2-an386", "stm32f439"]
    for name in board_names():
        board = load_board(name)
        assert board.name == name and board.description
        assert all(path.is_file() for path in board.sources)
        assert all(path.is_dir() for path in board.include)
        for path in (board.linker_script, board.openocd_config):
            assert path is None or path.is_file()


def test_stm32f439_has_the_memories_of_the_chip() -> None:
    board = load_board("stm32f439")
    assert board.banks == (
        Bank("sram", 0x20000000, 192 * 1024, dma=True),
        Bank("ccm", 0x10000000, 64 * 1024, dma=False),
    )
    assert board.flash == Bank("flash", 0x08000000, 2 * 1024 * 1024)
    assert board.clock_hz == 168_000_000


def test_default_target_is_the_cortex_m4_of_the_board() -> None:
    target = load_target()
    assert (target.name, target.has_dsp) == ("cortex-m4", True)
    assert [bank.size for bank in target.banks] == [196608, 65536]
    assert (target.ram_size, target.flash_size) == (262144, 2097152)


def test_host_target() -> None:
    target = load_target("host")
    assert not target.has_dsp
    assert target.ram_size >= 1 << 30


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(CompileError, match="unknown board 'nucleo'") as board_error:
        load_board("nucleo")
    assert board_error.value.remedy == "one of host, qemu-mps2-an386, stm32f439"
    with pytest.raises(CompileError, match="unknown target 'avr'") as target_error:
        load_target("avr")
    assert target_error.value.remedy == "one of cortex-m4, host"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('isa = "armv7e-m"', "", "'isa' must be given and be of type str"),
        ("clock_hz = 1", "clock_hz = true", "'clock_hz' must be given and be of type int"),
        ("sources = []", "sources = [1]", "'sources' must be a list of strings"),
        ('"qemu"', '"oven"', "unknown runner 'oven'"),
        ("name =", "name", "cannot read the description of the board"),
        ("include = []", 'include = []\n[[banks]]\nname = "a"\nbase = 0\nsize = 0', "bank 'a' has no valid"),
    ],
)
def test_faults_in_a_board_file_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert read_board(path).name == "x"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(CompileError, match=message) as caught:
        read_board(path)
    assert str(path) in str(caught.value)


def test_resources_are_there() -> None:
    assert (runtime_dir() / "include" / "rnnc.h").is_file()
    assert (boards_dir() / "firmware" / "main.c").is_file()
    assert templates_dir().parts[-2:] == ("codegen", "templates")
