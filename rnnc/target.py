"""Targets and boards: memory banks, flash, instruction set and how to build and run for them.

Everything comes from ``boards/<name>/board.toml``; a new board is a new folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rnnc.diagnostics import CompileError
from rnnc.resources import boards_dir

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ISA_DSP = "armv7e-m"
ISA_HOST = "host"
RUNNERS = ("native", "qemu", "openocd")
DEFAULT_TARGET = "cortex-m4"

# A host has more memory than any model that 32-bit offsets can describe.
_HOST_RAM = 1 << 31

_T = TypeVar("_T")


@dataclass(frozen=True)
class Bank:
    """A piece of memory: first address and size in bytes; ``dma`` tells whether peripherals can reach it."""

    name: str
    base: int
    size: int
    dma: bool = True


@dataclass(frozen=True)
class Board:
    """A place to run on. ``sources`` and ``include`` are absolute; bank 0 is where the stack lies too; ``flash_waits``
    are the cycles that a line of flash takes which no cache has."""

    name: str
    description: str
    folder: Path
    isa: str
    runner: str
    cpu_flags: tuple[str, ...]
    clock_hz: int
    sources: tuple[Path, ...]
    include: tuple[Path, ...]
    banks: tuple[Bank, ...]
    flash: Bank | None
    flash_waits: int
    linker_script: Path | None
    machine: str | None
    openocd_config: Path | None

    @property
    def is_host(self) -> bool:
        """Whether images are programs of this computer."""
        return self.runner == "native"


@dataclass(frozen=True)
class Target:
    """What a model is compiled for: the banks its arena may use, in bytes, the flash size, the cycles that a line of
    flash takes, and the ISA."""

    name: str
    description: str
    isa: str
    banks: tuple[Bank, ...]
    flash_size: int
    flash_waits: int = 0

    @property
    def has_dsp(self) -> bool:
        """Whether the Armv7E-M SIMD instructions are there."""
        return self.isa == ISA_DSP

    @property
    def ram_size(self) -> int:
        """Bytes of all banks together."""
        return sum(bank.size for bank in self.banks)


class _Table:
    """One table of a board.toml, read with messages that name the file and the key."""

    def __init__(self, values: dict[str, Any], where: Path) -> None:
        self.values, self.where = values, where

    def get(self, key: str, kind: type[_T]) -> _T:
        value = self.values.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise CompileError(f"'{key}' must be given and be of type {kind.__name__}", where=str(self.where))
        return value

    def optional(self, key: str, kind: type[_T]) -> _T | None:
        return self.get(key, kind) if key in self.values else None

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.get(key, list)
        if not all(isinstance(value, str) for value in values):
            raise CompileError(f"'{key}' must be a list of strings", where=str(self.where))
        return tuple(values)

    def bank(self, name: str | None = None) -> Bank:
        bank = Bank(
            name or self.get("name", str),
            self.get("base", int),
            self.get("size", int),
            bool(self.values.get("dma", True)),
        )
        if bank.base < 0 or bank.size <= 0:
            raise CompileError(f"bank '{bank.name}' has no valid address and size", where=str(self.where))
        return bank


def board_names() -> list[str]:
    """All boards, sorted."""
    return sorted(path.parent.name for path in boards_dir().glob("*/board.toml"))


def target_names() -> list[str]:
    """All targets that ``load_target`` knows."""
    return sorted(_TARGETS)


def read_board(path: Path) -> Board:
    """Read one board.toml; raises CompileError naming the file and the key that is wrong."""
    try:
        table = _Table(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CompileError("cannot read the description of the board", where=str(path), why=str(error)) from error
    folder = path.parent
    runner = table.get("runner", str)
    if runner not in RUNNERS:
        raise CompileError(f"unknown runner '{runner}'", where=str(path), remedy=f"one of {', '.join(RUNNERS)}")
    flash = table.optional("flash", dict)
    banks = table.optional("banks", list) or []
    script = table.optional("linker_script", str)
    config = table.optional("openocd_config", str)
    return Board(
        name=table.get("name", str),
        description=table.get("description", str),
        folder=folder,
        isa=table.get("isa", str),
        runner=runner,
        cpu_flags=table.strings("cpu_flags"),
        clock_hz=table.get("clock_hz", int),
        sources=tuple((folder / name).resolve() for name in table.strings("sources")),
        include=tuple((folder / name).resolve() for name in table.strings("include")),
        banks=tuple(_Table(bank, path).bank() for bank in banks),
        flash=_Table(flash, path).bank("flash") if flash is not None else None,
        flash_waits=(_Table(flash, path).optional("wait_states", int) or 0) if flash is not None else 0,
        linker_script=folder / script if script is not None else None,
        machine=table.optional("machine", str),
        openocd_config=folder / config if config is not None else None,
    )


def load_board(name: str) -> Board:
    """The board of that name; raises CompileError listing the known ones."""
    names = board_names()
    if name not in names:
        raise CompileError(f"unknown board '{name}'", remedy=f"one of {', '.join(names)}")
    return read_board(boards_dir() / name / "board.toml")


def _cortex_m4() -> Target:
    board = load_board("stm32f439")
    flash = board.flash.size if board.flash else 0
    return Target("cortex-m4", board.description, board.isa, board.banks, flash, board.flash_waits)


def _host() -> Target:
    board = load_board("host")
    return Target("host", board.description, board.isa, (Bank("ram", 0, _HOST_RAM),), _HOST_RAM)


_TARGETS: dict[str, Callable[[], Target]] = {"cortex-m4": _cortex_m4, "host": _host}


def load_target(name: str = DEFAULT_TARGET) -> Target:
    """The target of that name; raises CompileError listing the known ones."""
    if name not in _TARGETS:
        raise CompileError(f"unknown target '{name}'", remedy=f"one of {', '.join(target_names())}")
    return _TARGETS[name]()
