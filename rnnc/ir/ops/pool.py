"""Max and average pooling over windows; over whole maps see rnnc/ir/ops/global_pool.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic, Int64Array, Requant, make_requant
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Channelwise, Field, FloatOp, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.conv import Pads, Pair, onnx_pads, output_extent
from rnnc.ir.ops.global_pool import (
    GlobalMax,
    plain_average,
    plain_requant,
    quantise_global_average,
)
from rnnc.ir.ops.linear import clamp_range, merge_clamp, quantised_clamp, requant_members
from rnnc.ir.types import FloatArray, Quant, TensorType

Scalar = TypeVar("Scalar", np.int64, np.float64)

MAX_ROWS = 64
"""RNNC_MAX_ROWS: rows that one job may need."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Window of a pooling operator; padding is never part of a result."""

    kernel_shape: Pair
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        x = inputs[0]
        height, width = (
            output_extent(extent, kernel, stride, dilation, before, after)
            for extent, kernel, stride, dilation, before, after in zip(
                x.shape, self.kernel_shape, self.strides, self.dilations, self.pads[:2], self.pads[2:], strict=False
            )
        )
        if height < 1 or width < 1:
            raise CompileError(
                f"the pooling window {self.kernel_shape[0]}x{self.kernel_shape[1]} is larger than its padded input "
                f"{x.height}x{x.width}",
                remedy="check the input size or the padding",
            )
        return TensorType((height, width, x.channels))

    def row_window(self) -> Window:
        return Window(0, self.kernel_shape[0], self.strides[0], self.dilations[0], self.pads[0])

    def covers(self, x: TensorType) -> bool:
        """One window takes in the whole input."""
        return self.kernel_shape == x.shape[:2] and not any(self.pads) and self.dilations == (1, 1)

    def columns(self, width: int) -> npt.NDArray[np.int64]:
        """Input column of every tap [OW, KW]; outside 0 .. width - 1 is padding."""
        count = output_extent(
            width, self.kernel_shape[1], self.strides[1], self.dilations[1], self.pads[1], self.pads[3]
        )
        left = np.arange(count)[:, None] * self.strides[1] - self.pads[1]
        return left + np.arange(self.kernel_shape[1]) * self.dilations[1]

    def taps(
        self, rows: npt.NDArray[Scalar], present: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[Scalar], npt.NDArray[np.bool_]]:
        """Taps [n, KH, OW, KW, C] of gathered rows [n, KH, W, C], and which of them exist [n, KH, OW, KW, 1]."""
        columns = self.columns(rows.shape[2])
        inside = (columns >= 0) & (columns < rows.shape[2])
        values = rows[:, :, np.clip(columns, 0, rows.shape[2] - 1)]
        return values, (present[:, :, None, None] & inside)[..., None]

    def gather(self, x: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """`taps` of every output row of a whole float tensor."""
        window, height = self.row_window(), self.infer([TensorType(x.shape)]).height
        offsets = np.arange(window.rows) * window.dilation - window.pad
        index = np.arange(height)[:, None] * window.stride + offsets
        present = (index >= 0) & (index < x.shape[0])
        return self.taps(x[np.clip(index, 0, x.shape[0] - 1)].astype(np.float64), present)

    def kernel_members(self, x: TensorType, y: TensorType) -> dict[str, Field]:
        return {
            "in_width": x.width,
            "channels": x.channels,
            "out_width": y.width,
            "kernel_h": self.kernel_shape[0],
            "kernel_w": self.kernel_shape[1],
            "stride_w": self.strides[1],
            "dilation_w": self.dilations[1],
            "pad_left": self.pads[1],
        }


@dataclass(frozen=True, eq=False)
class MaxPool(Geometry, FloatOp):
    """y = the largest value of each window; source: ONNX MaxPool."""

    name: ClassVar[str] = "max_pool"
    onnx: ClassVar[tuple[str, ...]] = ("MaxPool",)
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        if len(node.outputs) > 1:
            b.refuse(node, "the second output of MaxPool (indices)", remedy="use the pooled values only")
        if node.attributes.get("storage_order", 0):
            b.refuse(node, "storage_order=1", remedy="use row-major order")
        geometry, _ = import_geometry(node, b)
        op = cls(geometry.kernel_shape, geometry.strides, geometry.pads, geometry.dilations)
        return emit_pooled(node, b, op)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        values, exists = self.gather(inputs[0])
        largest: FloatArray = np.where(exists, values, -np.inf).max(axis=(1, 3)).astype(np.float32)
        return largest

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        if self.covers(inputs[0]):
            return GlobalMax()
        return MaxPool2D(self.kernel_shape, self.strides, self.pads, self.dilations)


@dataclass(frozen=True, eq=False)
class AveragePool(Geometry, FloatOp):
    """y = clamp(mean of each window), padding counted as zeros if ``count_padding``; source: ONNX AveragePool."""

    count_padding: bool = False
    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "average_pool"
    onnx: ClassVar[tuple[str, ...]] = ("AveragePool",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        geometry, overhang = import_geometry(node, b)
        count_padding = bool(node.attributes.get("count_include_pad", 0))
        if overhang and count_padding:
            b.refuse(
                node,
                "ceil_mode=1 together with count_include_pad=1",
                why="the last window reaches beyond the padding, which exporters count differently",
                remedy="pad the input explicitly, or set one of the two to 0",
            )
        op = cls(geometry.kernel_shape, geometry.strides, geometry.pads, geometry.dilations, count_padding)
        return emit_pooled(node, b, op)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        values, exists = self.gather(inputs[0])
        count = self.kernel_shape[0] * self.kernel_shape[1] if self.count_padding else exists.sum(axis=(1, 3))
        mean = np.where(exists, values, 0.0).sum(axis=(1, 3)) / count
        y: FloatArray = np.clip(mean, *clamp_range(self.low, self.high)).astype(np.float32)
        return y

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        merged = merge_clamp(self.low, self.high, low, high)
        return replace(self, low=merged["low"], high=merged["high"])

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        x, y = inputs[0].required_quant, output.required_quant
        low, high = quantised_clamp(y, self.low, self.high)
        # TensorFlow Lite's AVERAGE_POOL_2D averages the stored integers
        plain = arithmetic == "tflite" and x == y and not self.count_padding
        if self.covers(inputs[0]):
            return quantise_global_average(inputs[0], y, arithmetic, (low, high), plain=plain)
        largest = self.kernel_shape[0] * self.kernel_shape[1]
        smallest = largest if self.count_padding else self.smallest_count(inputs[0])
        counts = np.arange(smallest, largest + 1)
        requant = plain_requant(low, high)
        if not plain:
            real = (x.scale / (y.scale * counts)).astype(np.float64)
            requant = make_requant(arithmetic, real, 255 * largest, y.zero_point, low, high)
        return AveragePool2D(
            self.kernel_shape,
            self.strides,
            self.pads,
            self.dilations,
            0 if plain else x.zero_point,
            smallest,
            self.count_padding,
            plain,
            requant,
        )

    def smallest_count(self, x: TensorType) -> int:
        """The number of taps in the window that has most padding."""
        _, exists = self.gather(np.zeros((*x.shape[:2], 1), np.float32))
        return int(exists.sum(axis=(1, 3)).min())


class PoolInt(Geometry, Channelwise):
    """What the integer pooling operators share."""

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if self.kernel_shape[0] > MAX_ROWS:
            raise CompileError(
                f"a pooling window {self.kernel_shape[0]} rows high",
                why=f"at most {MAX_ROWS} rows are held at a time, unless the window covers the whole input",
                remedy="pool in two steps",
            )
        return TensorType(super().infer(inputs).shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (self.row_window(),)

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        taps = self.kernel_shape[0] * self.kernel_shape[1]
        counts = {
            "jobs": output.height,
            "pixels": output.height * output.width,
            "outputs": output.elements,
            "rows": output.elements * self.kernel_shape[0],
            "taps": output.elements * taps,
        }
        return (Work(self.name, counts),)


@dataclass(frozen=True, eq=False)
class MaxPool2D(PoolInt):
    """int8 max pooling; input and output have one quantisation."""

    name: ClassVar[str] = "max_pool2d"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values, exists = self.taps(windows[0].values, windows[0].present)
        largest: Int64Array = np.where(exists, values, -128).max(axis=(1, 3))
        return largest

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        return Kernel("rnnc_max_pool_s8", "rnnc_max_pool", self.kernel_members(inputs[0], output), "pool")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, geometry in SAMPLES:
            x = TensorType(shape, "int8", Quant(0.1, 3))
            op = cls(geometry.kernel_shape, geometry.strides, geometry.pads, geometry.dilations)
            yield Sample(op, (x,), op.infer([x]).with_quant(x.quant), f"{shape} {geometry.kernel_shape}")


@dataclass(frozen=True, eq=False)
class AveragePool2D(PoolInt):
    """int8 average pooling.

    y = requantised sum of (x - zero_point) over the taps that exist, by the multiplier of their number:
    multiplier 0 is for ``first_count`` taps. ``plain``: the stored integers' average, rounded half away from zero.
    """

    zero_point: int = 0
    first_count: int = 1
    count_padding: bool = False
    plain: bool = False
    requant: Requant = field(default_factory=lambda: plain_requant(-128, 127))

    name: ClassVar[str] = "average_pool2d"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values, exists = self.taps(windows[0].values, windows[0].present)
        count = exists.sum(axis=(1, 3)).astype(np.int64)
        total: Int64Array = np.where(exists, values - self.zero_point, 0).sum(axis=(1, 3))
        if self.plain:
            return np.clip(plain_average(total, count), self.requant.low, self.requant.high)
        index = np.zeros_like(count) if self.count_padding else count - self.first_count
        chosen = replace(self.requant, multipliers=self.requant.multipliers[index], shifts=self.requant.shifts[index])
        return chosen.apply(total)

    def weight_bytes(self) -> int:
        return 5 * self.requant.multipliers.size

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.kernel_members(inputs[0], output),
            "zero_point": self.zero_point,
            "first_count": self.first_count,
            "count_padding": int(self.count_padding),
            **requant_members(self.requant),
        }
        function = "rnnc_average_pool_plain_s8" if self.plain else "rnnc_average_pool_s8"
        return Kernel(function, "rnnc_average_pool", members, "pool")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for number, (shape, geometry) in enumerate(SAMPLES):
            for arithmetic in ARITHMETICS:
                x = TensorType(shape, "int8", Quant(0.1, int(rng.integers(-128, 128))))
                given = (geometry.kernel_shape, geometry.strides, geometry.pads, geometry.dilations)
                for quant in (x.required_quant, Quant(0.07, 5)):
                    pool = AveragePool(*given, count_padding=number % 2 == 1, low=-1.0 if number % 3 else None)
                    y = pool.infer([x]).with_quant(quant)
                    op = pool.quantise([x], y, arithmetic)
                    if isinstance(op, cls):
                        yield Sample(op, (x,), replace(y, dtype="int8"), f"{arithmetic} {shape} {geometry}")


ARITHMETICS: tuple[Arithmetic, Arithmetic] = ("fast", "tflite")
SAMPLES: tuple[tuple[tuple[int, int, int], Geometry], ...] = (
    ((2, 3, 1), Geometry((1, 1))),
    ((1, 4, 5), Geometry((1, 2), (1, 2))),
    ((5, 6, 3), Geometry((2, 2), (2, 2))),
    ((7, 5, 4), Geometry((3, 3), (1, 1), (1, 1, 1, 1))),
    ((7, 7, 6), Geometry((3, 3), (2, 2), (0, 0, 1, 1))),
    ((8, 7, 5), Geometry((3, 2), (1, 2), (2, 1, 2, 0), (2, 3))),
    ((9, 1, 7), Geometry((5, 1), (2, 1), (1, 0, 2, 0))),
)


def import_geometry(node: SourceNode, b: Builder) -> tuple[Geometry, bool]:
    """The windows of an ONNX pooling node, and whether ceil_mode makes the last ones overhang the padding."""
    shape = b.onnx_shape(b.value(node, 0))
    if len(shape) not in (3, 4):
        b.refuse(node, f"pooling over an input of rank {len(shape)}", why="1-D and 2-D pooling is supported")
    kernel = integers(node, "kernel_shape", ())
    rank = len(shape) - 2
    if len(kernel) != rank:
        b.refuse(node, f"kernel_shape {kernel} for an input of rank {len(shape)}")
    strides = pair(integers(node, "strides", (1,) * rank))
    dilations = pair(integers(node, "dilations", (1,) * rank))
    extents = pair(shape[2:])
    pads = onnx_pads(node, b, shape[2:], kernel, strides, dilations)
    geometry = Geometry(pair(kernel), strides, pads, dilations)
    reach = [(geometry.kernel_shape[axis] - 1) * dilations[axis] + 1 for axis in range(2)]
    if any(pads[axis] >= reach[axis % 2] for axis in range(4)):
        b.refuse(node, f"padding {pads} of a pooling window {kernel}", why="a window would lie in padding alone")
    if not node.attributes.get("ceil_mode", 0):
        return geometry, False
    after = [ceil_padding(extents[a], reach[a], strides[a], pads[a], pads[a + 2]) for a in range(2)]
    grown = replace(geometry, pads=(pads[0], pads[1], after[0], after[1]))
    return grown, grown.pads != pads


def ceil_padding(extent: int, reach: int, stride: int, before: int, after: int) -> int:
    """Padding behind the input such that rounding up the output extent needs no rounding.

    ONNX drops a window that would begin in the padding behind the input.
    """
    windows = -(-max(extent + before + after - reach, 0) // stride) + 1
    if (windows - 1) * stride >= extent + before:
        windows -= 1
    return max(after, (windows - 1) * stride + reach - extent - before)


def emit_pooled(node: SourceNode, b: Builder, op: FloatOp) -> Value:
    x = b.value(node, 0)
    y = b.emit(op, [b.to_hwc(x)], node.outputs[0])
    height, width, channels = y.type.shape
    one_d = len(b.onnx_shape(x)) == 3
    return b.from_hwc(y, (1, channels, height) if one_d else (1, channels, height, width))


def integers(node: SourceNode, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = node.attributes.get(name, default)
    return tuple(int(item) for item in value) if isinstance(value, tuple) else default


def pair(given: Sequence[int]) -> Pair:
    return (given[0], 1) if len(given) == 1 else (given[0], given[1])
