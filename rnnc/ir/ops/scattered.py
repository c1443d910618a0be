"""A convolution that takes each input row once and keeps sums of the output rows it belongs to, not rows of the input.

No pass makes it: the scheduler chooses it where sums are smaller than rows, as in detection heads, whose outputs have
few channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic, Int8Array
from rnnc.ir.op import IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.conv import Conv2D, Pads, Pair
from rnnc.ir.ops.linear import accumulator_bound, pack_pairs, random_requant
from rnnc.ir.types import Quant, TensorType


@dataclass(frozen=True, eq=False)
class ScatteredConv(IntOp):
    """conv(x) at row stride 1: job j adds row j - pad of x to all rows of sums that it belongs to.

    A sum is an int32, and there are as many rows of them as the kernel has rows, less one. Rows of padding are added
    like others, so the first jobs only take rows in.
    """

    conv: Conv2D

    name: ClassVar[str] = "scattered_conv"
    parts: ClassVar[tuple[type, ...]] = (Conv2D,)

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        if len(chain) != 1 or not isinstance(chain[0], Conv2D):
            return ()
        op = cls(chain[0])
        plain = op.conv.group == 1 and op.conv.strides[0] == 1 and op.conv.dilations == (1, 1)
        rows = op.kernel_rows - 1
        return (op,) if plain and 0 < op.state_bytes(inputs, outputs[0]) < rows * inputs[0].row_bytes else ()

    @property
    def kernel_rows(self) -> int:
        return int(self.conv.weight.shape[1])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.conv.infer(inputs)

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.height + self.kernel_rows - 1

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1, pad=self.conv.pads[0]),)

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return self.conv.windows(inputs)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return self.conv.compute(windows)

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.conv.macs(inputs, output)

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        _, kernel_h, kernel_w, depth = self.conv.weight.shape
        lefts = np.arange(output.width) * self.conv.strides[1] - self.conv.pads[1]
        inside = int(np.sum((lefts >= 0) & (lefts + kernel_w <= inputs[0].width))) if kernel_w * depth % 4 == 0 else 0
        calls, jobs = kernel_h * output.height * output.width, self.jobs(inputs, output)
        pairs, odd = divmod(output.channels, 2)
        counts = {
            "jobs": jobs,
            "pixels": jobs * output.width,
            "copied bytes": jobs * (output.width - inside) * kernel_w * depth,
            "calls": calls,
            "pairs": calls * pairs,
            "steps": calls * pairs * self._row_words,
            "odd channels": calls * odd,
            "odd steps": calls * odd * self._row_words,
            f"outputs {self.conv.requant.arithmetic}": output.elements,
        }
        return (Work(self.name, counts),)

    @property
    def _row_words(self) -> int:
        """Words of four taps in a row of the kernel."""
        return -(-int(np.prod(self.conv.weight.shape[2:])) // 4)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return 4 * self._row_words

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return 4 * (self.kernel_rows - 1) * output.width * output.channels

    def weight_bytes(self) -> int:
        bias_and_scale = self.conv.weight_bytes() - self.conv.packed_weight().size
        return self.packed_weight().size + bias_and_scale

    def packed_weight(self) -> Int8Array:
        """Each row of the kernel as a convolution packs its weights."""
        out = self.conv.weight.shape[0]
        return np.concatenate([pack_pairs(row.reshape(out, -1)) for row in np.moveaxis(self.conv.weight, 1, 0)])

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {f"conv.{key}": value for key, value in self.conv.kernel(inputs, output).members.items()}
        members |= {"conv.weights": Table("int8_t", self.packed_weight()), "out_height": output.height}
        return Kernel("rnnc_scattered_conv_s8", "rnnc_scattered_conv", members, "scattered")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, out, kernel, stride, pads in CASES:
            for arithmetic in cast(tuple[Arithmetic, ...], ("fast", "tflite")):
                weight = rng.integers(-127, 128, (out, *kernel, shape[2])).astype(np.int8)
                bias = rng.integers(-(2**13), 2**13, out).astype(np.int32)
                requant = random_requant(rng, arithmetic, out, accumulator_bound(weight, bias))
                zero_point = int(rng.integers(-128, 128))
                x = TensorType(shape, "int8", Quant(0.05, zero_point))
                op = cls(Conv2D(weight, bias, requant, zero_point, (1, stride), pads))
                y = op.infer([x]).with_quant(Quant(0.1, requant.zero_point))
                yield Sample(op, (x,), y, f"{arithmetic} {shape} {out} {kernel} {stride} {pads}")


CASES: tuple[tuple[tuple[int, int, int], int, Pair, int, Pads], ...] = (
    ((1, 1, 1), 1, (2, 1), 1, (1, 0, 0, 0)),
    ((6, 7, 8), 4, (3, 3), 1, (1, 1, 1, 1)),
    ((5, 6, 3), 3, (3, 3), 1, (0, 1, 2, 1)),
    ((7, 9, 5), 2, (2, 3), 2, (0, 2, 1, 0)),
    ((4, 5, 16), 5, (5, 2), 1, (2, 0, 2, 1)),
    ((9, 4, 2), 1, (4, 4), 3, (3, 3, 3, 3)),
    ((3, 3, 4), 2, (3, 1), 1, (0, 0, 0, 0)),
)
