"""Activations: ONNX semantics, correctly rounded tables, TensorFlow Lite's recipes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnc.ir import gemmlowp
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.ops.activation import (
    STORED,
    Clamp,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Lut,
    Sigmoid,
    Tanh,
    Unary,
)
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, model_of, only_op, quantised_error, real

SIGMOID, TANH = Quant(1 / 256, -128), Quant(1 / 128, 0)


def scalar(value: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(value, np.float32)


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("Relu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", {}),
    ],
)
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 6)])
def test_as_onnxruntime(op_type: str, attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert_as_onnxruntime(model_of(op_type, [shape], **attributes))


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, 0.5), (2.0, -2.0)])
def test_clip(bounds: tuple[float, float]) -> None:
    assert_as_onnxruntime(model_of("Clip", [(1, 3, 4, 5)], {1: scalar(bounds[0]), 2: scalar(bounds[1])}))


def test_an_open_clip_has_no_bound() -> None:
    op = only_op(model_of("Clip", [(1, 6)], {1: scalar(0.0), 2: scalar(np.finfo(np.float32).max)}), Clamp)
    assert isinstance(op, Clamp)
    assert (op.low, op.high) == (0.0, None)
    merged = op.with_clamp(None, 6.0)
    assert isinstance(merged, Clamp)
    assert (merged.low, merged.high) == (0.0, 6.0)


OPERATORS = (
    (Clamp(-1.0, 3.0), Quant(0.03, -50)),
    (LeakyRelu(0.1), Quant(0.04, -90)),
    (Sigmoid(), SIGMOID),
    (Tanh(), TANH),
    (HardSigmoid(), SIGMOID),
    (HardSwish(), Quant(0.04, -118)),
)


@pytest.mark.parametrize(("arithmetic", "limit"), [("fast", 0.5 + 1e-4), ("tflite", 1.0)])
@pytest.mark.parametrize(("op", "output"), OPERATORS)
@pytest.mark.parametrize("x", [Quant(0.05, 3), Quant(0.004, -128), Quant(0.3, 127)])
def test_tables_are_rounded(op: Unary, output: Quant, x: Quant, arithmetic: Arithmetic, limit: float) -> None:
    """fast is the correctly rounded function; TensorFlow Lite's recipes stay within one step of it."""
    codes = STORED.astype(np.int8).reshape(1, 1, 256)
    error, _ = quantised_error(op, [(codes, x)], output, arithmetic)
    assert error <= limit


def table_of(op: Unary, x: Quant, y: Quant) -> list[int]:
    shape = (1, 1, 1)
    lut = op.quantise([TensorType(shape, "int8", x)], TensorType(shape, "int8", y), "tflite")
    assert isinstance(lut, Lut)
    return [int(code) for code in lut.table]


def test_tflite_logistic_saturates_at_the_radius() -> None:
    """Scale 1/8: inputs from 15 on leave the fixed-point range; there the output is its bound."""
    x = Quant(1 / 8, 0)
    assert gemmlowp.input_radius(4, 25) == 60
    table = table_of(Sigmoid(), x, SIGMOID)
    assert table[128] == 0  # one half
    assert table[128 + 8] == round(256 / (1 + np.exp(-1.0))) - 128
    assert table[0] == -128
    assert table[255] == 127
    assert table_of(Tanh(), x, TANH)[127] == -table_of(Tanh(), x, TANH)[129]


def test_gemmlowp_functions() -> None:
    """Published constants, and the functions to 1e-6."""
    assert [gemmlowp.fixed_point(float(np.exp(-(2.0**e)))) for e in range(-2, 5)] == [
        1672461947,
        1302514674,
        790015084,
        290630308,
        39332535,
        720401,
        242,
    ]
    raw = np.linspace(-(2**31) + 1, 2**31 - 1, 4001).astype(np.int64)
    x = raw / 2.0**27
    assert np.abs(gemmlowp.logistic(raw, 4) / 2.0**31 - 1 / (1 + np.exp(-x))).max() < 1e-6
    assert np.abs(gemmlowp.tanh(raw, 4) / 2.0**31 - np.tanh(x)).max() < 1e-6
    negative = -np.abs(raw)
    exp = gemmlowp.exp_on_negative_values(negative, 5) / 2.0**31
    assert np.abs(exp - np.exp(negative / 2.0**26)).max() < 1e-6


def test_tflite_relu_and_leaky_relu_scale_and_clamp() -> None:
    x, y = Quant(0.5, 10), Quant(0.25, -128)
    assert table_of(Clamp(0.0), x, y) == [max(-128, min(127, 2 * (code - 10) - 128)) for code in STORED]
    leaky = table_of(LeakyRelu(0.25), x, Quant(0.25, 0))
    # -3 * 0.5 and -5 * 0.5: the high product rounds halves up
    assert [leaky[10 + 128 + step] for step in (-5, -4, -3, 0, 3)] == [-2, -2, -1, 0, 6]


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_requantise(arithmetic: Arithmetic) -> None:
    x, y = Quant(0.05, 3), Quant(0.11, -60)
    table = Lut.requantise(x, y, arithmetic).table
    exact = real(STORED, x) / y.scale + y.zero_point
    assert np.abs(table - np.clip(exact, -128, 127)).max() <= (0.5 + 1e-6 if arithmetic == "fast" else 0.75)
    same = Lut.requantise(x, x, arithmetic).table
    assert np.array_equal(same, STORED)


def test_large_scale_ratios_saturate_instead_of_overflowing() -> None:
    table = Lut.requantise(Quant(1e6, 0), Quant(1e-3, 5), "tflite").table
    assert table[0] == -128
    assert table[128] == 5
    assert table[255] == 127
