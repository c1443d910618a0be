"""Moving numbers without changing them: Rearrange (any transposition and reshape), Concat, Slice.

Rearrange exists between import and the layout pass only. Concat and Slice work along one axis of a tensor of any
rank; the layout pass turns the axis into that of (height, width, channels).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Field, FloatOp, IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.shape_import import KEEP_BATCH, ints, operand, reshaped, without_batch
from rnnc.ir.types import ELEMENT_BYTES, FloatArray, Quant, TensorType


class AxisOp(FloatOp):
    """An operator that names axes of its input; the layout pass renames them."""

    @abstractmethod
    def along(self, order: Sequence[int]) -> FloatOp:
        """The operator where axis i of the tensor has become axis order[i] of (height, width, channels)."""


@dataclass(frozen=True, eq=False)
class Rearrange(FloatOp):
    """y = x.transpose(axes).reshape(shape). Source: ONNX Transpose, Reshape, Flatten, Squeeze, Unsqueeze.

    ``implied``: the model has no such node; import put it before or behind an operator that is channels-last.
    """

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    implied: bool = False

    name: ClassVar[str] = "rearrange"
    onnx: ClassVar[tuple[str, ...]] = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        given = b.onnx_shape(x)
        axes = tuple(range(len(given) - 1))
        if node.op_type == "Transpose":
            perm = ints(node, "perm") or tuple(reversed(range(len(given))))
            if perm[0] != 0:
                b.refuse(node, f"Transpose by {perm} moves the batch axis", why=KEEP_BATCH)
            axes = tuple(axis - 1 for axis in perm[1:])
            shape = tuple(given[axis] for axis in perm)
        else:
            shape = reshaped(node, b, given)
            if not shape or shape[0] != 1:
                b.refuse(
                    node,
                    f"{node.op_type} of {list(given)} to {list(shape)} merges the batch axis with others",
                    why=KEEP_BATCH,
                    remedy="keep the first axis as it is, e.g. Flatten with axis=1 or Reshape to (N, -1)",
                )
        return b.emit(cls(axes, shape[1:]), [x], node.outputs[0])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if sorted(self.axes) != list(range(len(inputs[0].shape))):
            raise CompileError(f"the axes {self.axes} are not those of a tensor of shape {inputs[0].shape}")
        if TensorType(self.shape).elements != inputs[0].elements:
            raise CompileError(f"a tensor of shape {inputs[0].shape} cannot become one of {self.shape}")
        return TensorType(self.shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return inputs[0].transpose(self.axes).reshape(self.shape)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        raise CompileError("a transposition or reshape is left", why="the layout pass did not run before")


@dataclass(frozen=True, eq=False)
class Concat(AxisOp):
    """The inputs one after the other along ``axis`` (batch not counted); source: ONNX Concat."""

    axis: int

    name: ClassVar[str] = "concat"
    arity: ClassVar[tuple[int, int]] = (1, 64)
    onnx: ClassVar[tuple[str, ...]] = ("Concat",)
    joins_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        inputs = [b.value(node, index) for index in range(len(node.inputs))]
        axis = without_batch(node, b, ints(node, "axis", (1,))[0], len(b.onnx_shape(inputs[0])))
        return b.emit(cls(axis), inputs, node.outputs[0])

    def along(self, order: Sequence[int]) -> FloatOp:
        return replace(self, axis=order[self.axis])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(_joined([x.shape for x in inputs], self.axis))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return np.concatenate(inputs, axis=self.axis)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        for x in inputs:
            if x.quant != output.quant:
                raise CompileError("an input of Concat has another quantisation than the output")
        return ConcatRows(self.axis)


@dataclass(frozen=True, eq=False)
class ConcatRows(IntOp):
    """Concatenation along ``axis``: 0 rows, 1 columns, 2 channels."""

    axis: int

    name: ClassVar[str] = "concat_rows"
    arity: ClassVar[tuple[int, int]] = (1, 64)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(_joined([x.shape for x in inputs], self.axis), inputs[0].dtype)

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        if self.axis != 0:
            return tuple(Window(index, 1) for index in range(len(inputs)))
        starts = np.cumsum([0, *(x.height for x in inputs)])
        return tuple(Window(index, 1, pad=int(starts[index])) for index in range(len(inputs)))

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        rows = [window.values[:, 0] for window in windows]
        if self.axis == 0:
            # absent rows are zeros, and exactly one input has the row
            total: npt.NDArray[np.int64] = np.sum(rows, axis=0)
            return total
        return np.concatenate(rows, axis=self.axis)

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        lows, highs = [item.low for item in ranges], [item.high for item in ranges]
        if self.axis == 2:
            return ChannelRange(np.concatenate(lows), np.concatenate(highs))
        return ChannelRange(np.min(lows, axis=0), np.max(highs, axis=0))

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        channels = np.arange(output.channels, dtype=np.int64)
        if self.axis != 2:
            return (channels,) * len(inputs)
        starts = np.cumsum([0, *(x.channels for x in inputs)])
        within = [
            (channels >= start) & (channels < start + x.channels) for start, x in zip(starts[:-1], inputs, strict=True)
        ]
        return tuple(np.where(mine, channels - start, -1) for start, mine in zip(starts[:-1], within, strict=True))

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        pixels = output.width if self.axis == 2 else 1
        sizes = np.array([x.row_bytes // pixels for x in inputs], np.int32)
        members: dict[str, Field] = {"sizes": Table("int32_t", sizes), "inputs": len(inputs), "pixels": pixels}
        return Kernel("rnnc_concat", "rnnc_concat_params", members, "shape")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for axis, shapes in CONCAT_CASES:
            types = tuple(TensorType(shape, "int8", Quant(0.1, -3)) for shape in shapes)
            op = cls(axis)
            yield Sample(op, types, op.infer(types).with_quant(Quant(0.1, -3)), f"axis {axis} {shapes}")
        wide = (TensorType((2, 3, 3), "int16", Quant(2**-15)), TensorType((2, 3, 2), "int16", Quant(2**-15)))
        yield Sample(cls(2), wide, cls(2).infer(wide).with_quant(Quant(2**-15)), "int16")


CONCAT_CASES: tuple[tuple[int, tuple[tuple[int, int, int], ...]], ...] = (
    (2, ((1, 1, 1), (1, 1, 1))),
    (2, ((3, 4, 5), (3, 4, 1), (3, 4, 7))),
    (1, ((2, 1, 3), (2, 5, 3))),
    (0, ((1, 3, 2), (4, 3, 2), (2, 3, 2))),
    (2, ((2, 2, 3),)),
)


@dataclass(frozen=True, eq=False)
class Slice(AxisOp):
    """x[start:stop:step] along ``axis`` (batch not counted), step >= 1; source: ONNX Slice and Split."""

    axis: int
    start: int
    stop: int
    step: int = 1

    name: ClassVar[str] = "slice"
    onnx: ClassVar[tuple[str, ...]] = ("Slice", "Split")
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value | tuple[Value, ...]:
        return _import_split(node, b) if node.op_type == "Split" else _import_slice(node, b)

    def along(self, order: Sequence[int]) -> FloatOp:
        return replace(self, axis=order[self.axis])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(_cut(inputs[0].shape, self))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        index = [slice(None)] * inputs[0].ndim
        index[self.axis] = slice(self.start, self.stop, self.step)
        return inputs[0][tuple(index)]

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        return SliceRows(self.axis, self.start, self.stop, self.step)


@dataclass(frozen=True, eq=False)
class SliceRows(IntOp):
    """x[start:stop:step] along ``axis``: 0 rows, 1 columns, 2 channels."""

    axis: int
    start: int
    stop: int
    step: int = 1

    name: ClassVar[str] = "slice_rows"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(_cut(inputs[0].shape, self), inputs[0].dtype)

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1, self.step, pad=-self.start) if self.axis == 0 else Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        rows, cut = windows[0].values[:, 0], slice(self.start, self.stop, self.step)
        return rows if self.axis == 0 else rows[:, cut] if self.axis == 1 else rows[:, :, cut]

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        return ranges[0].at(self._sources(inputs[0].channels))

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        # with steps, what stays would have to lie evenly
        return None if self.axis == 2 and self.step > 1 else (self._sources(inputs[0].channels),)

    def _sources(self, channels: int) -> ChannelIndex:
        index = np.arange(channels, dtype=np.int64)
        return index[self.start : self.stop : self.step] if self.axis == 2 else index

    def droppable(self, index: int, ranges: ChannelRange, inputs: Sequence[TensorType]) -> BoolArray:
        return np.ones(inputs[0].channels, np.bool_)  # those beside the slice

    def keep_channels(self, kept: Sequence[KeptChannels], output: BoolArray, inputs: Sequence[TensorType]) -> IntOp:
        if self.axis != 2:
            return self
        start = int(kept[0].mask[: self.start].sum())
        return replace(self, start=start, stop=start + int(output.sum()))

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        x = inputs[0]
        element = ELEMENT_BYTES[x.dtype]
        pixel = x.channels * element
        pixels, count, block = {
            0: (1, 1, output.row_bytes),
            1: (1, output.width, pixel),
            2: (x.width, output.channels, element),
        }[self.axis]
        distance = self.step * block
        first = 0 if self.axis == 0 else self.start * block
        if self.step == 1:
            count, block = 1, count * block
        members = {
            "pixels": pixels,
            "pixel_bytes": pixel,
            "first": first,
            "count": count,
            "distance": distance,
            "block": block,
        }
        return Kernel("rnnc_slice", "rnnc_slice_params", members, "shape")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, op in (
            ((1, 1, 2), cls(2, 1, 2)),
            ((3, 4, 9), cls(2, 2, 7)),
            ((3, 4, 9), cls(2, 1, 9, 3)),
            ((3, 5, 3), cls(1, 1, 4)),
            ((3, 5, 3), cls(1, 0, 5, 2)),
            ((7, 2, 3), cls(0, 2, 6)),
            ((7, 2, 3), cls(0, 1, 7, 3)),
        ):
            for dtype, quant in (("int8", Quant(0.1, 5)), ("int16", Quant(2**-15))):
                x = TensorType(shape, dtype, quant)  # type: ignore[arg-type]
                yield Sample(op, (x,), op.infer([x]).with_quant(quant), f"{dtype} {shape} {op}")


def _joined(shapes: Sequence[tuple[int, ...]], axis: int) -> tuple[int, ...]:
    first = shapes[0]
    for shape in shapes:
        if shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :] or len(shape) != len(first):
            raise CompileError(
                f"shapes {', '.join(map(str, shapes))} cannot be joined along axis {axis}",
                why="all other axes must agree",
            )
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _cut(shape: tuple[int, ...], op: Slice | SliceRows) -> tuple[int, ...]:
    extent = shape[op.axis]
    if op.step < 1 or not 0 <= op.start < op.stop <= extent:
        raise CompileError(f"the slice {op.start}:{op.stop}:{op.step} does not fit an axis of {extent}")
    return (*shape[: op.axis], -(-(op.stop - op.start) // op.step), *shape[op.axis + 1 :])


def _import_slice(node: SourceNode, b: Builder) -> Value:
    x = b.value(node, 0)
    starts, ends = operand(node, b, 1, "starts") or (), operand(node, b, 2, "ends") or ()
    axes = operand(node, b, 3, "axes") or tuple(range(len(starts)))
    steps = operand(node, b, 4, "steps") or (1,) * len(starts)
    for number, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        shape = b.onnx_shape(x)
        if step < 1:
            b.refuse(node, f"Slice with step {step}", why="rows are made in order, so steps must be positive")
        if axis % len(shape) == 0 and start in (0, -1) and end >= 1:
            continue
        along = without_batch(node, b, axis, len(shape))
        first, stop, _ = slice(start, end).indices(shape[along + 1])
        name = node.outputs[0] if number == len(starts) - 1 else f"{node.outputs[0]}:{number}"
        x = b.emit(Slice(along, first, stop, step), [x], name)
    return x


def _import_split(node: SourceNode, b: Builder) -> tuple[Value, ...]:
    x = b.value(node, 0)
    shape = b.onnx_shape(x)
    axis = without_batch(node, b, ints(node, "axis", (0,))[0], len(shape))
    parts = len(node.outputs)
    size = -(-shape[axis + 1] // parts)
    even = tuple(min(size, shape[axis + 1] - size * part) for part in range(parts))
    ends = np.cumsum(operand(node, b, 1, "split") or even)
    starts = (0, *ends[:-1])
    return tuple(
        b.emit(Slice(axis, int(start), int(end)), [x], name)
        for name, start, end in zip(node.outputs, starts, ends, strict=True)
        if name
    )
