"""Constants as C text: what a compiler reads is what was printed."""

from __future__ import annotations

import ctypes
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.codegen.cprint import (
    LINE_WIDTH,
    array_definition,
    array_values,
    float_literal,
    int_literal,
    struct_definition,
)
from rnnc.toolchain.cc import WARNINGS
from rnnc.toolchain.tools import check_tool, find_tool


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_read_back(value: float) -> None:
    text = float_literal(value)
    assert text.endswith("f") and ("." in text or "e" in text)
    assert np.float32(text[:-1]) == np.float32(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_c99_has_no_constant_for(value: float) -> None:
    with pytest.raises(ValueError, match="C99 has no constant for"):
        float_literal(value)


def test_smallest_integer_is_an_expression() -> None:
    assert [int_literal(v) for v in (-(2**31), 0, 2**31 - 1)] == ["(-2147483647 - 1)", "0", "2147483647"]


def test_lines_are_broken() -> None:
    lines = array_values(np.arange(200, dtype=np.int16)).splitlines()
    assert max(map(len, lines)) <= LINE_WIDTH and len(lines) > 1
    assert " ".join(lines).replace(",", "").split() == [str(v) for v in range(200)]


def test_struct_with_a_nested_member() -> None:
    text = struct_definition("p", "rnnc_dense", [("weights", "w"), ("requant.low", "-128")])
    assert text == "static const rnnc_dense p = {\n    .weights = w,\n    .requant.low = -128,\n};\n"


def test_a_compiler_reads_the_same_values(tmp_path: Path) -> None:
    arrays = {
        "bytes": np.array([-128, -1, 0, 127], np.int8),
        "words": np.array([-(2**31), 2**31 - 1, 5], np.int32),
        "reals": np.array([0.1, -3e38, 1e-40, 2.0], np.float32),
        "none": np.zeros(0, np.int8),
    }
    ctypes_of = {"bytes": "int8_t", "words": "int32_t", "reals": "float", "none": "int8_t"}
    text = "".join(array_definition(name, ctypes_of[name], array) for name, array in arrays.items())
    source, library = tmp_path / "arrays.c", tmp_path / "arrays.so"
    source.write_text("#include <stdint.h>\n" + text)
    check_tool([find_tool("cc"), *WARNINGS, "-Werror", "-shared", "-fPIC", source, "-o", library], where="cc")
    loaded = ctypes.CDLL(str(library))
    for name, array in arrays.items():
        found = (ctypes.c_char * array.nbytes).in_dll(loaded, name)
        assert bytes(found) == array.tobytes()
