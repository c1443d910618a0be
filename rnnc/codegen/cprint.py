"""Printing constants as C99: array values, literals and parameter structs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from rnnc.ir.types import Array

LINE_WIDTH = 100
_INT32_MIN = -(2**31)


def int_literal(value: int) -> str:
    """An integer as a C constant expression."""
    # C has no negative constants, and 2147483648 alone does not fit an int.
    return "(-2147483647 - 1)" if value == _INT32_MIN else str(value)


def float_literal(value: float) -> str:
    """A C float constant that reads back as the same float32. Raises ValueError for NaN and infinities."""
    if not math.isfinite(value):
        raise ValueError(f"C99 has no constant for {value}")
    digits = f"{value:.9g}"
    return f"{digits}f" if set(digits) & set(".e") else f"{digits}.0f"


def array_values(values: Array, indent: str = "    ") -> str:
    """The elements in memory order, comma separated, broken into lines."""
    flat = values.ravel().tolist()
    is_float = np.issubdtype(values.dtype, np.floating)
    return wrap((float_literal(v) if is_float else int_literal(int(v)) for v in flat), indent)


def wrap(words: Iterable[str], indent: str) -> str:
    """Words, each with a comma behind it, in lines of at most LINE_WIDTH columns."""
    lines: list[str] = []
    line = indent
    for word in words:
        piece = f"{word},"
        if line != indent and len(line) + len(piece) > LINE_WIDTH:
            lines.append(line.rstrip())
            line = indent
        line += piece + " "
    return "\n".join([*lines, line.rstrip()] if line != indent else lines)


def array_definition(name: str, ctype: str, values: Array, linkage: str = "") -> str:
    """``values``, flattened, as a constant C array. An empty one gets a zero, as C99 has no empty arrays."""
    flat = values.ravel() if values.size else np.zeros(1, values.dtype)
    prefix = f"{linkage} const" if linkage else "const"
    return f"{prefix} {ctype} {name}[{flat.size}] = {{\n{array_values(flat)}\n}};\n"


def struct_definition(name: str, struct: str, members: Iterable[tuple[str, str]], linkage: str = "static") -> str:
    """A constant struct from (designator, expression) pairs; "requant.low" designates a nested member."""
    lines = [f"    .{member} = {expression}," for member, expression in members]
    return "\n".join([f"{linkage} const {struct} {name} = {{", *lines, "};\n"])
