"""What is installed, what is missing, and how to get it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rnnc.diagnostics import CompileError
from rnnc.toolchain import cmsis
from rnnc.toolchain.cc import ARM_GCC
from rnnc.toolchain.tools import find_tool, install_hint, run_tool

_VERSION_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    """One thing that rnnc can use: whether it is there, its version, what it is for and how to get it."""

    name: str
    found: bool
    version: str
    purpose: str
    remedy: str


def checks() -> list[Check]:
    """Look for everything; never raises."""
    tools = [
        _tool("cc", "running models on this computer"),
        _tool(ARM_GCC, "building for Cortex-M4"),
        _newlib(),
        _tool("qemu-system-arm", "running Cortex-M4 images without a board"),
        _tool("openocd", "flashing a board"),
    ]
    library = _cmsis()
    return [*tools, library] if library.found else [*tools, library, _modules()]


def _guarded(name: str, purpose: str, remedy: str, look: Callable[[], str | None]) -> Check:
    try:
        version = look()
    except CompileError as error:
        return Check(name, False, "", purpose, error.remedy or remedy)
    return Check(name, version is not None, version or "", purpose, "" if version is not None else remedy)


def _tool(tool: str, purpose: str) -> Check:
    def look() -> str | None:
        done = run_tool([find_tool(tool), "--version"], timeout=_VERSION_SECONDS)
        lines = (done.stdout or done.stderr).splitlines()
        return lines[0].strip() if lines else "unknown version"

    name = "C compiler" if tool == "cc" else tool
    check = _guarded(name, purpose, install_hint(tool), look)
    return check if check.found else Check(name, False, "", purpose, install_hint(tool))


def _newlib() -> Check:
    def look() -> str | None:
        done = run_tool([find_tool(ARM_GCC), "-print-file-name=nano.specs"], timeout=_VERSION_SECONDS)
        path = Path(done.stdout.strip())
        return "nano.specs" if path.is_absolute() and path.exists() else None

    remedy = "apt install libnewlib-arm-none-eabi"
    check = _guarded("newlib", "the C library of Cortex-M4 images", remedy, look)
    return check if check.found else Check(check.name, False, "", check.purpose, remedy)


def _cmsis() -> Check:
    def look() -> str | None:
        folder = cmsis.locate()
        return None if folder is None else f"in {folder}"

    remedy = (
        f"run `python -m rnnc.toolchain.cmsis`, or set {cmsis.ENVIRONMENT}; "
        "without it, builds use rnnc's own kernels alone, with the same bytes"
    )
    return _guarded(f"CMSIS-DSP {cmsis.VERSION}", "the RNNPool kernels on Cortex-M4", remedy, look)


def _modules() -> Check:
    names = ("setuptools", "wheel", "pip")
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return Check(
        "pip, setuptools, wheel",
        not missing,
        f"Python {sys.version.split()[0]}" if not missing else "",
        "fetching the CMSIS-DSP sources",
        f"python -m pip install {' '.join(missing)}" if missing else "",
    )
