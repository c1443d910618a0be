"""Programs a board over its ST-LINK with OpenOCD."""

from __future__ import annotations

import re
from pathlib import Path

from rnnc.diagnostics import CompileError, VerificationError
from rnnc.target import Board
from rnnc.toolchain.tools import find_tool, first_lines, run_tool

_FLASH_SECONDS = 180.0
_CHECK_SECONDS = 20.0
_RUN_MILLISECONDS = 100_000

_NO_PROBE = re.compile(
    r"open failed|unable to find|no device found|libusb_open\(\) failed|LIBUSB_ERROR_(?!ACCESS)",
    re.IGNORECASE,
)
_NO_ACCESS = re.compile(r"LIBUSB_ERROR_ACCESS")
_NO_TARGET = re.compile(r"init mode failed|unable to connect to the target|target voltage", re.IGNORECASE)
_MISMATCH = re.compile(r"verify failed|checksum mismatch|contents differ", re.IGNORECASE)
_NO_END = re.compile(r"timed out while waiting for target halted", re.IGNORECASE)
_ERROR_LINE = re.compile(r"^(?:Error|.*\.cfg:\d+: Error): ?.*$", re.MULTILINE)

# Ends the debug session in the core too: with C_DEBUGEN left on, the firmware's question for a semihosting
# host would halt a core that nobody listens to. The halted core then starts.
_RELEASE = "mww 0xE000EDF0 0xA05F0000"


def _config(board: Board) -> Path:
    if board.openocd_config is None:
        raise CompileError(f"the board '{board.name}' cannot be flashed", why="it has no OpenOCD configuration")
    return board.openocd_config


def check_config(board: Board) -> None:
    """Let OpenOCD read the board's configuration, without a probe; raises CompileError if it refuses."""
    config = _config(board)
    done = run_tool([find_tool("openocd"), "-f", config, "-c", "shutdown"], timeout=_CHECK_SECONDS)
    if done.returncode != 0:
        raise CompileError("OpenOCD refuses its configuration", where=str(config), why=_errors(done.stderr))


def flash(elf: Path, board: Board) -> None:
    """Program, verify and start an image.

    Raises CompileError if no probe or no board answers and VerificationError if the flash does not hold what
    was written.
    """
    config = _config(board)
    if not elf.is_file():
        raise CompileError("there is no image to flash", where=str(elf), remedy=f"rnnc build --board {board.name}")
    program = f"program {{{elf.resolve()}}} verify"
    commands = ["-c", program, "-c", "reset halt", "-c", _RELEASE, "-c", "shutdown"]
    done = run_tool([find_tool("openocd"), "-f", config, *commands], timeout=_FLASH_SECONDS)
    if done.returncode != 0:
        raise flash_error(done.stderr, board)


def run_command(elf: Path, board: Board) -> list[str | Path]:
    """The command that programs an image and runs it to its end, its console and files served by semihosting."""
    config = _config(board)
    program = f"program {{{elf.resolve()}}} verify"
    steps = (program, "reset halt", "arm semihosting enable", "resume", f"wait_halt {_RUN_MILLISECONDS}", "shutdown")
    return [find_tool("openocd"), "-f", config, *(part for step in steps for part in ("-c", step))]


def flash_error(log: str, board: Board) -> CompileError:
    """What OpenOCD's messages mean."""
    if _MISMATCH.search(log):
        return VerificationError("the flash does not hold what was written", where=board.name, why=_errors(log))
    if _NO_END.search(log):
        return CompileError(
            "the program on the board did not end",
            where=board.name,
            why=_errors(log),
            remedy="press reset and try again; `rnnc verify OUT --on qemu` tells whether the program is right",
        )
    if _NO_ACCESS.search(log):
        return CompileError(
            "the debug probe may not be used by this user",
            where=board.name,
            why=_errors(log),
            remedy="install OpenOCD's udev rules (60-openocd.rules) and reconnect the board",
        )
    if _NO_TARGET.search(log):
        return CompileError(
            "the debug probe is there, but the microcontroller does not answer",
            where=board.name,
            why=_errors(log),
            remedy="check the board's power and its ST-LINK jumpers, hold reset and try again",
        )
    if _NO_PROBE.search(log):
        return CompileError(
            "no debug probe was found",
            where=board.name,
            why=_errors(log),
            remedy="connect the board's ST-LINK by USB and try again",
        )
    return CompileError("OpenOCD failed", where=board.name, why=_errors(log))


def _errors(log: str) -> str:
    return first_lines("\n".join(_ERROR_LINE.findall(log)) or log, 4)
