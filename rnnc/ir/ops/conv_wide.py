"""Convolutions whose weights are int16 in flash: fewer cycles, and the arithmetic of `Conv2D`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Int8Array
from rnnc.ir.op import IntOp, Kernel, Sample, Table, nested
from rnnc.ir.ops.conv import STRIP_PIXELS, Conv2D
from rnnc.ir.ops.conv_cases import CASES, WIDE_CASES
from rnnc.ir.ops.conv_packing import Int16Array, by_columns, in_words, pack_wide
from rnnc.ir.ops.conv_work import pairs_at_once, pairs_work, wide_work
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.types import Quant, TensorType


@dataclass(frozen=True, eq=False)
class WideConv2D(Conv2D):
    """A convolution of one group whose weights a kernel multiplies by as they are."""

    name: ClassVar[str] = "conv2d_wide"

    @classmethod
    def widened(cls, op: IntOp, inputs: Sequence[TensorType], output: TensorType) -> WideConv2D | None:
        if type(op) is not Conv2D or not cls.serves(op, output):
            return None
        members = {field.name: getattr(op, field.name) for field in fields(Conv2D)}
        return cls(**members | {"pixels": STRIP_PIXELS if op.pixels == 1 else op.pixels})

    @classmethod
    def serves(cls, op: Conv2D, output: TensorType) -> bool:
        """Whether this form can do what ``op`` does."""
        return op.group == 1 and not op.depthwise

    @property
    def kind(self) -> str:
        return "conv_wide"

    @property
    def from_rows(self) -> bool:
        return False

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return (wide_work(self, inputs[0], output),)

    def leaner(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Conv2D, ...]:
        return ()

    def weight_bytes(self) -> int:
        per_channel = 8 if self.requant.arithmetic == "fast" else 9
        return 2 * self.wide_weight().size + per_channel * self.bias.size

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        conv = super().kernel(inputs, output)
        members = {"weights": Table("int16_t", self.wide_weight()), **nested(conv=conv), "conv.weights": None}
        return Kernel(conv.function, "rnnc_conv_wide", members, "wide")

    def packed_weight(self) -> Int8Array:
        return np.zeros(0, np.int8)

    def wide_weight(self) -> Int16Array:
        """What the kernel multiplies by, in its order (runtime/c/include/rnnc_wide.h)."""
        return pack_wide(by_columns(self.weight).astype(np.int16))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for sample in Conv2D.samples_of(rng, (*CASES, *WIDE_CASES)):
            op = cls.widened(sample.op, sample.inputs, sample.output)
            if op is not None:
                yield replace(sample, op=op)
                yield _extreme(op, sample, rng)


def _extreme(op: WideConv2D, sample: Sample, rng: np.random.Generator) -> Sample:
    """The same with the largest weights there are, for each output channel mostly of one sign."""
    one_sign = rng.random(op.weight.shape) < np.linspace(0.05, 0.95, len(op.bias))[:, None, None, None]
    weight = np.where(one_sign, -128, 127).astype(np.int8)
    requant = random_requant(rng, op.requant.arithmetic, len(op.bias), accumulator_bound(weight, op.bias))
    output = sample.output.with_quant(Quant(0.1, requant.zero_point))
    extreme = replace(op, weight=weight, requant=requant)
    return Sample(extreme, sample.inputs, output, f"{sample.label}, extreme weights")


@dataclass(frozen=True, eq=False)
class PairedConv2D(WideConv2D):
    """A convolution of three taps in a row, by four products for two neighbouring outputs instead of six: Winograd's
    F(2, 3), in integers and exact."""

    name: ClassVar[str] = "conv2d_pairs"

    @classmethod
    def serves(cls, op: Conv2D, output: TensorType) -> bool:
        """Sums need one more bit than those of ``op``."""
        _, _, kernel_w, depth = op.weight.shape
        shape = kernel_w == 3 and depth % 4 == 0 and output.width > 1
        plain = op.group == 1 and op.strides[1] == 1 and op.dilations[1] == 1
        return shape and plain and 2 * accumulator_bound(op.weight, op.bias) < 2**31

    @property
    def kind(self) -> str:
        return "conv_pairs"

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return (pairs_work(self, output),)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        _, kernel_h, _, depth = self.weight.shape
        return int(depth + 8 * max(pairs_at_once(output.width)) * kernel_h * depth)

    def wide_weight(self) -> Int16Array:
        taps = in_words(self.weight).astype(np.int16)
        g0, g1, g2 = (taps[:, :, index].reshape(len(taps), -1) for index in range(3))
        factors = (g0 + g1 + g2, g0 - g1 + g2, 2 * g0, -2 * g2)
        return np.ascontiguousarray(np.stack([pack_wide(factor) for factor in factors], axis=1))
