"""Convolution: ONNX semantics, quantisation error, stored weights, packing, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic, Requant
from rnnc.ir.op import Const
from rnnc.ir.ops.conv import Conv, Conv2D
from rnnc.ir.ops.conv_packing import pack_columns, pack_rows
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, only_op, quantised_error, stored
from tests.onnx_models import onnx_model

RNG = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "weights", "attributes"),
    [
        ((1, 3, 9, 8), (5, 3, 3, 3), {}),
        ((1, 3, 9, 8), (5, 3, 3, 2), {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
        ((1, 3, 9, 8), (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 3, 9, 8), (4, 3, 2, 2), {"strides": [2, 3], "auto_pad": "SAME_LOWER"}),
        ((1, 3, 9, 8), (4, 3, 2, 2), {"auto_pad": "VALID"}),
        ((1, 3, 9, 8), (4, 3, 3, 2), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
        ((1, 6, 5, 5), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        ((1, 6, 5, 5), (12, 1, 3, 3), {"group": 6}),
        ((1, 6, 5, 5), (4, 3, 1, 1), {"group": 2}),
        ((1, 6, 1, 1), (4, 6, 1, 1), {}),
        ((1, 2, 11), (3, 2, 3), {"strides": [2], "pads": [1, 2]}),
        ((1, 4, 11), (4, 1, 3), {"group": 4, "strides": [3], "auto_pad": "SAME_UPPER"}),
    ],
)
@pytest.mark.parametrize("biased", [False, True])
def test_as_onnxruntime(
    shape: tuple[int, ...], weights: tuple[int, ...], attributes: dict[str, Any], biased: bool
) -> None:
    constants = {1: normal(*weights)} | ({2: normal(weights[0])} if biased else {})
    assert_as_onnxruntime(model_of("Conv", [shape], constants, **attributes))


def exact_conv(group: int, low: float | None = None) -> Conv:
    """Weights that quantise without error: each channel's largest is 127 steps of 2^-6."""
    weight = RNG.integers(-126, 127, (6, 3, 3, 6 // group))
    weight[:, 0, 0, 0] = 127
    bias = RNG.integers(-999, 999, 6) * 2.0**-6 * 0.05
    return Conv(
        Const(weight * np.float32(2.0**-6)), Const(bias.astype(np.float32)), (2, 1), (1, 1, 1, 1), group=group, low=low
    )


@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize(("arithmetic", "steps"), [("fast", 0.51), ("tflite", 0.76)])
def test_quantised_within_one_rounding(group: int, arithmetic: Arithmetic, steps: float) -> None:
    quant = Quant(0.05, -7)
    x = stored(RNG.normal(0, 2, (7, 5, 6)), quant)
    error, op = quantised_error(exact_conv(group, low=0.0), [(x, quant)], Quant(0.2, -100), arithmetic)
    assert error <= steps
    assert isinstance(op, Conv2D) and op.requant.low == -100


def test_clamp_is_merged() -> None:
    relu6 = exact_conv(1).with_clamp(0.0, 6.0)
    assert isinstance(relu6, Conv) and (relu6.low, relu6.high) == (0.0, 6.0)
    both = relu6.with_clamp(-1.0, 4.0)
    assert isinstance(both, Conv) and (both.low, both.high) == (0.0, 4.0)


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_stored_weights_are_kept(arithmetic: Arithmetic) -> None:
    integers = RNG.integers(-127, 128, (2, 1, 1, 3))
    scale, bias_scale = np.array([0.5, 0.25]), np.array([0.05, 0.025])
    weight = Const((integers * scale[:, None, None, None]).astype(np.float32), integers, scale)
    bias = Const(np.array([5.0, -2.5], np.float32), np.array([100, -100]), bias_scale)
    x, y = TensorType((2, 2, 3), "int8", Quant(0.1, 4)), TensorType((2, 2, 2), "int8", Quant(1.0, 0))
    op = Conv(weight, bias).quantise([x], y, arithmetic)
    assert isinstance(op, Conv2D)
    assert np.array_equal(op.weight, integers)
    assert op.bias.tolist() == [100 - 4 * integers[0].sum(), -100 - 4 * integers[1].sum()]


def test_packing_gives_pairs_of_depth_of_two_channels() -> None:
    one_tap = np.arange(1, 16, dtype=np.int8).reshape(3, 1, 1, 5)
    assert pack_columns(one_tap, 1).reshape(-1, 4).tolist() == [
        *([1, 6, 3, 8], [2, 7, 4, 9], [5, 10, 0, 0], [0, 0, 0, 0]),
        *([11, 12, 13, 14], [15, 0, 0, 0]),
    ]
    taps = np.arange(1, 13, dtype=np.int8).reshape(2, 2, 3, 1)
    assert pack_columns(taps, 1).reshape(-1, 4).tolist() == [
        [1, 7, 4, 10],
        [2, 8, 5, 11],
        [3, 9, 6, 12],
        [0, 0, 0, 0],
    ]
    assert pack_columns(taps, 2).reshape(-1, 2, 4).tolist()[1] == [[7, 8, 10, 11], [9, 0, 12, 0]]


def test_packing_by_rows_takes_words_of_channels() -> None:
    weight = np.arange(1, 17, dtype=np.int8).reshape(2, 1, 2, 4)
    assert pack_rows(weight).reshape(-1, 4).tolist() == [
        *([1, 9, 3, 11], [2, 10, 4, 12]),
        *([5, 13, 7, 15], [6, 14, 8, 16]),
    ]


def test_channels_that_stay_after_elimination_keep_their_values() -> None:
    op = only_op(model_of("Conv", [(1, 4, 3, 3)], {1: normal(2, 4, 1, 1)}), Conv)
    assert isinstance(op, Conv) and op.weight.values.shape == (2, 1, 1, 4)
    assert op.macs([TensorType((3, 3, 4))], TensorType((3, 3, 2))) == 72


@pytest.mark.parametrize(
    ("weights", "group", "strides", "scratch"),
    [
        ((8, 3, 3, 64), 1, (1, 1), [3072, 1920, 1536, 312]),
        ((8, 1, 1, 64), 1, (1, 1), [768, 384, 256, 0]),
        ((8, 3, 3, 3), 1, (2, 2), [984, 144, 104, 64]),
        ((64, 3, 3, 1), 64, (1, 1), [64]),
        ((63, 3, 3, 1), 63, (2, 2), [64]),
        ((64, 5, 5, 1), 64, (1, 1), [0]),
    ],
)
def test_leaner_variants_need_less_scratch(
    weights: tuple[int, ...], group: int, strides: tuple[int, int], scratch: list[int]
) -> None:
    requant = Requant("fast", np.ones(weights[0], np.int32), np.zeros(weights[0], np.int8), 0)
    weight, bias = np.ones(weights, np.int8), np.zeros(weights[0], np.int32)
    op = Conv2D(weight, bias, requant, 0, strides, group=group)
    x = TensorType((99, 99, weights[3] * group), "int8", Quant(0.1, 0))
    y = op.infer([x])
    assert [variant.scratch_bytes([x], y) for variant in (op, *op.leaner([x], y))] == scratch


@pytest.mark.parametrize(
    ("shape", "weights", "attributes", "words"),
    [
        ((1, 3, 4, 4), (5, 3, 5, 5), {}, "the kernel 5x5 is larger than its padded input 4x4"),
        ((1, 4, 4, 4), (6, 3, 1, 1), {}, "do not fit 4 input channels"),
        ((1, 4, 4, 4), (3, 2, 1, 1), {"group": 2}, "do not fit 4 input channels"),
        ((1, 3, 4, 4, 4), (5, 3, 1, 1, 1), {}, "rank 5"),
    ],
)
def test_refusals(shape: tuple[int, ...], weights: tuple[int, ...], attributes: dict[str, Any], words: str) -> None:
    graph = model_of("Conv", [shape], {1: normal(*weights)}, **attributes)
    with pytest.raises(CompileError, match=words) as caught:
        imported(graph)
    assert caught.value.where


def test_refuses_negative_padding() -> None:
    text = "g (float[1,3,4,4] x) => (float[1,5,2,3] y) { [n] y = Conv<pads=[0,0,-1,0]>(x, w) }"
    with pytest.raises(CompileError, match="negative padding") as caught:
        imported(onnx_model(text, {"w": normal(5, 3, 2, 2)}))
    assert caught.value.remedy == "use Slice to crop"
