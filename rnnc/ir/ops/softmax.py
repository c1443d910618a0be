"""Softmax over the channels of each pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import (
    Arithmetic,
    Int32Array,
    Int64Array,
    doubling_high_multiply,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_shift_right,
)
from rnnc.ir.gemmlowp import exp_on_negative_values, input_radius, one_over_one_plus
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Field, FloatOp, IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.shape import Rearrange
from rnnc.ir.types import FloatArray, Quant, TensorType

TFLITE_OUTPUT = Quant(1.0 / 256.0, -128)
"""The only output quantisation of TensorFlow Lite's int8 softmax."""
MAX_CHANNELS = 4096
"""Sums of this many exponentials fit the accumulators of both recipes."""


@dataclass(frozen=True, eq=False)
class Softmax(FloatOp):
    """y = exp(x) / sum of exp(x) over the channels; source: ONNX Softmax."""

    name: ClassVar[str] = "softmax"
    onnx: ClassVar[tuple[str, ...]] = ("Softmax",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        shape = b.onnx_shape(x)
        rank = len(shape)
        given = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
        axis = (given if isinstance(given, int) else -1) % rank
        if node.opset < 13 and math.prod(shape[axis:]) != shape[axis]:
            b.refuse(
                node,
                f"Softmax over all axes from {axis} of {list(shape)} together",
                why=f"that is what axis={axis} means in opset {node.opset}",
                remedy="convert the model to opset 13 or later",
            )
        if axis == 1 and rank in (2, 3, 4):
            return b.from_hwc(b.emit(cls(), [b.to_hwc(x)], node.outputs[0]), shape)
        if axis == rank - 1 and rank in (3, 4):
            rows = (shape[1], math.prod(shape[2:-1]), shape[-1])
            identity = tuple(range(rank - 1))
            name = node.outputs[0]
            y = b.emit(cls(), [b.emit(Rearrange(identity, rows), [x], f"{name}:in")], name)
            return b.emit(Rearrange((0, 1, 2), shape[1:]), [y], f"{name}:out")
        b.refuse(
            node,
            f"Softmax over axis {axis} of {list(shape)}",
            why="it runs over the channels (axis 1) or the last axis",
            remedy="transpose the tensor in the model",
        )

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        x = inputs[0].astype(np.float64)
        exps = np.exp(x - x.max(axis=-1, keepdims=True))
        y: FloatArray = (exps / exps.sum(axis=-1, keepdims=True)).astype(np.float32)
        return y

    def output_range(self) -> tuple[float, float]:
        return 0.0, 255 / 256  # scale 1/256, zero point -128, as TensorFlow Lite has it

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        x, y, channels = inputs[0].required_quant, output.required_quant, inputs[0].channels
        if channels > MAX_CHANNELS:
            raise CompileError(f"Softmax over {channels} channels", why=f"at most {MAX_CHANNELS} are supported")
        if arithmetic == "tflite" and y == TFLITE_OUTPUT:
            return SoftmaxTflite(tflite_exponentials(x.scale))
        if not 2.0**-20 <= y.scale <= 1.0:
            raise CompileError(
                f"the output scale {y.scale:g} of Softmax",
                why="its outputs lie between 0 and 1",
                remedy="use a scale such as 1/256 with zero point -128",
            )
        bits = min(24, 31 - (channels - 1).bit_length())
        multiplier, shift = quantize_multiplier(1.0 / y.scale)
        return SoftmaxInt8(exponentials(x.scale, bits), multiplier, shift, y.zero_point)


class SoftmaxInt(IntOp):
    """int8 softmax by a table of exponentials: exps[d] is exp(-d * input scale), d the distance from the maximum;
    beyond the table they are 0."""

    exps: Int32Array

    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def exponentials_of(self, windows: Sequence[WindowRows]) -> Int64Array:
        x = windows[0].values[:, 0]
        distance = x.max(axis=-1, keepdims=True) - x
        table = np.zeros(256, np.int64)
        table[: len(self.exps)] = self.exps
        exps: Int64Array = table[distance]
        return exps

    def weight_bytes(self) -> int:
        return 4 * self.exps.size

    def members(self, x: TensorType) -> dict[str, Field]:
        return {
            "exps": Table("int32_t", self.exps),
            "n_exps": len(self.exps),
            "width": x.width,
            "channels": x.channels,
        }


@dataclass(frozen=True, eq=False)
class SoftmaxInt8(SoftmaxInt):
    """Softmax with any output quantisation, whose reciprocal scale is multiplier * 2^(shift - 31).

    The sum of the exponentials, shifted to D in [2^31, 2^32), has its reciprocal 2^62 / D from one 16-bit
    division and one step of Newton's iteration (relative error below 2^-27); the outputs round half up.
    """

    exps: Int32Array
    multiplier: int
    shift: int
    zero_point: int

    name: ClassVar[str] = "softmax_s8"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        exps = self.exponentials_of(windows)
        total = exps.sum(axis=-1, keepdims=True)
        leading_zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        reciprocal = newton_reciprocal(total << leading_zeros)
        scale = (reciprocal * self.multiplier) >> 31
        shift = 62 - leading_zeros - self.shift
        y: Int64Array = ((exps * scale + (np.int64(1) << (shift - 1))) >> shift) + self.zero_point
        return np.minimum(y, 127)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.members(inputs[0]),
            "multiplier": self.multiplier,
            "shift": self.shift,
            "zero_point": self.zero_point,
        }
        return Kernel("rnnc_softmax_s8", "rnnc_softmax", members, "softmax")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        outputs = (TFLITE_OUTPUT, Quant(1.0 / 128.0, 0), Quant(0.001, 3), Quant(0.9, 127))
        for shape in SAMPLE_SHAPES:
            for scale in (0.002, 0.1, 0.7, 20.0):
                for output in outputs:
                    yield build_sample(shape, scale, output, "fast")


