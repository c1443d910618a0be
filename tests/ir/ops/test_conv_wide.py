"""Convolutions with int16 weights: packing, and what they are offered for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnc.ir.fixedpoint import Int8Array, make_requant
from rnnc.ir.op import IntOp
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.conv_packing import pack_wide
from rnnc.ir.ops.conv_wide import PairedConv2D, WideConv2D
from rnnc.ir.types import TensorType


def conv(weight: Int8Array, **attributes: Any) -> Conv2D:
    out = len(weight)
    requant = make_requant("fast", np.full(out, 0.001), 1 << 20, 0, -128, 127)
    return replace(Conv2D(weight, np.zeros(out, np.int32), requant, 0), **attributes)


def taps(out: int = 4, kernel: tuple[int, int] = (3, 3), depth: int = 4) -> Int8Array:
    return np.random.default_rng(5).integers(-128, 128, (out, *kernel, depth)).astype(np.int8)


def widened(kind: type[IntOp], op: IntOp, shape: tuple[int, int, int] = (6, 6, 4)) -> IntOp | None:
    x = TensorType(shape, "int8")
    return kind.widened(op, [x], op.infer([x]))


def test_words_of_two_channels_alternate_and_zeros_fill_up() -> None:
    weight = np.arange(1, 16, dtype=np.int16).reshape(3, 5)
    words = pack_wide(weight).reshape(2, -1, 2)
    assert words[0].tolist() == [[1, 2], [6, 7], [3, 4], [8, 9], [5, 0], [10, 0], [0, 0], [0, 0]]
    assert words[1].tolist() == [[11, 12], [0, 0], [13, 14], [0, 0], [15, 0], [0, 0], [0, 0], [0, 0]]


def test_factors_give_twice_both_outputs_of_a_pair() -> None:
    op = widened(PairedConv2D, conv(taps(2, (1, 3), 4)))
    assert isinstance(op, PairedConv2D)
    by_channel = op.wide_weight().astype(int).reshape(4, 2, 2, 2).swapaxes(1, 2)
    total, difference, first, last = by_channel.reshape(4, 2, 4)
    order = [0, 2, 1, 3]  # of a word's bytes
    columns = np.random.default_rng(6).integers(-128, 128, (4, 4))
    c0, c1, c2, c3 = columns[:, order]
    shared, other = (c1 + c2) * total, (c2 - c1) * difference
    pair = ((c0 - c2) * first + shared + other).sum(axis=1), (shared - other + (c1 - c3) * last).sum(axis=1)
    for index, doubled in enumerate(pair):
        expected = np.einsum("okc,kc->o", op.weight[:, 0].astype(int), columns[index : index + 3])
        assert doubled.tolist() == (2 * expected).tolist()


@pytest.mark.parametrize(
    ("weight", "attributes", "paired"),
    [
        (taps(), {"pads": (1, 1, 1, 1)}, True),
        (taps(kernel=(1, 3)), {"strides": (2, 1), "dilations": (2, 1)}, True),
        (taps(kernel=(3, 5)), {}, False),
        (taps(), {"strides": (1, 2)}, False),
        (taps(), {"dilations": (1, 2)}, False),
        (taps(depth=3), {}, False),
        (taps(kernel=(3, 3)), {"bias": np.full(4, 2**30, np.int32)}, False),
    ],
)
def test_pairs_are_for_three_taps_side_by_side(weight: Int8Array, attributes: dict[str, Any], paired: bool) -> None:
    op = conv(weight, **attributes)
    shape = (6, 6, weight.shape[3])
    assert (widened(PairedConv2D, op, shape) is not None) == paired
    assert widened(WideConv2D, op, shape) is not None


def test_a_single_column_has_no_pair() -> None:
    assert widened(PairedConv2D, conv(taps()), (6, 3, 4)) is None


def test_groups_and_what_is_wide_already_stay() -> None:
    grouped = conv(taps(depth=1), group=4)
    wide = widened(WideConv2D, conv(taps()))
    assert wide is not None
    for op in (grouped, wide):
        assert widened(WideConv2D, op) is None
        assert widened(PairedConv2D, op) is None


def test_weights_are_counted_as_they_are_stored() -> None:
    op = conv(taps(4, (3, 3), 8))
    bytes_of = [op.weight_bytes()]
    for kind in (WideConv2D, PairedConv2D):
        other = widened(kind, op, (6, 6, 8))
        assert other is not None
        bytes_of.append(other.weight_bytes())
    assert [count - 4 * 8 for count in bytes_of] == [288, 2 * 288, 8 * 288 // 3]
