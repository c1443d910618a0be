"""Softmax: ONNX semantics and axes, rounding, TensorFlow Lite's reference kernel in exact arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.op import evaluate
from rnnc.ir.ops.softmax import TFLITE_OUTPUT, Softmax, SoftmaxInt8, SoftmaxTflite, newton_reciprocal
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, quantised_error


@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 7), 1), ((1, 7), -1), ((1, 3, 4, 5), 1), ((1, 3, 4, 5), 3), ((1, 6, 4), 2), ((1, 6, 4), 1)]
)
def test_as_onnxruntime(shape: tuple[int, ...], axis: int) -> None:
    assert_as_onnxruntime(model_of("Softmax", [shape], axis=axis))


def test_old_opsets_flatten() -> None:
    assert_as_onnxruntime(model_of("Softmax", [(1, 7)], opset=11))
    assert_as_onnxruntime(model_of("Softmax", [(1, 7, 1, 1)], opset=11))
    with pytest.raises(CompileError, match="all axes from 1 of") as caught:
        imported(model_of("Softmax", [(1, 7, 2, 2)], opset=11))
    assert "convert the model to opset 13" in str(caught.value)


def test_other_axes_are_refused() -> None:
    with pytest.raises(CompileError, match=r"(?s)the_node.*over axis 2 of.*channels \(axis 1\) or the last axis"):
        imported(model_of("Softmax", [(1, 3, 4, 5)], axis=2))


@pytest.mark.parametrize("output", [TFLITE_OUTPUT, Quant(1 / 128, 0), Quant(0.0012, 100)])
@pytest.mark.parametrize("channels", [1, 2, 10, 300])
@pytest.mark.parametrize("scale", [0.003, 0.11, 1.5])
def test_fast_is_correctly_rounded(channels: int, scale: float, output: Quant) -> None:
    codes = np.random.default_rng(channels).integers(-128, 128, (9, 4, channels)).astype(np.int8)
    error, op = quantised_error(Softmax(), [(codes, Quant(scale, 7))], output, "fast")
    assert isinstance(op, SoftmaxInt8)
    assert error <= 0.5 + 1e-3


def test_newton_reciprocal() -> None:
    edges = [2**31, 2**31 + 1, 2**31 + 2**16 - 1, 2**31 + 2**16, 2**32 - 2**16, 2**32 - 1]
    divisor = np.concatenate([edges, np.random.default_rng(0).integers(2**31, 2**32, 20000)])
    short = 1.0 - newton_reciprocal(divisor) * (divisor / 2.0**62)
    assert short.min() > -1e-9
    assert short.max() < 2.0**-27


# TensorFlow Lite's reference kernel, element by element in Python's unbounded integers


def high_product(a: int, b: int) -> int:
    return (2 * a * b + 2**31) >> 32


def rounding_shift(x: int, shift: int) -> int:
    size = (abs(x) + (1 << shift >> 1)) >> shift
    return size if x >= 0 else -size


def exp_q31(x: int) -> int:
    """exp of x <= 0 in Q5.26."""
    if x == 0:
        return 2**31 - 1
    quarter = 1 << 24
    inner = x % quarter - quarter
    a = (inner << 5) + (1 << 28)
    a2 = high_product(a, a)
    a3, a4 = high_product(a2, a), high_product(a2, a2)
    third = high_product(rounding_shift(a4, 2) + a3, 715827883)
    series = a + rounding_shift(third + a2, 1)
    result = 1895147668 + high_product(1895147668, series)
    factors = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
    for bit, factor in enumerate(factors):
        if (inner - x) & (quarter << bit):
            result = high_product(result, factor)
    return result


def softmax_tflite(codes: list[int], scale: float) -> list[int]:
    real_multiplier = min(scale * 2**26, 2**31 - 1)
    fraction, left_shift = math.frexp(real_multiplier)
    multiplier = round(fraction * 2**31)
    radius = math.floor(31 * 2**26 / 2**left_shift)
    largest = max(codes)
    exps = [
        exp_q31(high_product((c - largest) << left_shift, multiplier)) if largest - c <= radius else 0 for c in codes
    ]
    total = sum(rounding_shift(e, 12) for e in exps)
    headroom = 32 - total.bit_length()
    half_denominator = ((total << headroom) - 2**31 + 2**31 - 1 + 1) // 2
    x = 1515870810 + high_product(half_denominator, -1010580540)
    for _ in range(3):
        x += 4 * high_product(x, 2**29 - high_product(half_denominator, x))
    reciprocal = min(2 * x, 2**31 - 1)
    shift = 12 - headroom + 31 - 8
    return [min(rounding_shift(high_product(reciprocal, e), shift) - 128, 127) for e in exps]


@pytest.mark.parametrize("scale", [0.0021, 0.0902, 0.1718535, 0.73, 25.0])
@pytest.mark.parametrize("channels", [1, 2, 12, 100])
def test_tflite_recipe(channels: int, scale: float) -> None:
    x = TensorType((6, 1, channels), "int8", Quant(scale, 24))
    y = x.with_quant(TFLITE_OUTPUT)
    op = Softmax().quantise([x], y, "tflite")
    assert isinstance(op, SoftmaxTflite)
    codes = np.random.default_rng(channels).integers(-128, 128, x.shape).astype(np.int8)
    codes[0], codes[1] = -128, 127
    result = evaluate(op, [codes], [x], y)
    for row, given in zip(result, codes, strict=True):
        assert row[0].tolist() == softmax_tflite([int(c) for c in given[0]], scale)
    error, _ = quantised_error(Softmax(), [(codes, Quant(scale, 24))], TFLITE_OUTPUT, "tflite")
    assert error <= 0.6


def test_tflite_with_another_output_scale_falls_back() -> None:
    x = TensorType((1, 1, 4), "int8", Quant(0.1))
    assert isinstance(Softmax().quantise([x], x.with_quant(Quant(1 / 128)), "tflite"), SoftmaxInt8)


def test_refusals() -> None:
    x = TensorType((1, 1, 4), "int8", Quant(0.1))
    with pytest.raises(CompileError, match="lie between 0 and 1"):
        Softmax().quantise([x], x.with_quant(Quant(7.0)), "fast")
    wide = TensorType((1, 1, 5000), "int8", Quant(0.1))
    with pytest.raises(CompileError, match="at most 4096"):
        Softmax().quantise([wide], wide.with_quant(TFLITE_OUTPUT), "tflite")
