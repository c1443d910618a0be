"""Finding and running other programs, with errors that a user can act on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnc.diagnostics import CompileError

APT_PACKAGES: Mapping[str, str] = {
    "cc": "gcc",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "arm-none-eabi-objcopy": "binutils-arm-none-eabi",
    "arm-none-eabi-objdump": "binutils-arm-none-eabi",
    "arm-none-eabi-readelf": "binutils-arm-none-eabi",
    "arm-none-eabi-size": "binutils-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "openocd": "openocd",
}

_SHOWN_LINES = 12


def install_hint(tool: str) -> str:
    """How to get a tool on Debian or Ubuntu."""
    return f"apt install {APT_PACKAGES.get(tool, tool)}"


def find_tool(tool: str) -> str:
    """Absolute path of a program; ``cc`` means $CC, cc, gcc or clang. Raises CompileError with a remedy."""
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"] if tool == "cc" else [tool]
    for name in names:
        path = shutil.which(name) if name else None
        if path:
            return path
    what = "no C compiler was found" if tool == "cc" else f"the program '{tool}' was not found"
    raise CompileError(what, where="PATH", remedy=f"{install_hint(tool)}; `rnnc doctor` lists all that is needed")


def has_tool(tool: str) -> bool:
    """Whether `find_tool` would find it."""
    try:
        find_tool(tool)
    except CompileError:
        return False
    return True


def first_lines(text: str, count: int = _SHOWN_LINES) -> str:
    """The first lines of a tool's output, for a message."""
    lines = [line for line in text.splitlines() if line.strip()]
    more = [f"... and {len(lines) - count} more lines"] if len(lines) > count else []
    return "\n    ".join(lines[:count] + more)


def run_tool(
    command: Sequence[str | Path], *, cwd: Path | None = None, timeout: float = 300.0
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code; raises CompileError if it cannot start or takes too
    long (seconds)."""
    arguments = [str(part) for part in command]
    name = Path(arguments[0]).name
    try:
        return subprocess.run(
            arguments,
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CompileError(f"{name} did not finish within {timeout:g} s") from error
    except OSError as error:
        raise CompileError(f"cannot start {name}", why=str(error)) from error


def check_tool(command: Sequence[str | Path], *, where: str, timeout: float = 300.0) -> str:
    """Run a program that must succeed and return what it prints; raises CompileError with its first lines."""
    done = run_tool(command, timeout=timeout)
    if done.returncode != 0:
        raise CompileError(
            f"{Path(str(command[0])).name} failed", where=where, why=first_lines(done.stderr or done.stdout)
        )
    return done.stdout
