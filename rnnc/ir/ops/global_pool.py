"""Pooling over the whole map, one input row per job, so that a wide map is never held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import (
    Arithmetic,
    Int64Array,
    Requant,
    make_requant,
    quantize_multiplier,
)
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Channelwise, Const, Field, FloatOp, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.linear import clamp_range, merge_clamp, quantised_clamp, requant_members
from rnnc.ir.types import FloatArray, Quant, TensorType


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(FloatOp):
    """y = clamp(mean over height and width); source: ONNX GlobalAveragePool and ReduceMean."""

    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "global_average_pool"
    onnx: ClassVar[tuple[str, ...]] = ("GlobalAveragePool", "ReduceMean")

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        keepdims = True
        if node.op_type == "ReduceMean":
            keepdims = bool(node.attributes.get("keepdims", 1))
            axes, rank = reduced_axes(node, b), len(b.onnx_shape(b.value(node, 0)))
            if rank < 3 or axes != tuple(range(2, rank)):
                b.refuse(
                    node,
                    f"ReduceMean over the axes {axes} of {rank}",
                    why="the mean over height and width (all axes behind the channels) is supported",
                )
        return emit_global(node, b, cls(), keepdims)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, 1, inputs[0].channels))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        mean = inputs[0].astype(np.float64).mean(axis=(0, 1), keepdims=True)
        y: FloatArray = np.clip(mean, *clamp_range(self.low, self.high)).astype(np.float32)
        return y

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        return replace(self, **merge_clamp(self.low, self.high, low, high))

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        y = output.required_quant
        clamp = quantised_clamp(y, self.low, self.high)
        if arithmetic == "tflite":
            return quantise_mean(inputs[0], y, clamp)
        return quantise_global_average(inputs[0], y, arithmetic, clamp, plain=False)


@dataclass(frozen=True, eq=False)
class GlobalMaxPool(FloatOp):
    """y = the largest value over height and width; source: ONNX GlobalMaxPool."""

    name: ClassVar[str] = "global_max_pool"
    onnx: ClassVar[tuple[str, ...]] = ("GlobalMaxPool",)
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        return emit_global(node, b, cls(), keepdims=True)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, 1, inputs[0].channels))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        largest: FloatArray = inputs[0].max(axis=(0, 1), keepdims=True)
        return largest

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        return GlobalMax()


class Accumulating(Channelwise):
    """An operator that takes in one input row per job and writes its only output row with the last."""

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, 1, inputs[0].channels), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, inputs[0].height),)

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return inputs[0].height

    def shape_members(self, inputs: Sequence[TensorType]) -> dict[str, Field]:
        x = inputs[0]
        return {"width": x.width, "channels": x.channels, "last_job": x.height - 1}


@dataclass(frozen=True, eq=False)
class GlobalAverage(Accumulating):
    """y = requantised (initial + sum of the stored integers).

    ``divisor`` other than 0: the sum divided by it, rounded half away from zero, within the requantisation's clamp.
    """

    initial: int
    divisor: int
    requant: Requant

    name: ClassVar[str] = "global_average"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        total: Int64Array = windows[0].values.sum(axis=(1, 2))[:, None] + self.initial
        if self.divisor:
            return np.clip(plain_average(total, self.divisor), self.requant.low, self.requant.high)
        return self.requant.apply(total)

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return 4 * output.channels

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        rows, (quads, singles) = inputs[0].height, divmod(output.channels, 4)
        counts = {
            "jobs": rows,
            "quads": rows * quads,
            "steps": rows * inputs[0].width * quads,
            "single steps": rows * inputs[0].width * singles,
            "outputs": output.channels,
        }
        return (Work(self.name, counts),)

    def weight_bytes(self) -> int:
        return 5

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.shape_members(inputs),
            "initial": self.initial,
            "divisor": self.divisor,
            **requant_members(self.requant),
        }
        return Kernel("rnnc_global_average_s8", "rnnc_global_average", members, "global_pool")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in SAMPLE_SHAPES:
            x = TensorType(shape, "int8", Quant(0.1, int(rng.choice([-128, 127, 7]))))
            for quant in (x.required_quant, Quant(0.03, -20), Quant(0.9, 100)):
                y = TensorType((1, 1, shape[2]), "int8", quant)
                clamp = (-128, 127) if shape[0] % 2 else (-100, 90)
                cases = {
                    "fast": quantise_global_average(x, quant, "fast", clamp, plain=False),
                    "tflite pool": quantise_global_average(x, quant, "tflite", clamp, plain=False),
                    "tflite plain pool": quantise_global_average(x, quant, "tflite", clamp, plain=True),
                    "tflite mean": quantise_mean(x, quant, clamp),
                }
                for label, op in cases.items():
                    yield Sample(op, (x,), y, f"{label} {shape} {quant}")


@dataclass(frozen=True, eq=False)
class GlobalMax(Accumulating):
    """y = the largest stored integer of each channel."""

    name: ClassVar[str] = "global_max"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        largest: Int64Array = windows[0].values.max(axis=(1, 2))[:, None]
        return largest

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.channels

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        return Kernel("rnnc_global_max_s8", "rnnc_global_max", self.shape_members(inputs), "global_pool")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in SAMPLE_SHAPES:
            x = TensorType(shape, "int8", Quant(0.1, 3))
            yield Sample(cls(), (x,), TensorType((1, 1, shape[2]), "int8", x.quant), f"{shape}")


SAMPLE_SHAPES = ((1, 1, 1), (1, 5, 3), (4, 3, 7), (25, 5, 6), (70, 2, 5))


def plain_average(total: Int64Array, count: Int64Array | int) -> Int64Array:
    """total / count rounded half away from zero."""
    size = (np.abs(total) + np.asarray(count, np.int64) // 2) // count
    return np.where(total < 0, -size, size)


def plain_requant(low: int, high: int) -> Requant:
    """No requantisation, a clamp only."""
    return Requant("tflite", np.zeros(1, np.int32), np.zeros(1, np.int8), 0, low, high)


def quantise_global_average(
    x: TensorType, y: Quant, arithmetic: Arithmetic, clamp: tuple[int, int], *, plain: bool
) -> GlobalAverage:
    """The average over the whole map. ``plain`` averages the stored integers (equal quantisations)."""
    count = x.height * x.width
    if plain:
        return GlobalAverage(0, count, plain_requant(*clamp))
    quant = x.required_quant
    real = np.array([quant.scale / (y.scale * count)])
    requant = make_requant(arithmetic, real, 255 * count, y.zero_point, *clamp)
    return GlobalAverage(-quant.zero_point * count, 0, requant)


def quantise_mean(x: TensorType, y: Quant, clamp: tuple[int, int]) -> GlobalAverage:
    """TensorFlow Lite's MEAN: the division by the count is folded into the multiplier, rounded towards zero."""
    quant, count = x.required_quant, x.height * x.width
    multiplier, shift = quantize_multiplier(quant.scale / y.scale)
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    multipliers = np.array([(multiplier << fold) // count], np.int32)
    requant = Requant("tflite", multipliers, np.array([shift - fold], np.int8), y.zero_point, *clamp)
    return GlobalAverage(-quant.zero_point * count, 0, requant)


def emit_global(node: SourceNode, b: Builder, op: FloatOp, keepdims: bool) -> Value:
    x = b.value(node, 0)
    shape = b.onnx_shape(x)
    if len(shape) not in (3, 4):
        b.refuse(node, f"pooling over an input of rank {len(shape)}", why="it must have rank 3 or 4")
    y = b.emit(op, [b.to_hwc(x)], node.outputs[0])
    return b.from_hwc(y, (1, shape[1], *(1 for _ in shape[2:])) if keepdims else (1, shape[1]))


def reduced_axes(node: SourceNode, b: Builder) -> tuple[int, ...]:
    """The axes of a Reduce node, sorted, batch axis included in the count: attribute or (opset 18) input."""
    rank = len(b.onnx_shape(b.value(node, 0)))
    given = node.attributes.get("axes")
    if isinstance(given, tuple):
        axes = [int(axis) for axis in given]
    elif len(node.inputs) > 1 and isinstance(node.inputs[1], Const):
        axes = [int(axis) for axis in b.const(node, 1).values.reshape(-1)]
    else:
        axes = []
    if not axes:
        axes = list(range(rank))
    return tuple(sorted(axis % rank for axis in axes))
