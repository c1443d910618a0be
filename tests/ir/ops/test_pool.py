"""Pooling: ONNX semantics, quantisation error, TensorFlow Lite's recipes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import evaluate
from rnnc.ir.ops.global_pool import GlobalAverage, GlobalAveragePool, GlobalMax, GlobalMaxPool
from rnnc.ir.ops.pool import AveragePool, AveragePool2D, MaxPool, MaxPool2D
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, quantised_error

IMAGE = (1, 3, 9, 8)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
        {"kernel_shape": [9, 8]},
    ],
)
@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_windows_as_onnxruntime(op_type: str, attributes: dict[str, Any]) -> None:
    assert_as_onnxruntime(model_of(op_type, [IMAGE], **attributes))


def test_max_pool_with_dilation() -> None:
    assert_as_onnxruntime(model_of("MaxPool", [IMAGE], kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 0, 1]))


@pytest.mark.parametrize("count", [0, 1])
def test_average_pool_counts_padding_or_not(count: int) -> None:
    attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": count}
    assert_as_onnxruntime(model_of("AveragePool", [IMAGE], **attributes))


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
def test_one_dimension(op_type: str) -> None:
    assert_as_onnxruntime(model_of(op_type, [(1, 4, 11)], kernel_shape=[3], strides=[2], pads=[1, 1]))


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [IMAGE, (1, 4, 11)])
def test_global(op_type: str, shape: tuple[int, ...]) -> None:
    assert_as_onnxruntime(model_of(op_type, [shape]))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_mean_over_height_and_width(keepdims: int) -> None:
    axes = {1: np.array([-1, 2], np.int64)}
    assert_as_onnxruntime(model_of("ReduceMean", [IMAGE], axes, keepdims=keepdims))
    assert_as_onnxruntime(model_of("ReduceMean", [IMAGE], opset=13, axes=[2, 3], keepdims=keepdims))


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
@pytest.mark.parametrize("quant", [Quant(0.05, 3), Quant(0.031, -80)])
@pytest.mark.parametrize(
    "op",
    [
        AveragePool((2, 3), (1, 2), (1, 1, 0, 1)),
        AveragePool((3, 3), (1, 1), (1, 1, 1, 1), count_padding=True),
        AveragePool((3, 3), (2, 2), low=0.0, high=1.0),
        AveragePool((7, 6)),
        GlobalAveragePool(),
        GlobalAveragePool(low=0.0),
    ],
)
def test_average_within_half_a_step(op: Any, quant: Quant, arithmetic: Arithmetic) -> None:
    codes = np.random.default_rng(3).integers(-128, 128, (7, 6, 5)).astype(np.int8)
    error, _ = quantised_error(op, [(codes, Quant(0.05, 3))], quant, arithmetic)
    # TensorFlow Lite rounds twice, the first time to half a step where the multiplier is near 1
    assert error <= (0.51 if arithmetic == "fast" else 0.76)


@pytest.mark.parametrize("op", [MaxPool((3, 2), (2, 1), (1, 0, 1, 1)), MaxPool((7, 6)), GlobalMaxPool()])
def test_maximum_is_exact(op: Any) -> None:
    codes = np.random.default_rng(3).integers(-128, 128, (7, 6, 5)).astype(np.int8)
    error, _ = quantised_error(op, [(codes, Quant(0.25, 3))], Quant(0.25, 3), "fast")
    assert error == 0


def test_a_window_over_the_whole_input_accumulates() -> None:
    """So that no more than one row of the input is ever held."""
    x = TensorType((90, 4, 3), "int8", Quant(0.1))
    y = TensorType((1, 1, 3), "int8", Quant(0.1))
    average = AveragePool((90, 4)).quantise([x], y, "fast")
    assert isinstance(average, GlobalAverage)
    assert average.jobs([x], y) == 90
    assert [window.rows for window in average.windows([x])] == [1]
    assert average.state_bytes([x], y) == 12
    assert isinstance(MaxPool((90, 4)).quantise([x], y, "fast"), GlobalMax)


def test_tflite_average_pool_rounds_half_away_from_zero() -> None:
    """TensorFlow Lite's AVERAGE_POOL_2D: the mean of the stored integers, whatever their zero point."""
    quant = Quant(0.1, 7)
    x, y = TensorType((1, 2, 4), "int8", quant), TensorType((1, 1, 4), "int8", quant)
    codes = np.array([[[3, -3, 5, -128], [4, -4, 5, -127]]], np.int8)
    op = AveragePool((1, 2)).quantise([x], y, "tflite")
    assert evaluate(op, [codes], [x], y).ravel().tolist() == [4, -4, 5, -128]
    padded = AveragePool((1, 2), pads=(0, 1, 0, 0)).quantise([x], y.with_shape((1, 2, 4)), "tflite")
    assert isinstance(padded, AveragePool2D)
    out = evaluate(padded, [codes], [x], y.with_shape((1, 2, 4)))
    assert out.tolist() == [[[3, -3, 5, -128], [4, -4, 5, -128]]]


def test_tflite_mean_folds_the_count_into_the_multiplier() -> None:
    """49 elements, equal scales: multiplier 2^30 * 2^5 / 49 rounded down, shift 1 - 5."""
    x = TensorType((7, 7, 2), "int8", Quant(0.1, -3))
    op = GlobalAveragePool().quantise([x], TensorType((1, 1, 2), "int8", Quant(0.1, 4)), "tflite")
    assert isinstance(op, GlobalAverage)
    assert op.requant.multipliers.tolist() == [(1 << 35) // 49]
    assert op.requant.shifts.tolist() == [1 - 5]
    assert op.initial == 3 * 49


@pytest.mark.parametrize(
    ("op_type", "attributes", "what", "remedy"),
    [
        (
            "AveragePool",
            {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1},
            "ceil_mode=1 together with count_include_pad=1",
            "set one of the two to 0",
        ),
        ("ReduceMean", {"axes": [1], "opset": 13}, "ReduceMean over the axes (1,) of 4", ""),
        ("ReduceMean", {"axes": [3], "opset": 13}, "ReduceMean over the axes (3,) of 4", ""),
        ("ReduceMean", {}, "ReduceMean over the axes (0, 1, 2, 3) of 4", ""),
        ("MaxPool", {"kernel_shape": [2, 2], "storage_order": 1}, "storage_order=1", "row-major"),
    ],
)
def test_refusals(op_type: str, attributes: dict[str, Any], what: str, remedy: str) -> None:
    with pytest.raises(CompileError) as caught:
        imported(model_of(op_type, [IMAGE], **attributes))
    assert what in str(caught.value)
    assert remedy in str(caught.value)
    assert "the_node" in str(caught.value)


def test_a_window_of_too_many_rows_is_refused() -> None:
    op = MaxPool((65, 1)).quantise([TensorType((70, 2, 1))], TensorType((6, 2, 1)), "fast")
    assert isinstance(op, MaxPool2D)
    with pytest.raises(CompileError, match="65 rows high") as caught:
        op.infer([TensorType((70, 2, 1), "int8")])
    assert "at most 64 rows" in str(caught.value)
