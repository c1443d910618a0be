"""L2 normalisation and the convolution that reads it as one operator: normalised rows are held only while a job runs.

No pass makes it: the scheduler chooses it where rows of the input are held anyway, as in front of detection heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import IntOp, Kernel, Sample, Window, WindowRows, aligned, nested
from rnnc.ir.ops.conv import Conv2D, Pads, Pair
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.ops.norm import LpNorm, LpNormInt8
from rnnc.ir.types import Quant, TensorType

MOST_ROWS = 8
"""RNNC_NORMED_ROWS."""


@dataclass(frozen=True, eq=False)
class NormedConv(IntOp):
    """conv(norm(x)), every row of a job's window normalised again."""

    norm: LpNormInt8
    conv: Conv2D

    name: ClassVar[str] = "normed_conv"
    parts: ClassVar[tuple[type, ...]] = (LpNormInt8, Conv2D)

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        if len(chain) != 2:
            return ()
        norm, conv = chain
        if not isinstance(norm, LpNormInt8) or not isinstance(conv, Conv2D) or conv.depthwise:
            return ()
        if conv.pointwise or conv.weight.shape[1] > MOST_ROWS:
            return ()
        forms = (conv, *conv.leaner([outputs[0]], outputs[1]))
        return tuple(cls(norm, form) for form in forms)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.conv.infer(inputs)

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return self.conv.windows(inputs)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values, present = windows[0].values, windows[0].present
        rows = values.reshape(-1, 1, *values.shape[2:])
        normed = self.norm.compute([WindowRows(rows, np.ones((len(rows), 1), np.bool_))])
        return self.conv.compute([WindowRows(normed.reshape(values.shape), present)])

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.conv.macs(inputs, output)

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        window = self.windows(inputs)[0]
        rows = int(window.taps(np.arange(output.height), inputs[0].height)[1].sum())
        normed = TensorType((rows, *inputs[0].shape[1:]))
        own = Work(self.name, {"jobs": output.height, "rows": rows})
        return (*self.norm.work([normed], normed), *self.conv.work(inputs, output), own)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        rows = int(self.conv.weight.shape[1]) * inputs[0].row_bytes
        return aligned(rows) + self.conv.scratch_bytes(inputs, output)

    def weight_bytes(self) -> int:
        return self.norm.weight_bytes() + self.conv.weight_bytes()

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = nested(norm=self.norm.kernel(inputs, inputs[0]), conv=self.conv.kernel(inputs, output))
        return Kernel(f"rnnc_normed_{self.conv.kind}_s8", "rnnc_normed_conv", members, "normed", ("norm", "conv"))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, out, kernel, strides, pads in CASES:
            for arithmetic in cast(tuple[Arithmetic, ...], ("fast", "tflite")):
                x = TensorType(shape, "int8", Quant(0.05, int(rng.integers(-128, 128))))
                between = TensorType(shape, "int8", Quant(1.0 / 128.0, int(rng.integers(-20, 20))))
                norm = LpNorm(rng.uniform(-1.5, 1.5, shape[2]).astype(np.float32)).quantise([x], between, arithmetic)
                weight = rng.integers(-127, 128, (out, *kernel, shape[2])).astype(np.int8)
                bias = rng.integers(-(2**11), 2**11, out).astype(np.int32)
                requant = random_requant(rng, arithmetic, out, accumulator_bound(weight, bias))
                conv = Conv2D(weight, bias, requant, between.required_quant.zero_point, strides, pads)
                for pixels in (3, 1):
                    op = cls(cast(LpNormInt8, norm), replace(conv, pixels=pixels))
                    y = op.infer([x]).with_quant(Quant(0.1, requant.zero_point))
                    yield Sample(op, (x,), y, f"{arithmetic} {shape} {out} {kernel} {strides} {pads} {pixels}")


CASES: tuple[tuple[tuple[int, int, int], int, Pair, Pair, Pads], ...] = (
    ((1, 1, 2), 1, (3, 3), (1, 1), (1, 1, 1, 1)),
    ((5, 7, 4), 6, (3, 3), (2, 2), (1, 1, 1, 1)),
    ((6, 9, 5), 4, (3, 2), (1, 2), (2, 1, 2, 0)),
    ((9, 4, 16), 3, (8, 1), (1, 1), (3, 0, 3, 0)),
    ((4, 5, 7), 9, (1, 3), (3, 1), (0, 1, 0, 1)),
)
