"""A 1x1 convolution and the global average of its map as one operator: the wide map is never held.

No pass makes it: the scheduler chooses it, for heads such as the 1280 channels of MobileNetV2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import IntOp, Kernel, Sample, Window, WindowRows, aligned, nested
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.conv_work import chunks_of
from rnnc.ir.ops.global_pool import GlobalAverage, quantise_global_average, quantise_mean
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.types import Quant, TensorType

CHUNKS = (64, 16)
"""Channels made at a time: more are faster, fewer need less scratch."""

MOST_ROWS = 64
"""RNNC_MAX_ROWS: a job has the whole map."""


@dataclass(frozen=True, eq=False)
class PooledPointwise(IntOp):
    """mean(conv(x)) in one job that reads all of x."""

    conv: Conv2D
    mean: GlobalAverage
    chunk: int

    name: ClassVar[str] = "pooled_pointwise"
    parts: ClassVar[tuple[type, ...]] = (Conv2D, GlobalAverage)

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        if len(chain) != 2:
            return ()
        conv, mean = chain
        if not isinstance(conv, Conv2D) or not isinstance(mean, GlobalAverage):
            return ()
        if not conv.pointwise or conv.strides != (1, 1) or inputs[0].height > MOST_ROWS:
            return ()
        return tuple(cls(conv, mean, chunk) for chunk in CHUNKS if chunk < outputs[0].channels)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.mean.infer([self.conv.infer(inputs)])

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, inputs[0].height),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        n, height, width, channels = windows[0].values.shape
        rows = windows[0].values.reshape(n * height, 1, width, channels)
        wide = self.conv.compute([WindowRows(rows, np.ones((n * height, 1), np.bool_))])
        return self.mean.compute([WindowRows(wide.reshape(n, height, width, -1), windows[0].present)])

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.conv.macs(inputs, self.conv.infer(inputs))

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        x, parts = inputs[0], chunks_of(output.channels, self.chunk)
        work = [
            part.times(times)
            for channels, times in parts
            for part in self.conv.first_channels(channels).work([x], TensorType((x.height, x.width, channels)))
        ]
        counts = {
            "jobs": 1,
            "chunks": sum(times for _, times in parts),
            "rows": x.height * sum(times for _, times in parts),
            "pixels": x.height * x.width * sum(times for _, times in parts),
            "added": x.height * x.width * output.channels,
            "outputs": output.channels,
        }
        return (*work, Work(self.name, counts))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        x = inputs[0]
        part = TensorType((x.height, x.width, self.chunk), "int8")
        return 4 * self.chunk + aligned(part.row_bytes) + self.conv.scratch_bytes([x], part)

    def weight_bytes(self) -> int:
        return self.conv.weight_bytes() + self.mean.weight_bytes()

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        wide = self.conv.infer(inputs)
        members = nested(conv=self.conv.kernel(inputs, wide), mean=self.mean.kernel([wide], output))
        members |= {"rows": inputs[0].height, "chunk": self.chunk}
        return Kernel("rnnc_pooled_pointwise_s8", "rnnc_pooled", members, "pooled", ("conv",))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, wide in (((1, 1, 1), 3), ((5, 3, 7), 12), ((4, 7, 8), 21), ((64, 1, 4), 8)):
            for arithmetic in cast(tuple[Arithmetic, ...], ("fast", "tflite")):
                weight = rng.integers(-127, 128, (wide, 1, 1, shape[2])).astype(np.int8)
                bias = rng.integers(-(2**11), 2**11, wide).astype(np.int32)
                requant = random_requant(rng, arithmetic, wide, accumulator_bound(weight, bias))
                x = TensorType(shape, "int8", Quant(0.05, 3))
                conv = Conv2D(weight, bias, requant, 3)
                between = conv.infer([x]).with_quant(Quant(0.1, requant.zero_point))
                quant = Quant(0.03, -20)
                mean = quantise_global_average(between, quant, arithmetic, (-128, 127), plain=False)
                if arithmetic == "tflite":
                    mean = quantise_mean(between, quant, (-100, 90))
                for chunk in (4, 8):
                    op = cls(conv, mean, chunk)
                    y = TensorType((1, 1, wide), "int8", quant)
                    yield Sample(op, (x,), y, f"{arithmetic} {shape} {wide} by {chunk}")
