"""Estimated cycles of operators: what the loops' counts are, and that the table knows all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnc.ir.costs import ANY, Work, cycles, summed, table
from rnnc.ir.fixedpoint import make_requant
from rnnc.ir.op import IntOp, Sample
from rnnc.ir.ops import INT_OPS
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.conv_work import chunks_of, is_plain
from rnnc.ir.ops.inverted import InvertedBottleneck
from rnnc.ir.ops.rnnpool_int import RnnPoolInt
from rnnc.ir.ops.rnnpool_work import rnnpool_work
from rnnc.ir.types import Quant, TensorType


def samples_of(op: type[IntOp]) -> list[Sample]:
    return list(op.samples(np.random.default_rng(0)))


@pytest.mark.parametrize("op", INT_OPS, ids=lambda op: op.name)
def test_every_sample_takes_time(op: type[IntOp]) -> None:
    for sample in samples_of(op):
        parts = sample.op.work(sample.inputs, sample.output)
        assert all(count >= 0 for part in parts for count in part.counts.values()), sample.label
        assert sample.op.cycles(sample.inputs, sample.output) > sample.op.macs(sample.inputs, sample.output) / 2


@pytest.mark.parametrize("op", INT_OPS, ids=lambda op: op.name)
def test_the_table_has_every_step_of_the_kernels_that_it_has(op: type[IntOp]) -> None:
    """Otherwise: python scripts/calibrate_costs.py, with a network that has such a step."""
    for sample in samples_of(op):
        for kernel, step in summed(sample.op.work(sample.inputs, sample.output)):
            assert kernel not in table() or step in table()[kernel], f"{kernel}: {step}, in {sample.label}"


def test_the_kernels_that_dominate_are_in_the_table() -> None:
    convolutions = {"conv2d", "conv_rows", "depthwise3x3", "depthwise"}
    kernels = convolutions | {"rnnpool", "inverted_bottleneck", "separable", "normed_conv", "scattered_conv", ANY}
    assert kernels <= table().keys()


def test_cycles_are_counts_times_the_table() -> None:
    costs = table()["conv2d"]
    step = max(costs, key=lambda name: costs[name])
    assert cycles([Work("conv2d", {step: 10}).times(3)]) == round(30 * costs[step])
    assert cycles([Work("never measured", {"macs": 1000})]) == round(1000 * table()[ANY]["macs"])


def pointwise(channels: int, high: int = 127) -> Conv2D:
    weight = np.ones((channels, 1, 1, 8), np.int8)
    requant = make_requant("fast", np.full(channels, 0.001), 10**6, 0, -128, high)
    return Conv2D(weight, np.zeros(channels, np.int32), requant, 0)


def test_tiles_of_a_row() -> None:
    """Seven pixels: a group of three and two of two; five channels: two pairs and an odd one."""
    (work,) = pointwise(5).work([TensorType((4, 7, 8))], TensorType((4, 7, 5)))
    counts = {step: count // 4 for step, count in work.counts.items()}
    assert (counts["calls of 3"], counts["tiles of 3"], counts["steps of 3"]) == (1, 2, 4)
    assert (counts["calls of 2"], counts["tiles of 2"], counts["steps of 2"]) == (2, 4, 8)
    assert (counts["odd outputs"], counts["odd steps"], counts["columns together"]) == (7, 14, 7)
    assert "outputs fast" not in counts


def test_rows_as_they_are() -> None:
    """Inside of the image a group of three and one of two with three segments; the borders are a pair of nine."""
    conv = replace(pointwise(4), weight=np.ones((4, 3, 3, 8), np.int8), pads=(1, 1, 1, 1), pixels=1)
    (work,) = conv.work([TensorType((1, 7, 8))], TensorType((1, 7, 4)))
    counts = work.counts
    assert (work.kernel, counts["calls"], counts["segments"], counts["pairs"], counts["pair taps"]) == (
        "conv_rows",
        2,
        6,
        1,
        9,
    )
    assert (counts["segments of 3"], counts["steps of 3"]) == (2 * 3, 2 * 3 * 6)
    assert (counts["segments of 2"], counts["steps of 2"]) == (2 * 3 + 2 * 9, 2 * 3 * 6 + 2 * 9 * 2)


def test_a_clamp_costs_extra() -> None:
    assert is_plain(pointwise(4).requant)
    assert not is_plain(pointwise(4, high=100).requant)
    types = [TensorType((4, 7, 8))], TensorType((4, 7, 4))
    (work,) = pointwise(4, high=100).work(*types)
    assert work.counts["outputs fast"] == 4 * 7 * 4


def test_chunks_add_up() -> None:
    assert chunks_of(33, 16) == [(16, 2), (1, 1)]
    assert chunks_of(16, 16) == [(16, 1)]
    assert chunks_of(3, 16) == [(3, 1)]


def test_rows_made_again_are_paid_again() -> None:
    """Twelve rows of ten pixels in tiles of four, 24 wide channels in chunks of eight."""
    expand, project = pointwise(24), replace(pointwise(4), weight=np.ones((4, 1, 1, 24), np.int8))
    weight = np.ones((24, 3, 3, 1), np.int8)
    depthwise = Conv2D(weight, expand.bias, expand.requant, 0, pads=(1, 1, 1, 1), group=24, pixels=1)
    x, y = TensorType((12, 10, 8), "int8", Quant(0.1, 0)), TensorType((12, 10, 4), "int8", Quant(0.1, 0))
    ops = [InvertedBottleneck(expand, depthwise, project, 4, 8, keep) for keep in (True, False)]
    kept, again = (summed(op.work([x], y)) for op in ops)
    made = 12, 3 * 12 - 2
    for counts, op, rows in zip((kept, again), ops, made, strict=True):
        assert op.made_rows(TensorType((12, 10, 24)), y) == rows
        assert counts["conv2d", "rows"] == 3 * 3 * rows + 3 * 12
        # wide columns by tile: 5, 4 and 1
        assert counts["conv2d", "columns together"] == 3 * rows * (5 + 4 + 1) + 12 * 10
    # tiles of 4, 4 and 2 pixels are pairs, and a chunk is two words of channels
    pairs = 12 * 3 * (2 + 2 + 1)
    assert kept["depthwise3x3", "quads of 2 at 1"] == again["depthwise3x3", "quads of 2 at 1"] == 2 * pairs


def test_products_of_rnnpool_are_its_macs() -> None:
    """Two units by two columns and four lanes, in all forms of matrices but the sparse one, which leaves some out."""
    for sample in samples_of(RnnPoolInt):
        op = sample.op
        assert isinstance(op, RnnPoolInt)
        if any(size % 2 for size in (*op.w1.shape, *op.w2.shape)):
            continue  # padded to even numbers, which are not counted as MACs
        counts = rnnpool_work(op, op.geometry(sample.inputs[0], sample.output)).counts
        macs = 16 * (counts["column pairs"] + counts["sparse tiles"])
        for size in (8, 16):
            macs += 8 * size * counts[f"row pairs by {size}"] + 4 * size * size * counts[f"dense steps of {size}"]
            macs += 4 * 4 * size * counts[f"raw pixels for {size}"]
        assert macs <= op.macs(sample.inputs, sample.output)
        assert counts["sparse steps"] or macs == op.macs(sample.inputs, sample.output)
