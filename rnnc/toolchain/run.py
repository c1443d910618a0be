"""Runs an image, natively, in QEMU or on a board, and brings back its outputs, cycles and traces."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rnnc.diagnostics import CompileError
from rnnc.target import Board
from rnnc.toolchain import openocd
from rnnc.toolchain.cc import Image
from rnnc.toolchain.tools import find_tool, first_lines, run_tool

DEFAULT_TIMEOUT = 300.0

# 64 ns of virtual time per instruction: boards/qemu-mps2-an386/board.c counts on this value.
_ICOUNT = "shift=6,sleep=off"

_RUN = re.compile(r"^rnnc: run \d+ cycles (\d+)$", re.MULTILINE)
_SELF_TEST = re.compile(r"^rnnc: self-test cycles (\d+) checksum 0x([0-9a-f]{8})$", re.MULTILINE)
_STACK = re.compile(r"^rnnc: stack (\d+)$", re.MULTILINE)
_DONE = re.compile(r"^rnnc: done runs (\d+)$", re.MULTILINE)
_ERROR = re.compile(r"^rnnc: error: (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    ``outputs`` are the bytes of all outputs of all runs, ``cycles`` one figure per run (QEMU: instructions;
    host: nanoseconds; a board: its own count), ``stack`` the bytes of stack that were used (None on a host), ``trace``
    the bytes of trace.bin, ``checksum`` the FNV-1a hash of a self-test's outputs (None otherwise), ``log`` the console.
    """

    outputs: bytes
    cycles: tuple[int, ...]
    stack: int | None
    trace: bytes
    checksum: int | None
    log: str


def self_test_input(size: int) -> bytes:
    """The noise that a self-test runs on: ``size`` bytes, all inputs in order (boards/firmware/main.c)."""
    state, noise = 1, bytearray()
    for _ in range(size):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        noise.append(state >> 24)
    return bytes(noise)


def checksum(outputs: bytes) -> int:
    """The 32-bit FNV-1a hash that a self-test prints of its outputs."""
    digest = 2166136261
    for value in outputs:
        digest = ((digest ^ value) * 16777619) & 0xFFFFFFFF
    return digest


def run_image(
    image: Image,
    board: Board,
    input_bytes: bytes | None,
    *,
    trace: bool = False,
    plugin: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> RunResult:
    """Run an image on every inference in ``input_bytes`` (device layout), or its self-test if that is None.

    ``trace`` asks for trace.bin, which only images built with tracing write. ``plugin`` is a TCG plugin with its
    arguments, as QEMU's -plugin takes them; cycles then mean nothing. Raises CompileError if the board
    cannot be run from here, on a message of the guest, and after ``timeout`` seconds.
    """
    command = _command(image, board, plugin)
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        folder = Path(name)
        if input_bytes is not None:
            (folder / "input.bin").write_bytes(input_bytes)
        done = run_tool(command, cwd=folder, timeout=timeout)
        # QEMU hands the guest's console to its own stderr.
        log = done.stdout + done.stderr
        if board.runner == "openocd" and done.returncode != 0:
            raise openocd.flash_error(log, board)
        _check_guest(done.returncode, log, board)
        trace_file = folder / "trace.bin"
        if trace and not trace_file.exists():
            raise CompileError("the image wrote no trace", where=image.elf.name, remedy="build it with trace=True")
        output_file = folder / "output.bin"
        return _result(
            log,
            output_file.read_bytes() if output_file.exists() else b"",
            trace_file.read_bytes() if trace else b"",
            input_bytes is None,
            board,
        )


def _command(image: Image, board: Board, plugin: str | None) -> list[str | Path]:
    if board.is_host:
        return [image.elf.resolve()]
    if board.runner == "openocd" and plugin is None:
        return openocd.run_command(image.elf, board)
    if board.runner != "qemu" or board.machine is None:
        raise CompileError(
            f"images for the board '{board.name}' do not run on this computer",
            remedy="run on host or qemu, or use `rnnc flash`",
        )
    semihosting = "enable=on,target=native"
    machine = ["-M", board.machine, "-display", "none", "-monitor", "none", "-serial", "none"]
    # Counting instructions splits blocks and repeats parts of them, which would mislead a plugin.
    counting = ["-icount", _ICOUNT] if plugin is None else ["-plugin", plugin]
    arguments = [*machine, *counting, "-semihosting-config", semihosting]
    return [find_tool("qemu-system-arm"), *arguments, "-kernel", image.elf.resolve()]


def _check_guest(returncode: int, log: str, board: Board) -> None:
    error = _ERROR.search(log)
    if error:
        raise CompileError(f"the program reported: {error[1]}", where=board.name)
    if returncode != 0:
        raise CompileError(f"the program ended with code {returncode}", where=board.name, why=first_lines(log) or None)


def _result(log: str, outputs: bytes, trace: bytes, self_test: bool, board: Board) -> RunResult:
    stack = _STACK.search(log)
    used = int(stack[1]) if stack else None
    if self_test:
        found = _SELF_TEST.search(log)
        if found is None:
            raise CompileError("the self-test printed no result", where=board.name, why=first_lines(log) or None)
        return RunResult(b"", (int(found[1]),), used, trace, int(found[2], 16), log)
    cycles = tuple(int(figure) for figure in _RUN.findall(log))
    done = _DONE.search(log)
    if done is None or int(done[1]) != len(cycles):
        raise CompileError("the program ended early", where=board.name, why=first_lines(log) or None)
    return RunResult(outputs, cycles, used, trace, None, log)
