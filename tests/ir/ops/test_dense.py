"""Dense layers: ONNX semantics, quantisation error, stored weights, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import SourceNode
from rnnc.ir.op import Const
from rnnc.ir.ops.dense import Dense, DenseInt
from rnnc.ir.ops.linear import pack_pairs
from rnnc.ir.types import Array, Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, quantised_error, stored

RNG = np.random.default_rng(12)


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("constants", "attributes"),
    [
        ({1: normal(7, 4)}, {}),
        ({1: normal(7, 4), 2: normal(4)}, {}),
        ({1: normal(4, 7), 2: normal(1, 4)}, {"transB": 1}),
        ({1: normal(4, 7), 2: normal(1)}, {"transB": 1, "alpha": 0.5, "beta": -2.0}),
        ({1: normal(7, 4), 2: normal(4)}, {"alpha": -1.5, "beta": 0.0}),
        ({1: normal(7, 1), 2: np.array(0.25, np.float32)}, {}),
    ],
)
def test_gemm_as_onnxruntime(constants: dict[int, Array], attributes: dict[str, Any]) -> None:
    assert_as_onnxruntime(model_of("Gemm", [(1, 7)], constants, **attributes))


def test_matmul_as_onnxruntime() -> None:
    assert_as_onnxruntime(model_of("MatMul", [(1, 9)], {1: normal(9, 5)}))


def test_packing_pairs_words_of_two_outputs() -> None:
    weight = np.arange(1, 16, dtype=np.int8).reshape(3, 5)
    assert pack_pairs(weight).reshape(-1, 4).tolist() == [
        *([1, 2, 3, 4], [6, 7, 8, 9], [5, 0, 0, 0], [10, 0, 0, 0]),
        *([11, 12, 13, 14], [15, 0, 0, 0]),
    ]


def test_reads_the_elements_of_an_image_in_memory_order() -> None:
    op, x = Dense(Const(normal(3, 24)), Const(normal(3))), normal(2, 3, 4)
    assert op.infer([TensorType(x.shape)]).shape == (1, 1, 3)
    assert op.bias is not None
    expected = op.weight.values @ x.ravel() + op.bias.values
    np.testing.assert_allclose(op.evaluate([x]).ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize(("arithmetic", "steps"), [("fast", 0.51), ("tflite", 0.76)])
def test_quantised_within_one_rounding(arithmetic: Arithmetic, steps: float) -> None:
    weight = RNG.integers(-126, 127, (5, 30))
    weight[:, 0] = 127
    op = Dense(Const(weight * np.float32(2.0**-6)), Const((RNG.integers(-999, 999, 5) * 2.0**-10).astype(np.float32)))
    clamped = op.with_clamp(0.0, None)
    assert clamped is not None
    quant = Quant(2.0**-4, -7)
    x = stored(RNG.normal(0, 2, (3, 2, 5)), quant)
    error, int_op = quantised_error(clamped, [(x, quant)], Quant(0.2, -100), arithmetic)
    assert error <= steps
    assert isinstance(int_op, DenseInt) and int_op.weight.shape == (5, 3, 2, 5) and int_op.requant.low == -100


def test_tflite_multiplies_scales_in_float32() -> None:
    """0.1 * 0.3 as float32 differs from the double product, and so does the multiplier."""
    weight = Const(np.full((1, 1), 127 * 0.3, np.float32), np.full((1, 1), 127), np.array([np.float32(0.3)]))
    x = TensorType((1, 1, 1), "int8", Quant(float(np.float32(0.1)), 0))
    y = TensorType((1, 1, 1), "int8", Quant(0.7, 0))
    op = Dense(weight).quantise([x], y, "tflite")
    assert isinstance(op, DenseInt)
    product = float(np.float32(0.1) * np.float32(0.3)) / 0.7
    assert float(np.float32(0.1)) * float(np.float32(0.3)) / 0.7 != product
    assert op.requant.multipliers[0] == int(np.floor(product * 2.0 ** (31 + 4) + 0.5))
    assert op.requant.shifts[0] == -4


class Importer:
    """As much of a Builder as from_onnx needs; keeps the operator."""

    def __init__(self) -> None:
        self.op: Dense | None = None

    def value(self, node: SourceNode, index: int) -> Any:
        return node.inputs[index]

    def const(self, node: SourceNode, index: int) -> Any:
        return node.inputs[index]

    def onnx_shape(self, value: Any) -> tuple[int, ...]:
        return (1, *value.type.shape)

    def to_hwc(self, value: Any) -> Any:
        return value

    def from_hwc(self, value: Any, shape: tuple[int, ...]) -> Any:
        return value

    def emit(self, op: Dense, inputs: list[Any], name: str) -> Any:
        self.op = op
        return Value(name, op.infer([TensorType((1, 1, 3))]))


def imported_weight(weight: Const, **attributes: Any) -> Const:
    x = Value("x", TensorType((3,)))
    importer = Importer()
    Dense.from_onnx(SourceNode("Gemm", "g", (x, weight), ("y",), attributes, 18), importer)  # type: ignore[arg-type]
    assert importer.op is not None
    return importer.op.weight


def test_stored_weights_follow_their_outputs() -> None:
    """[I, O] with a scale per output becomes [O, I] with the same; a scale per input cannot be kept."""
    integers = RNG.integers(-127, 128, (3, 2))
    scale = np.array([0.5, 0.25])
    kept = imported_weight(Const((integers * scale).astype(np.float32), integers, scale, 1), alpha=2.0)
    assert kept.stored is not None and kept.scale is not None
    assert np.array_equal(kept.stored, integers.T) and kept.scale.tolist() == [1.0, 0.5] and kept.axis == 0
    per_input = np.array([0.5, 0.25, 1.0])
    real = (integers * per_input[:, None]).astype(np.float32)
    lost = imported_weight(Const(real, integers, per_input, 0))
    assert lost.stored is None and np.array_equal(lost.values, real.T)


@pytest.mark.parametrize(
    ("op_type", "shapes", "constants", "attributes", "words"),
    [
        ("MatMul", [(1, 3, 4)], {1: normal(4, 2)}, {}, r"MatMul of an input of shape \[1, 3, 4\]"),
        ("Gemm", [(1, 4)], {1: normal(1, 2)}, {"transA": 1}, "transA=1"),
        ("MatMul", [(1, 1), (1, 2)], {}, {}, "input 1 of MatMul is computed while the model runs"),
    ],
)
def test_refusals(
    op_type: str, shapes: list[tuple[int, ...]], constants: dict[int, Array], attributes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        imported(model_of(op_type, shapes, constants, **attributes))
    assert caught.value.where


def test_weights_must_fit_the_input() -> None:
    with pytest.raises(CompileError, match="weights for 7 inputs do not fit an input of 12 elements"):
        Dense(Const(normal(2, 7))).infer([TensorType((2, 3, 2))])
