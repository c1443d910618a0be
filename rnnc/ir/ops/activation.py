"""Unary activations; on integers all of them are one table of 256 entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.channels import ChannelRange
from rnnc.ir.fixedpoint import (
    INT32_MAX,
    Arithmetic,
    Int8Array,
    Int64Array,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_shift_right,
)
from rnnc.ir.gemmlowp import input_radius, logistic, tanh
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Channelwise, Field, FloatOp, IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.linear import clamp_range, merge_clamp, quantised_clamp
from rnnc.ir.types import FloatArray, Quant, TensorType

Float64Array = npt.NDArray[np.float64]
STORED = np.arange(-128, 128, dtype=np.int64)
"""Every int8 value, in the order of a Lut's table."""


class Unary(FloatOp):
    """An elementwise function of one value, of any rank."""

    onnx: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def real(self, x: Float64Array) -> Float64Array:
        """The function itself."""

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        """Outputs of TensorFlow Lite's reference kernel for every int8 input.

        None where it has none for these quantisations: then the correctly rounded function serves."""
        return None

    @classmethod
    def attributes(cls, node: SourceNode) -> Unary:
        """The operator with the attributes of ``node``."""
        return cls()

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        return b.emit(cls.attributes(node), [b.value(node, 0)], node.outputs[0])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return self.real(inputs[0].astype(np.float64)).astype(np.float32)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        x, y = inputs[0].required_quant, output.required_quant
        table = self.tflite_table(x, y) if arithmetic == "tflite" else None
        return Lut(rounded_table(self.real, x, y) if table is None else table.astype(np.int8))


@dataclass(frozen=True, eq=False)
class Clamp(Unary):
    """y = min(max(x, low), high); source: ONNX Relu and Clip."""

    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "clamp"
    onnx: ClassVar[tuple[str, ...]] = ("Relu", "Clip")

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        if node.op_type == "Relu":
            op = cls(low=0.0)
        else:
            low, high = clip_bound(node, b, 1), clip_bound(node, b, 2)
            op = cls(low if low is None or high is None else min(low, high), high)
        return b.emit(op, [b.value(node, 0)], node.outputs[0])

    def real(self, x: Float64Array) -> Float64Array:
        return np.clip(x, *clamp_range(self.low, self.high))

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        low, high = quantised_clamp(y, self.low, self.high)
        real = float(np.float32(x.scale) / np.float32(y.scale))
        table: Int64Array = np.clip(rescale(STORED - x.zero_point, real) + y.zero_point, low, high)
        return table

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        return replace(self, **merge_clamp(self.low, self.high, low, high))


@dataclass(frozen=True, eq=False)
class LeakyRelu(Unary):
    """y = x for x >= 0, alpha * x below; source: ONNX LeakyRelu."""

    alpha: float = 0.01

    name: ClassVar[str] = "leaky_relu"
    onnx: ClassVar[tuple[str, ...]] = ("LeakyRelu",)

    @classmethod
    def attributes(cls, node: SourceNode) -> Unary:
        return cls(real_attribute(node, "alpha", 0.01))

    def real(self, x: Float64Array) -> Float64Array:
        return np.where(x >= 0, x, x * self.alpha)

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        if self.alpha < 0:
            return None
        value, x_scale, y_scale = STORED - x.zero_point, np.float32(x.scale), np.float32(y.scale)
        above = rescale(value, float(x_scale / y_scale))
        below = rescale(value, float(x_scale * np.float32(self.alpha) / y_scale))
        table: Int64Array = np.clip(np.where(value >= 0, above, below) + y.zero_point, -128, 127)
        return table


@dataclass(frozen=True, eq=False)
class Sigmoid(Unary):
    """y = 1 / (1 + exp(-x)); source: ONNX Sigmoid."""

    name: ClassVar[str] = "sigmoid"
    onnx: ClassVar[tuple[str, ...]] = ("Sigmoid",)

    def real(self, x: Float64Array) -> Float64Array:
        decay = np.exp(-np.abs(x))
        return np.where(x >= 0, 1.0, decay) / (1.0 + decay)

    def output_range(self) -> tuple[float, float]:
        return 0.0, 255 / 256  # scale 1/256, zero point -128, as TensorFlow Lite has it

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        if (y.scale, y.zero_point) != (1.0 / 256.0, -128):
            return None
        return saturating_table(x, lambda q4: rounding_shift_right(logistic(q4, 4), 23) - 128)


