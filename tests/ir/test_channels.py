"""What operators say of their channels: ranges that hold, and channels that can be taken away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.op import IntOp, Sample, evaluate
from rnnc.ir.ops import INT_OPS
from rnnc.ir.types import Array


@pytest.mark.parametrize("kind", INT_OPS, ids=lambda op: op.name)
def test_ranges_hold_for_every_operator(kind: type[IntOp]) -> None:
    """No input within its range gives an output outside the range that the operator states."""
    rng = np.random.default_rng(3)
    for sample in kind.samples(rng):
        if any(x.dtype != "int8" for x in sample.inputs):
            continue
        for width in (0, 5, 255):
            known = []
            for x in sample.inputs:
                low = rng.integers(-128, 128 - width, x.channels) if width < 255 else np.full(x.channels, -128)
                known.append(ChannelRange(low, np.minimum(low + width, 127)))
            stated = sample.op.channel_ranges(known, sample.inputs, sample.output)
            arrays = [
                rng.integers(item.low, item.high + 1, x.shape).astype(np.int8)
                for item, x in zip(known, sample.inputs, strict=True)
            ]
            y = evaluate(sample.op, arrays, sample.inputs, sample.output).astype(np.int64)
            assert np.all(y >= stated.low) and np.all(y <= stated.high), sample.label


@pytest.mark.parametrize("kind", INT_OPS, ids=lambda op: op.name)
def test_every_operator_computes_the_kept_channels_as_before(kind: type[IntOp]) -> None:
    rng = np.random.default_rng(4)
    for sample in kind.samples(rng):
        sources = sample.op.channel_sources(sample.inputs, sample.output)
        if sources is None:
            continue
        arrays, known = partly_constant(rng, sample)
        output, masks = random_masks(rng, sources, sample, known)
        kept = [KeptChannels(mask, item) for mask, item in zip(masks, known, strict=True)]
        reduced = sample.op.keep_channels(kept, output, sample.inputs)
        types = [x.with_shape((*x.shape[:2], int(m.sum()))) for x, m in zip(sample.inputs, masks, strict=True)]
        y = replace(reduced.infer(types), quant=sample.output.quant)
        expected = evaluate(sample.op, arrays, sample.inputs, sample.output)[..., output]
        few = [np.ascontiguousarray(array[..., mask]) for array, mask in zip(arrays, masks, strict=True)]
        np.testing.assert_array_equal(evaluate(reduced, few, types, y), expected, sample.label)


def partly_constant(rng: np.random.Generator, sample: Sample) -> tuple[list[Array], list[ChannelRange]]:
    """Inputs of which a third of the channels hold the zero point, a third some other constant."""
    arrays: list[Array] = []
    known = []
    for x in sample.inputs:
        full = ChannelRange.full(x)
        kind = rng.integers(0, 3, x.channels)
        zero_point = x.quant.zero_point if x.quant else 0
        held = np.where(kind == 1, zero_point, rng.integers(full.low, full.high + 1))
        known.append(ChannelRange(np.where(kind, held, full.low), np.where(kind, held, full.high)))
        arrays.append(rng.integers(known[-1].low, known[-1].high + 1, x.shape).astype(x.dtype))
    return arrays, known


def random_masks(
    rng: np.random.Generator, sources: Sequence[ChannelIndex], sample: Sample, known: Sequence[ChannelRange]
) -> tuple[BoolArray, list[BoolArray]]:
    """Half of the output channels, what is tied to them, and what the operator cannot do without."""
    output = rng.random(sample.output.channels) < 0.5
    output[rng.integers(len(output))] = True
    output |= sample.op.all_outputs
    masks = []
    for index, source in enumerate(sources):
        tied = source >= 0
        mask = ~sample.op.droppable(index, known[index], sample.inputs)
        mask[source[tied]] = False
        mask[source[tied & output]] = True
        mask[0] |= not mask.any()
        output[tied] = mask[source[tied]]  # an input channel serves all of its outputs or none
        masks.append(mask)
    for source, mask in zip(sources, masks, strict=True):
        mask[source[(source >= 0) & output]] = True
    return output, masks
