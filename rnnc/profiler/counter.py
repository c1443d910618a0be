"""Runs an image in QEMU under the plugin counter.c and reads what it counted."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.profiler.listing import Listing
from rnnc.target import Board
from rnnc.toolchain.cc import Image
from rnnc.toolchain.objects import cache_dir
from rnnc.toolchain.run import run_image
from rnnc.toolchain.tools import check_tool, find_tool

SOURCE = Path(__file__).with_name("counter.c")
TIMEOUT = 600.0
_FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC", "-fvisibility=hidden")


@dataclass(frozen=True, slots=True)
class BlockCount:
    """A translation block (code from ``start`` to before ``end``) in one layer: how often it was ``executed``, and how
    often ``left`` by a jump instead of to what lies behind it."""

    layer: int
    start: int
    end: int
    executed: int
    left: int


@dataclass(frozen=True, slots=True)
class MemoryCount:
    """Accesses in one layer. ``flash_loads`` are words, halfwords or bytes of data read from flash, ``data_misses``
    those that the accelerator's data cache would miss; ``code_lines`` the changes from one 16-byte line of code to
    another, ``code_misses`` those that its instruction cache would miss; ``unaligned_cycles`` are what unaligned loads
    add."""

    flash_loads: int = 0
    data_misses: int = 0
    unaligned_loads: int = 0
    unaligned_cycles: int = 0
    unaligned_stores: int = 0
    code_lines: int = 0
    code_misses: int = 0


@dataclass(frozen=True)
class Counts:
    """One inference: blocks, and accesses by layer. Layer 0 is the engine, layer i + 1 the operator i."""

    blocks: tuple[BlockCount, ...]
    memory: tuple[MemoryCount, ...]


def build_plugin() -> Path:
    """The compiled plugin, from the user's cache or made now. Raises CompileError without a C compiler."""
    compiler = find_tool("cc")
    key = hashlib.sha256(SOURCE.read_bytes() + "\0".join((compiler, *_FLAGS)).encode()).hexdigest()[:16]
    plugin = cache_dir() / "plugins" / f"counter-{key}.so"
    if not plugin.exists():
        try:
            plugin.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=plugin.parent, suffix=".part")
        except OSError as error:
            raise CompileError("cannot write to the cache", where=str(plugin.parent), why=str(error)) from error
        os.close(handle)
        check_tool([compiler, *_FLAGS, SOURCE, "-o", part], where=SOURCE.name)
        Path(part).replace(plugin)
    return plugin


def count(image: Image, board: Board, listing: Listing, order: Sequence[int], layers: int) -> Counts:
    """Run the self-test of ``image`` once; ``order`` names the operator of each job, in order of execution.

    Raises CompileError if QEMU has no plugins, the program fails, or it runs another number of jobs.
    """
    if board.flash is None:
        raise CompileError(f"the board '{board.name}' has no flash to profile", remedy="profile --on qemu")
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        folder = Path(name)
        (folder / "order.bin").write_bytes(np.array(order, "<u2").tobytes())
        caller = listing.caller_of("rnnc_marker_layer")
        addresses = {
            "begin": listing.function("rnnc_marker_begin").start,
            "end": listing.function("rnnc_marker_end").start,
            "layer": listing.function("rnnc_marker_layer").start,
            "trace": listing.function("rnnc_trace_row").start,
            "caller_low": caller.start,
            "caller_high": caller.end,
            "flash_low": board.flash.base,
            "flash_high": board.flash.base + board.flash.size,
        }
        arguments = [f"{key}={value:x}" for key, value in addresses.items()]
        files = [f"out={folder / 'counts.txt'}", f"order={folder / 'order.bin'}", f"layers={layers}"]
        run_image(image, board, None, plugin=",".join([str(build_plugin()), *files, *arguments]), timeout=TIMEOUT)
        try:
            text = (folder / "counts.txt").read_text()
        except OSError as error:
            raise CompileError(
                "the emulator counted nothing",
                where="qemu-system-arm",
                why="it was built without plugins",
                remedy="use Debian's qemu-system-arm, version 7.2",
            ) from error
    return _parse(text, len(order))


def _parse(text: str, jobs: int) -> Counts:
    blocks: list[BlockCount] = []
    memory: list[MemoryCount] = []
    calls = 0
    for line in text.splitlines():
        kind, *figures = line.split(" ")
        numbers = [int(figure) for figure in figures]
        if kind == "block":
            blocks.append(BlockCount(*numbers))
        elif kind == "memory":
            memory.append(MemoryCount(*numbers[1:]))
        else:
            (calls,) = numbers
    if calls != jobs:
        raise CompileError(
            f"the program ran {calls} jobs, the plan has {jobs}",
            where="profile",
            remedy="compile the model again with this version",
        )
    return Counts(tuple(blocks), tuple(memory))