@dataclass(frozen=True, eq=False)
class SoftmaxTflite(SoftmaxInt):
    """TensorFlow Lite's reference int8 softmax: exponentials in Q0.31, their sum in Q12.19."""

    exps: Int32Array

    name: ClassVar[str] = "softmax_tflite_s8"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        exps = self.exponentials_of(windows)
        total = rounding_shift_right(exps, 12).sum(axis=-1, keepdims=True)
        leading_zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
        reciprocal = one_over_one_plus((total << leading_zeros) - (1 << 31))
        scaled = doubling_high_multiply(reciprocal, exps)
        y: Int64Array = rounding_shift_right(scaled, 12 - leading_zeros + 31 - 8) - 128
        return np.minimum(y, 127)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        return Kernel("rnnc_softmax_tflite_s8", "rnnc_softmax_tflite", self.members(inputs[0]), "softmax")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in SAMPLE_SHAPES:
            for scale in (0.002, 0.1, 0.7, 20.0):
                yield build_sample(shape, scale, TFLITE_OUTPUT, "tflite")


SAMPLE_SHAPES = ((1, 1, 1), (1, 1, 10), (2, 5, 2), (3, 1, 12), (1, 2, 300))


def build_sample(shape: tuple[int, int, int], scale: float, output: Quant, arithmetic: Arithmetic) -> Sample:
    x, y = TensorType(shape, "int8", Quant(scale, 5)), TensorType(shape, "int8", output)
    return Sample(Softmax().quantise([x], y, arithmetic), (x,), y, f"{arithmetic} {shape} {scale} {output}")


def exponentials(scale: float, bits: int) -> Int32Array:
    """round(2^bits * exp(-d * scale)) for d = 0, 1, ... as long as it is not 0."""
    return trimmed(np.rint(np.exp(-np.arange(256) * scale) * 2.0**bits))


def tflite_exponentials(scale: float) -> Int32Array:
    """The exponentials, in Q0.31, of TensorFlow Lite's reference kernel."""
    multiplier, shift = quantize_multiplier(min(scale * 2.0**26, 2.0**31 - 1.0))
    distance = np.arange(256, dtype=np.int64)
    distance = distance[distance <= input_radius(5, shift)]
    scaled = multiply_by_quantized_multiplier(-distance, np.asarray(multiplier, np.int64), np.asarray(shift, np.int64))
    return trimmed(exp_on_negative_values(scaled, 5))


def trimmed(exps: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Int32Array:
    """Without the zeros at the end; what follows the table counts as 0."""
    return exps[: int(np.flatnonzero(exps).max()) + 1].astype(np.int32)


def newton_reciprocal(divisor: Int64Array) -> Int64Array:
    """2^62 / divisor for divisor in [2^31, 2^32), never above it; at most 2^31."""
    estimate = (0xFFFFFFFF // ((divisor >> 16) + 1)) << 14
    residue = ((1 << 62) - estimate * divisor) >> 32
    return estimate + ((estimate * residue) >> 30)
