"""L2 normalisation over the channels of each pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic, Int32Array, Int64Array
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Field, FloatOp, IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.types import FloatArray, Quant, TensorType

MAX_CHANNELS = 16384
"""The sum of this many squares of up to 255 stays below 2^30."""


@dataclass(frozen=True, eq=False)
class LpNorm(FloatOp):
    """y = gain * x / sqrt(sum of x^2 over the channels), 0 where x is 0; gain [C], None for 1.

    Source: ONNX LpNormalization with p=2 over the channels (S3FD's L2Norm, Zhang et al. 2017).
    """

    gain: FloatArray | None = None

    name: ClassVar[str] = "lp_norm"
    onnx: ClassVar[tuple[str, ...]] = ("LpNormalization",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        shape = b.onnx_shape(x)
        p, axis = node.attributes.get("p", 2), node.attributes.get("axis", -1)
        if p != 2:
            b.refuse(node, f"LpNormalization with p={p}", why="p=2 is supported")
        if not isinstance(axis, int) or axis % len(shape) != 1:
            b.refuse(
                node,
                f"LpNormalization over axis {axis} of {list(shape)}",
                why="it runs over the channels (axis 1)",
                remedy="set axis=1, or transpose the tensor in the model",
            )
        return b.from_hwc(b.emit(cls(), [b.to_hwc(x)], node.outputs[0]), shape)

    def with_gain(self, values: FloatArray) -> LpNorm:
        """This operator followed by a multiplication by ``values`` ([C], or [1] for all channels)."""
        return LpNorm((values if self.gain is None else self.gain * values).astype(np.float32))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        channels = inputs[0].shape[-1]
        if self.gain is not None and self.gain.size not in (1, channels):
            raise CompileError(f"{self.gain.size} gains for {channels} channels")
        return TensorType(inputs[0].shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        x = inputs[0].astype(np.float64)
        norm = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        gain = 1.0 if self.gain is None else self.gain.astype(np.float64)
        y: FloatArray = (gain * x / np.where(norm > 0, norm, 1.0)).astype(np.float32)
        return y

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        x, y, channels = inputs[0].required_quant, output.required_quant, inputs[0].channels
        if channels > MAX_CHANNELS:
            raise CompileError(f"LpNormalization over {channels} channels", why=f"at most {MAX_CHANNELS} are supported")
        gain = np.ones(1) if self.gain is None else self.gain.astype(np.float64)
        real = np.broadcast_to(gain, (channels,)) / y.scale
        largest = float(np.abs(real).max())
        if largest >= 2.0**20:
            raise CompileError(
                f"the output scale {y.scale:g} is too small for gains of up to {float(np.abs(gain).max()):g}",
                why="every output would saturate",
                remedy="calibrate with representative data",
            )
        shift = min(60 - math.frexp(largest)[1], 61)
        gains = np.rint(real * 2.0 ** (shift - 30)).astype(np.int32)
        return LpNormInt8(gains, shift, x.zero_point, y.zero_point)


@dataclass(frozen=True, eq=False)
class LpNormInt8(IntOp):
    """y = out_zero_point + gains * t / 2^shift, t = (x - zero_point) / norm in Q30; gains int32 [C].

    The norm's reciprocal has 16 bits: the square root of the sum of squares, shifted by an even number of bits to
    [2^30, 2^32), is rounded down to r; 2^32 / (2r + 1), rounded, is the reciprocal of its middle.
    """

    gains: Int32Array
    shift: int
    zero_point: int
    out_zero_point: int

    name: ClassVar[str] = "lp_norm_s8"
    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        x = windows[0].values[:, 0] - self.zero_point
        squares = np.maximum((x * x).sum(axis=-1, keepdims=True), 1)
        even_shift = (32 - np.frexp(squares.astype(np.float64))[1].astype(np.int64)) & ~1
        root = integer_square_root(squares << even_shift)
        reciprocal = (0xFFFFFFFF - root) // (2 * root + 1) + 1
        unit = (x * reciprocal) << (even_shift // 2 - 1)
        y: Int64Array = (unit * self.gains + (1 << (self.shift - 1))) >> self.shift
        return np.clip(y + self.out_zero_point, -128, 127)

    def weight_bytes(self) -> int:
        return 4 * self.gains.size

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members: dict[str, Field] = {
            "gains": Table("int32_t", self.gains),
            "shift": self.shift,
            "width": output.width,
            "channels": output.channels,
            "zero_point": self.zero_point,
            "out_zero_point": self.out_zero_point,
        }
        return Kernel("rnnc_lp_norm_s8", "rnnc_lp_norm", members, "norm")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in ((1, 1, 1), (2, 3, 5), (3, 1, 64), (1, 2, 515)):
            for zero_point, output in ((0, Quant(1.0 / 128.0, 0)), (-128, Quant(0.08, -7)), (127, Quant(5e-5, 127))):
                for gain in (None, rng.uniform(-2.0, 12.0, shape[2]).astype(np.float32)):
                    x = TensorType(shape, "int8", Quant(0.05, zero_point))
                    y = TensorType(shape, "int8", output)
                    yield Sample(LpNorm(gain).quantise([x], y, "fast"), (x,), y, f"{shape} {output}")


def integer_square_root(x: Int64Array) -> Int64Array:
    """floor(sqrt(x)) for x below 2^32, where the rounded float64 root is at most one too large."""
    root = np.sqrt(x.astype(np.float64)).astype(np.int64)
    return root - (root * root > x)
