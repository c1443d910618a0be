"""Where the C runtime, the boards and the templates are: inside the wheel, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from rnnc.diagnostics import CompileError

_PACKAGE = Path(__file__).resolve().parent


def _folder(relative: str) -> Path:
    for base in (_PACKAGE / "_data", _PACKAGE.parent):
        if (base / relative).is_dir():
            return base / relative
    raise CompileError(
        f"the folder {relative} is missing from this installation",
        where=str(_PACKAGE),
        remedy="install rnnc again, or run it from a complete checkout",
    )


def runtime_dir() -> Path:
    """The C runtime: include/, src/, src/dsp/ and cmsis/."""
    return _folder("runtime/c")


def boards_dir() -> Path:
    """One folder per board, beside firmware/ and common/."""
    return _folder("boards")


def templates_dir() -> Path:
    """The Jinja templates of the code generator."""
    return _PACKAGE / "codegen" / "templates"
