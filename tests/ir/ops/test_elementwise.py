"""Add, Sub and Mul: ONNX semantics, quantisation error, TensorFlow Lite's recipes, refusals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import evaluate
from rnnc.ir.ops.elementwise import Add, AddInt8, AddPixelInt8, AddTflite, Elementwise, Mul, MulPixelInt8, Sub
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, quantised_error


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 3, 4, 5), (1, 3, 4, 5)),
        ((1, 3, 4, 5), (1, 3, 1, 1)),
        ((1, 3, 1, 1), (1, 3, 4, 5)),
        ((1, 7), (1, 7)),
    ],
)
def test_as_onnxruntime(op_type: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    assert_as_onnxruntime(model_of(op_type, shapes))


@pytest.mark.parametrize(
    ("op_type", "place"),
    [("Add", 0), ("Add", 1), ("Sub", 0), ("Sub", 1), ("Mul", 0), ("Mul", 1), ("Div", 1)],
)
def test_constants_become_affine(op_type: str, place: int) -> None:
    constant = np.array([0.5, -2.0, 3.0], np.float32).reshape(1, 3, 1, 1)
    model = model_of(op_type, [(1, 3, 4, 5)], {place: constant})
    assert_as_onnxruntime(model)
    assert "affine" in {node.op.name for node in imported(model).nodes}


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
@pytest.mark.parametrize("other", [(4, 3, 5), (1, 1, 5)])
@pytest.mark.parametrize("op", [Add(), Add(0.0, 6.0), Sub(), Sub(reverse=True), Sub(low=0.0), Mul(), Mul(low=0.0)])
def test_within_half_a_step(op: Elementwise, other: tuple[int, int, int], arithmetic: Arithmetic) -> None:
    rng = np.random.default_rng(1)
    a = (rng.integers(-128, 128, (4, 3, 5)).astype(np.int8), Quant(0.031, -17))
    b = (rng.integers(-128, 128, other).astype(np.int8), Quant(0.07, 40))
    error, _ = quantised_error(op, [a, b], Quant(0.09, -30), arithmetic)
    assert error <= 0.53


def test_one_pixel_is_read_for_every_row() -> None:
    x, gate = TensorType((4, 3, 5), "int8", Quant(0.1)), TensorType((1, 1, 5), "int8", Quant(0.1))
    op = Mul().quantise([x, gate], x, "fast")
    assert isinstance(op, MulPixelInt8)
    assert [(w.input, w.stride) for w in op.windows([x, gate])] == [(0, 1), (1, 0)]
    assert 1 not in op.in_place
    assert isinstance(Add().quantise([x, gate], x, "fast"), AddPixelInt8)


def test_fast_addition_folds_everything_into_one_shift() -> None:
    """Scales 1/2 and 1/4 of the output's: the larger multiplier has its leading bit at 2^14."""
    op = Add().quantise(
        [TensorType((1, 1, 1), "int8", Quant(0.5, 3)), TensorType((1, 1, 1), "int8", Quant(0.25, -2))],
        TensorType((1, 1, 1), "int8", Quant(1.0, 10)),
        "fast",
    )
    assert isinstance(op, AddInt8)
    assert (op.multipliers, op.shift) == ((1 << 14, 1 << 13), 15)
    assert op.bias == (10 << 15) + (1 << 14) - 3 * (1 << 14) + 2 * (1 << 13)


def rounded(value: Fraction) -> int:
    """To the nearest integer, halves away from zero."""
    size = int(abs(value) + Fraction(1, 2))
    return size if value >= 0 else -size


def half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)).__floor__())


def scaled(value: int, scale: tuple[int, int]) -> int:
    """A multiplication by multiplier * 2^(shift - 31) with shift <= 0: the high product, then the shift."""
    return rounded(Fraction(half_up(Fraction(value * scale[0], 1 << 31)), 1 << -scale[1]))


def test_tflite_addition_in_rational_arithmetic() -> None:
    """The recipe by exact fractions: scale both to twice the larger scale with 20 more bits, add, scale back."""
    a, b, y = Quant(float(np.float32(0.0473)), -128), Quant(float(np.float32(0.0311)), 12), Quant(0.0625, -128)
    grid = np.arange(-128, 128)
    x1, x2 = (axis.reshape(1, 256, 256).astype(np.int8) for axis in np.meshgrid(grid, grid))
    types = [TensorType(x1.shape, "int8", a), TensorType(x1.shape, "int8", b)]
    output = TensorType(x1.shape, "int8", y)
    op = Add().quantise(types, output, "tflite")
    assert isinstance(op, AddTflite)
    for scale, wanted in ((op.scale_a, 0.5), (op.scale_b, b.scale / (2 * a.scale))):
        assert abs(scale[0] * 2.0 ** (scale[1] - 31) - wanted) < 2.0**-31
    result = evaluate(op, [x1, x2], types, output)[0]
    for column in range(0, 256, 5):
        for row in range(0, 256, 7):
            total = scaled((int(x1[0, row, column]) + 128) << 20, op.scale_a)
            total += scaled((int(x2[0, row, column]) - 12) << 20, op.scale_b)
            wanted = min(max(scaled(total, op.scale_out) - 128, -128), 127)
            assert result[row, column] == wanted


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_a_hopeless_output_scale_is_refused(arithmetic: Arithmetic) -> None:
    x = TensorType((1, 1, 1), "int8", Quant(1.0))
    with pytest.raises(CompileError, match="every output would saturate"):
        Add().quantise([x, x], TensorType((1, 1, 1), "int8", Quant(1e-7)), arithmetic)


def test_refusals() -> None:
    with pytest.raises(CompileError, match=r"the_node.*a division by a computed value"):
        imported(model_of("Div", [(1, 3, 4, 5), (1, 3, 4, 5)]))
    with pytest.raises(CompileError, match="both need the same rank"):
        imported(model_of("Add", [(1, 3, 4, 5), (1, 5)]))
    x, row = TensorType((4, 3, 5), "int8", Quant(1.0)), TensorType((1, 3, 5), "int8", Quant(1.0))
    with pytest.raises(CompileError, match="broadcast over its height and width"):
        Mul().quantise([x, row], x, "fast")
    with pytest.raises(CompileError, match="one of them must have the shape of the output"):
        Add().infer([TensorType((4, 1, 5)), TensorType((1, 3, 5))])
