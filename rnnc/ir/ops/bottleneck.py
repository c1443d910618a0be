"""A 1x1 convolution and the depthwise convolution behind it as one operator, without the wide tensor in between.

No pass makes it: the scheduler chooses it where holding rows of the wide tensor costs too much memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import Field, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.conv import Conv2D, Pads, Pair
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.types import Quant, TensorType

ALIGN = 8
"""Parts of the scratch start at multiples of this (RNNC_ALIGN)."""

MOST_ROWS = 8
"""RNNC_BOTTLENECK_ROWS."""

LEVELS = ((16, 3), (8, 3), (4, 1))
"""Wide channels made at a time, and `Conv2D.pixels` of both convolutions: from the fastest to the least scratch."""


@dataclass(frozen=True, eq=False)
class Bottleneck(IntOp):
    """depthwise(expand(x)), the wide rows of ``expand`` made ``chunk`` channels at a time.

    ``keep``: wide rows that the next output row needs again are kept in state, so that nothing is computed twice and
    a job reads new rows of x only; otherwise they are made again for every row. The head of MobileNetV2's inverted
    bottleneck (Sandler et al. 2018).
    """

    expand: Conv2D
    depthwise: Conv2D
    chunk: int
    keep: bool = False

    name: ClassVar[str] = "bottleneck"
    parts: ClassVar[tuple[type, ...]] = (Conv2D,)

    @classmethod
    def fusions(
        cls, first: IntOp, then: IntOp, inputs: Sequence[TensorType], between: TensorType, output: TensorType
    ) -> tuple[IntOp, ...]:
        if not isinstance(first, Conv2D) or not isinstance(then, Conv2D):
            return ()
        plain = first.pointwise and first.strides == (1, 1) and then.depthwise and then.dilations[0] == 1
        if not plain or then.weight.shape[1] > MOST_ROWS:
            return ()
        levels = [
            cls(replace(first, pixels=pixels), replace(then, pixels=pixels), chunk)
            for chunk, pixels in LEVELS
            if chunk <= between.channels
        ]
        overlaps = then.weight.shape[1] > then.strides[0]
        return (*(replace(op, keep=True) for op in levels if overlaps), *levels)

    @property
    def rows(self) -> int:
        return int(self.depthwise.weight.shape[1])

    @property
    def stride(self) -> int:
        return self.depthwise.strides[0]

    @property
    def kept_rows(self) -> int:
        """Rows of one job that are kept together: what later jobs read again, at most one stride."""
        return min(self.rows - self.stride, self.stride) if self.keep else 0

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.depthwise.infer([self.expand.infer(inputs)])

    @property
    def warm_up(self) -> int:
        """Jobs that take in rows before the first output row can be made."""
        overlap = self.rows - self.stride
        return max(0, -(-(overlap - self.depthwise.pads[0]) // self.stride)) if self.keep else 0

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.height + self.warm_up

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return self.depthwise.windows([self.expand.infer(inputs)])

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        if not self.keep:
            return self.output_windows(inputs)
        pad = self.depthwise.pads[0] - (self.rows - self.stride) + self.warm_up * self.stride
        return (Window(0, self.stride, self.stride, 1, pad),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        rows = windows[0]
        n, taps, width, channels = rows.values.shape
        each = WindowRows(rows.values.reshape(n * taps, 1, width, channels), np.ones((n * taps, 1), np.bool_))
        wide = self.expand.compute([each]).reshape(n, taps, width, -1)
        return self.depthwise.compute([WindowRows(wide, rows.present)])

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        window = self.output_windows(inputs)[0]
        jobs = np.arange(output.height)[:, None] * window.stride - window.pad
        made = jobs + np.arange(window.rows)
        made = made[(made >= 0) & (made < inputs[0].height)]
        rows = len(np.unique(made)) if self.keep else len(made)
        by_row = inputs[0].width * self.expand.weight.size
        return rows * by_row + output.elements * int(np.prod(self.depthwise.weight.shape[1:]))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        x = inputs[0]
        rows = self.stride - self.kept_rows if self.keep else self.rows
        part = TensorType((x.height, x.width, self.chunk), "int8")
        line = TensorType((output.height, output.width, self.chunk), "int8")
        kernels = max(self.expand.scratch_bytes([x], part), self.depthwise.scratch_bytes([part], line))
        return _aligned(rows * part.row_bytes) + _aligned(line.row_bytes) + kernels

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        if not self.keep:
            return 0
        chunks = -(-self.expand.weight.shape[0] // self.chunk)
        reach = -(-(self.rows - self.stride) // self.kept_rows)
        return int((reach * chunks + 1) * self.kept_rows * inputs[0].width * self.chunk)

    def weight_bytes(self) -> int:
        return self.expand.weight_bytes() + self.depthwise.weight_bytes()

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        wide = self.expand.infer(inputs)
        calls = {"expand": self.expand.kernel(inputs, wide), "depthwise": self.depthwise.kernel([wide], output)}
        members: dict[str, Field] = {
            f"{name}.{key}": value for name, call in calls.items() for key, value in call.members.items()
        }
        members |= {
            "in_height": inputs[0].height,
            "stride_h": self.stride,
            "pad_top": self.depthwise.pads[0],
            "chunk": self.chunk,
            "keep": int(self.keep),
            "warm_up": self.warm_up,
        }
        kind = self.depthwise.kind(output).replace("depthwise", "bottleneck")
        return Kernel(f"rnnc_{kind}_s8", "rnnc_bottleneck", members, "bottleneck", ("conv",))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, wide, kernel, strides, pads in CASES:
            for index, arithmetic in enumerate(("fast", "tflite")):
                expand, depthwise = _random_pair(rng, shape, wide, (kernel, strides, pads), ("fast", "tflite")[index])
                x = TensorType(shape, "int8", Quant(0.05, expand.zero_point))
                for chunk in sorted({4, 8, wide + -wide % 4}):
                    for keep in (False, True):
                        pixels = 1 if chunk == 4 else 3
                        op = cls(replace(expand, pixels=pixels), replace(depthwise, pixels=pixels), chunk, keep)
                        if keep and kernel[0] <= strides[0]:
                            continue
                        y = op.infer([x]).with_quant(Quant(0.1, depthwise.requant.zero_point))
                        label = f"{arithmetic} {shape} {wide} {kernel} {strides} {pads} by {chunk} keep={keep}"
                        yield Sample(op, (x,), y, label)


Geometry = tuple[Pair, Pair, Pads]
CASES: tuple[tuple[tuple[int, int, int], int, Pair, Pair, Pads], ...] = (
    ((7, 5, 3), 10, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((9, 6, 4), 13, (3, 3), (2, 2), (0, 0, 1, 1)),
    ((8, 4, 5), 12, (5, 5), (1, 1), (2, 2, 2, 2)),
    ((11, 5, 4), 9, (5, 3), (2, 1), (2, 1, 2, 1)),
    ((12, 3, 2), 8, (5, 1), (3, 1), (1, 0, 1, 0)),
    ((13, 4, 3), 7, (7, 7), (2, 2), (3, 3, 3, 3)),
    ((5, 3, 4), 8, (1, 3), (1, 1), (0, 1, 0, 1)),
    ((1, 1, 1), 3, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((4, 27, 4), 9, (3, 3), (1, 1), (1, 1, 1, 1)),
)


def _random_pair(
    rng: np.random.Generator, shape: tuple[int, int, int], wide: int, geometry: Geometry, arithmetic: Arithmetic
) -> tuple[Conv2D, Conv2D]:
    def conv(weight_shape: tuple[int, ...], zero_point: int) -> Conv2D:
        weight = rng.integers(-127, 128, weight_shape).astype(np.int8)
        bias = rng.integers(-(2**11), 2**11, wide).astype(np.int32)
        requant = random_requant(rng, arithmetic, wide, accumulator_bound(weight, bias))
        return Conv2D(weight, bias, requant, zero_point)

    kernel, strides, pads = geometry
    expand = conv((wide, 1, 1, shape[2]), int(rng.integers(-128, 128)))
    depthwise = conv((wide, *kernel, 1), expand.requant.zero_point)
    return expand, replace(depthwise, strides=strides, pads=pads, group=wide)


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
