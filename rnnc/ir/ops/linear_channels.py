"""Constant input channels of convolutions and dense layers: bounds of accumulators, and folding into the bias."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.fixedpoint import INT32_MAX, Int8Array, Int32Array, Requant
from rnnc.ir.op import IntOp, WindowRows
from rnnc.ir.types import TensorType

Int64Array = npt.NDArray[np.int64]


def tap_patterns(extent: int, out_extent: int, kernel: int, stride: int, dilation: int, pad: int) -> BoolArray:
    """Along one axis, the different ways in which a window lies over the border: bool [patterns, kernel], True
    for taps that read the input and False for those that read padding."""
    taps = np.arange(out_extent)[:, None] * stride - pad + np.arange(kernel) * dilation
    return np.unique((taps >= 0) & (taps < extent), axis=0)


@dataclass(frozen=True, eq=False)
class Contraction:
    """acc[o] = bias[o] + sum over taps t and depths d of weight[o, t, d] * x[t, group of o, d].

    weight [O, T, D], bias [O]; ``patterns`` [P, T] says which taps read the input, the others read ``pad``.
    """

    weight: Int64Array
    bias: Int64Array
    patterns: BoolArray
    pad: int
    groups: int

    @classmethod
    def of(
        cls,
        weight: Int8Array,
        bias: Int32Array,
        patterns: BoolArray | None = None,
        pad: int = 0,
        groups: int = 1,
    ) -> Contraction:
        """For weights [O, D] or [O, taps ..., D]; without ``patterns`` every tap reads the input."""
        flat = weight.astype(np.int64).reshape(weight.shape[0], -1, weight.shape[-1])
        reads = np.ones((1, flat.shape[1]), np.bool_) if patterns is None else patterns
        return cls(flat, bias.astype(np.int64), reads, pad, groups)

    def bounds(self, x: ChannelRange) -> tuple[Int64Array, Int64Array]:
        """The lowest and highest accumulator of each output channel, over all positions."""
        lows, highs = [], []
        for reads in self.patterns:
            low = np.where(reads[:, None], x.low, self.pad)
            high = np.where(reads[:, None], x.high, self.pad)
            rising, falling = np.maximum(self.weight, 0), np.minimum(self.weight, 0)
            lows.append(self._sum(rising, low) + self._sum(falling, high))
            highs.append(self._sum(rising, high) + self._sum(falling, low))
        return self.bias + np.min(lows, axis=0), self.bias + np.max(highs, axis=0)

    def _sum(self, weight: Int64Array, x: Int64Array) -> Int64Array:
        out, taps, depth = weight.shape
        grouped = weight.reshape(self.groups, out // self.groups, taps, depth)
        total: Int64Array = np.einsum("gotd,tgd->go", grouped, x.reshape(taps, self.groups, depth))
        return total.reshape(out)

    def contributions(self, values: Int64Array) -> Int64Array:
        """What input channels that hold ``values`` [C] add to the accumulators at each border pattern: [P, O, C];
        one group only."""
        inside: Int64Array = np.einsum("otd,pt->pod", self.weight, self.patterns.astype(np.int64))
        outside = self.weight.sum(axis=1) - inside
        added: Int64Array = inside * values + outside * self.pad
        return added

    def foldable(self, x: ChannelRange) -> BoolArray:
        """Input channels [C] that add the same to every position, whatever the input.

        A constant other than the padding value is one only where its taps never leave the input or weigh nothing
        there, so that the border sees no difference.
        """
        reach = np.abs(self.weight).sum(axis=(1, 2)) * 128 + np.abs(self.bias)
        if self.groups != 1 or reach.max(initial=0) > INT32_MAX:
            return np.zeros(x.low.shape, np.bool_)
        added = self.contributions(x.low)
        same = np.all(added == added[:1], axis=(0, 1))
        ignored = ~np.any(self.weight, axis=(0, 1))
        result: BoolArray = ignored | (x.constant & same)
        return result

    def folded_bias(self, x: ChannelRange, kept: BoolArray) -> Int64Array:
        """The bias [O] that stands in for the channels that are not ``kept``."""
        folded: Int64Array = self.contributions(x.low)[0][:, ~kept].sum(axis=1)
        return self.bias + folded


class LinearOp(IntOp):
    """An integer operator that is a contraction and a requantisation: weight [O, taps ..., D], bias [O]."""

    weight: Int8Array
    bias: Int32Array
    requant: Requant

    @abstractmethod
    def contraction(self, inputs: Sequence[TensorType]) -> Contraction:
        """Its sum of products."""

    @abstractmethod
    def accumulators(self, windows: Sequence[WindowRows]) -> Int64Array:
        """Sums of products with the bias [n, width, O], before the requantisation."""

    def compute(self, windows: Sequence[WindowRows]) -> Int64Array:
        return self.requantised(self.accumulators(windows))

    @abstractmethod
    def with_weights(self, weight: Int8Array, bias: Int32Array, requant: Requant, groups: int) -> LinearOp:
        """The same with fewer channels."""

    def partial_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """The accumulators, which are int32 in every arithmetic."""
        return 4 * output.width * output.channels

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        low, high = self.contraction(inputs).bounds(ranges[0])
        return ChannelRange(self.requantised(low), self.requantised(high))

    def requantised(self, acc: Int64Array) -> Int64Array:
        """Outputs [..., O] of accumulators [..., O]."""
        return self.requant.apply(acc)

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        groups, out = self.contraction(inputs).groups, len(self.bias)
        if groups == 1:
            return (np.full(out, -1, np.int64),)
        if groups == inputs[0].channels:
            return (np.arange(out, dtype=np.int64) // (out // groups),)
        return None

    def droppable(self, index: int, ranges: ChannelRange, inputs: Sequence[TensorType]) -> BoolArray:
        return self.contraction(inputs).foldable(ranges)

    def keep_channels(self, kept: Sequence[KeptChannels], output: BoolArray, inputs: Sequence[TensorType]) -> IntOp:
        given, mask = self.contraction(inputs), kept[0].mask
        requant = replace(
            self.requant, multipliers=self.requant.multipliers[output], shifts=self.requant.shifts[output]
        )
        if given.groups == 1:
            bias = given.folded_bias(kept[0].ranges, mask)[output].astype(np.int32)
            return self.with_weights(np.ascontiguousarray(self.weight[output][..., mask]), bias, requant, 1)
        return self.with_weights(self.weight[output], self.bias[output], requant, int(mask.sum()))