@dataclass(frozen=True, eq=False)
class Tanh(Unary):
    """y = tanh(x); source: ONNX Tanh."""

    name: ClassVar[str] = "tanh"
    onnx: ClassVar[tuple[str, ...]] = ("Tanh",)

    def real(self, x: Float64Array) -> Float64Array:
        return np.tanh(x)

    def output_range(self) -> tuple[float, float]:
        return -1.0, 127 / 128  # scale 1/128, zero point 0, as TensorFlow Lite has it

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        if (y.scale, y.zero_point) != (1.0 / 128.0, 0):
            return None
        return saturating_table(x, lambda q4: rounding_shift_right(tanh(q4, 4), 24))


@dataclass(frozen=True, eq=False)
class HardSigmoid(Unary):
    """y = clip(alpha * x + beta, 0, 1); source: ONNX HardSigmoid."""

    alpha: float = 0.2
    beta: float = 0.5

    name: ClassVar[str] = "hard_sigmoid"
    onnx: ClassVar[tuple[str, ...]] = ("HardSigmoid",)

    @classmethod
    def attributes(cls, node: SourceNode) -> Unary:
        return cls(real_attribute(node, "alpha", 0.2), real_attribute(node, "beta", 0.5))

    def real(self, x: Float64Array) -> Float64Array:
        return np.clip(self.alpha * x + self.beta, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class HardSwish(Unary):
    """y = x * clip(x / 6 + 1/2, 0, 1); source: ONNX HardSwish."""

    name: ClassVar[str] = "hard_swish"
    onnx: ClassVar[tuple[str, ...]] = ("HardSwish",)

    def real(self, x: Float64Array) -> Float64Array:
        return x * np.clip(x / 6.0 + 0.5, 0.0, 1.0)

    def tflite_table(self, x: Quant, y: Quant) -> Int64Array | None:
        fine_scale = np.float32(x.scale) * np.float32(1.0 / 128.0)
        out_multiplier, out_shift = multiplier16(float(fine_scale / np.float32(y.scale)))
        if out_shift > 0:
            return None
        fine = (STORED - x.zero_point) * 128
        scaled = doubling_high_multiply16(fine, out_multiplier)
        gate_scale = np.float32(3.0) / np.float32(32768.0)
        gate_multiplier, gate_shift = multiplier16(float(fine_scale / gate_scale))
        gate = np.clip(fine << max(gate_shift - 1, 0), -32768, 32767)
        gate = doubling_high_multiply16(gate, gate_multiplier)
        gate = np.clip(gate << (1 if gate_shift > 0 else 0), -32768, 32767)
        gate = (rounding_shift_right(gate, max(-gate_shift, 0)) + 32768) >> 1
        product = gate * scaled
        truncated = np.where(product >= 0, product >> 15, -((-product) >> 15))
        return np.clip(rounding_shift_right(truncated, -out_shift) + y.zero_point, -128, 127)


@dataclass(frozen=True, eq=False)
class Lut(Channelwise):
    """y = table[x + 128]; table int8 [256]."""

    table: Int8Array

    name: ClassVar[str] = "lut"
    in_place: ClassVar[tuple[int, ...]] = (0,)

    @classmethod
    def requantise(cls, x: Quant, y: Quant, arithmetic: Arithmetic) -> Lut:
        """The same real numbers with another quantisation (tflite: the QUANTIZE operator's arithmetic)."""
        if arithmetic == "fast":
            return cls(rounded_table(lambda real: real, x, y))
        table = rescale(STORED - x.zero_point, x.scale / y.scale) + y.zero_point
        return cls(np.clip(table, -128, 127).astype(np.int8))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return self.table.astype(np.int64)[windows[0].values[:, 0] + 128]

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        entries = [self.table[low + 128 : high + 129] for low, high in zip(ranges[0].low, ranges[0].high, strict=True)]
        lows, highs = [part.min() for part in entries], [part.max() for part in entries]
        return ChannelRange(np.array(lows, np.int64), np.array(highs, np.int64))

    def weight_bytes(self) -> int:
        return self.table.size

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        # the kernel indexes by the input's bit pattern, so the negative half comes last
        members: dict[str, Field] = {"table": Table("int8_t", np.roll(self.table, 128))}
        members["elements"] = output.row_bytes
        return Kernel("rnnc_lut_s8", "rnnc_lut", members, "activation")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in ((1, 1, 1), (1, 1, 7), (3, 5, 4), (4, 3, 3)):
            x = TensorType(shape, "int8", Quant(0.04, int(rng.integers(-128, 128))))
            table = rng.integers(-128, 128, 256).astype(np.int8)
            yield Sample(cls(table), (x,), x, f"random table {shape}")
        for arithmetic in ("fast", "tflite"):
            for op in (Clamp(-1.0, 2.0), Sigmoid(), Tanh(), HardSwish(), LeakyRelu(0.1)):
                x = TensorType((2, 9, 15), "int8", Quant(0.05, -3))
                y = TensorType((2, 9, 15), "int8", SAMPLE_QUANTS.get(op.name, Quant(0.06, -100)))
                yield Sample(op.quantise([x], y, arithmetic), (x,), y, f"{arithmetic} {op.name}")


SAMPLE_QUANTS = {"sigmoid": Quant(1.0 / 256.0, -128), "tanh": Quant(1.0 / 128.0, 0)}


def rounded_table(function: Callable[[Float64Array], Float64Array], x: Quant, y: Quant) -> Int8Array:
    """The correctly rounded outputs (half up) of a real function for every int8 input."""
    real = function(((STORED - x.zero_point) * x.scale).astype(np.float64))
    codes: Int8Array = np.clip(np.floor(real / y.scale + 0.5) + y.zero_point, -128, 127).astype(np.int8)
    return codes


def saturating_table(x: Quant, function: Callable[[Int64Array], Int64Array]) -> Int64Array:
    """Table of a sigmoid-like ``function`` of the input in Q4, saturated where the input leaves Q4."""
    multiplier, shift = quantize_multiplier(x.scale * 2.0**27)
    value, radius = STORED - x.zero_point, input_radius(4, shift)
    inside = np.where(np.abs(value) < radius, value, 0)
    table = np.clip(function(rescale_by(inside, multiplier, shift)), -128, 127)
    return np.where(value >= radius, 127, np.where(value <= -radius, -128, table))


def rescale(value: Int64Array, real: float) -> Int64Array:
    """value * real by TensorFlow Lite's QuantizeMultiplier and MultiplyByQuantizedMultiplier."""
    return rescale_by(value, *quantize_multiplier(real))


def rescale_by(value: Int64Array, multiplier: int, shift: int) -> Int64Array:
    # inputs and outputs are int8: what a larger shift would overflow is out of range already
    shift = min(shift, 31)
    limit = INT32_MAX >> max(shift, 0)
    return multiply_by_quantized_multiplier(
        np.clip(value, -limit, limit), np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    )


def multiplier16(real: float) -> tuple[int, int]:
    """``real`` as a 16-bit multiplier and shift: real = multiplier * 2^(shift - 15)."""
    multiplier, shift = quantize_multiplier(real)
    return min((multiplier + (1 << 15)) >> 16, 32767), shift


def doubling_high_multiply16(a: Int64Array, b: int) -> Int64Array:
    """The 16-bit SaturatingRoundingDoublingHighMul for b >= 0."""
    product = a * b
    total = product + np.where(product >= 0, 1 << 14, 1 - (1 << 14))
    return np.where(total >= 0, total >> 15, -((-total) >> 15))


def real_attribute(node: SourceNode, name: str, default: float) -> float:
    value = node.attributes.get(name, default)
    return float(value) if isinstance(value, (int, float)) else default


def clip_bound(node: SourceNode, b: Builder, index: int) -> float | None:
    """A bound of Clip, an optional constant input; None where there is none or it is the largest float."""
    if len(node.inputs) <= index or node.inputs[index] is None:
        return None
    bound = float(b.const(node, index).values.reshape(-1)[0])
    return None if abs(bound) >= np.finfo(np.float32).max else bound
