"""Padding: with zeros, or with copies of the edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import FloatOp, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.shape import AxisOp
from rnnc.ir.ops.shape_import import KEEP_BATCH
from rnnc.ir.types import FloatArray, Quant, TensorType

Mode = Literal["constant", "edge"]


@dataclass(frozen=True, eq=False)
class Pad(AxisOp):
    """``before`` and ``after`` elements along each axis (batch not counted): zeros, or copies of the edge.

    Source: ONNX Pad.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: Mode = "constant"

    name: ClassVar[str] = "pad"
    onnx: ClassVar[tuple[str, ...]] = ("Pad",)
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        rank = len(b.onnx_shape(x))
        before, after = _onnx_pads(node, b, rank)
        mode = str(node.attributes.get("mode", "constant"))
        if mode not in ("constant", "edge"):
            b.refuse(node, f"Pad with mode={mode}", why="supported: constant (zero) and edge")
        if len(node.inputs) > 2 and node.inputs[2] is not None and np.any(b.const(node, 2).values != 0):
            b.refuse(node, "Pad with a constant other than zero", remedy="pad with zeros or with mode=edge")
        if any(pad < 0 for pad in before + after):
            b.refuse(node, "Pad with negative pads", remedy="use Slice to crop")
        if before[0] or after[0]:
            b.refuse(node, "Pad of the batch axis", why=KEEP_BATCH)
        if not any(before + after):
            return x
        op = cls(before[1:], after[1:], "edge" if mode == "edge" else "constant")
        return b.emit(op, [x], node.outputs[0])

    def along(self, order: Sequence[int]) -> FloatOp:
        before, after = [0, 0, 0], [0, 0, 0]
        for axis, target in enumerate(order):
            before[target], after[target] = self.before[axis], self.after[axis]
        return replace(self, before=tuple(before), after=tuple(after))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        shape = inputs[0].shape
        if not len(shape) == len(self.before) == len(self.after):
            raise CompileError(f"pads {self.before}, {self.after} for a tensor of shape {shape}")
        return TensorType(tuple(b + n + a for b, n, a in zip(self.before, shape, self.after, strict=True)))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        widths = tuple(zip(self.before, self.after, strict=True))
        return np.pad(inputs[0], widths, mode="edge" if self.mode == "edge" else "constant")

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        top, left, front = self.before
        bottom, right, back = self.after
        edge = self.mode == "edge"
        if edge and (front or back):
            raise CompileError("Pad with mode=edge along the channels", remedy="pad rows and columns only")
        zero_point = inputs[0].required_quant.zero_point
        return PadRows((top, left, bottom, right), (front, back), zero_point, int(edge))


@dataclass(frozen=True, eq=False)
class PadRows(IntOp):
    """Pads (top, left, bottom, right) and channels (front, back) with ``value``, or with the edge."""

    pads: tuple[int, int, int, int]
    channels: tuple[int, int]
    value: int
    edge: int = 0

    name: ClassVar[str] = "pad_rows"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        x, (top, left, bottom, right) = inputs[0], self.pads
        return TensorType((x.height + top + bottom, x.width + left + right, x.channels + sum(self.channels)), x.dtype)

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1, pad=self.pads[0], edge=bool(self.edge)),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values, present, (_, left, _, right) = windows[0].values, windows[0].present, self.pads
        if self.edge:
            return np.pad(values[:, 0], ((0, 0), (left, right), (0, 0)), mode="edge")
        rows = np.where(present[:, 0, None, None], values[:, 0], self.value)
        return np.pad(rows, ((0, 0), (left, right), self.channels), constant_values=self.value)

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        low, high = ranges[0].low, ranges[0].high
        if any(self.pads) and not self.edge:
            low, high = np.minimum(low, self.value), np.maximum(high, self.value)
        return ChannelRange(
            np.pad(low, self.channels, constant_values=self.value),
            np.pad(high, self.channels, constant_values=self.value),
        )

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        return (np.pad(np.arange(inputs[0].channels), self.channels, constant_values=-1),)

    def keep_channels(self, kept: Sequence[KeptChannels], output: BoolArray, inputs: Sequence[TensorType]) -> IntOp:
        front, end = self.channels[0], self.channels[0] + inputs[0].channels
        return replace(self, channels=(int(output[:front].sum()), int(output[end:].sum())))

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            "in_width": inputs[0].width,
            "in_channels": inputs[0].channels,
            "left": self.pads[1],
            "right": self.pads[3],
            "front": self.channels[0],
            "back": self.channels[1],
            "value": self.value,
            "edge": self.edge,
        }
        return Kernel("rnnc_pad_s8", "rnnc_pad", members, "shape")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, pads, channels, edge in (
            ((1, 1, 1), (1, 1, 1, 1), (0, 0), 0),
            ((3, 4, 5), (2, 0, 1, 3), (0, 0), 0),
            ((3, 4, 3), (0, 1, 0, 0), (2, 1), 0),
            ((2, 3, 4), (0, 0, 0, 0), (0, 3), 0),
            ((1, 1, 3), (2, 1, 3, 2), (0, 0), 1),
            ((4, 5, 2), (1, 2, 0, 0), (0, 0), 1),
            ((4, 3, 3), (0, 0, 3, 1), (0, 0), 1),
            ((3, 2, 1), (5, 1, 4, 1), (0, 0), 1),
        ):
            zero_point = int(rng.choice([-128, 0, 127]))
            x = TensorType(shape, "int8", Quant(0.1, zero_point))
            op = cls(pads, channels, zero_point, edge)
            yield Sample(op, (x,), op.infer([x]).with_quant(x.quant), f"{shape} {pads} {channels} edge={edge}")


def _onnx_pads(node: SourceNode, b: Builder, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pads before and after, for all axes, from ONNX's pads and axes inputs."""
    stored = b.const(node, 1)
    given = [int(pad) for pad in (stored.values if stored.stored is None else stored.stored).ravel()]
    axes = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = [int(axis) % rank for axis in b.const(node, 3).values.ravel()]
    if len(given) != 2 * len(axes):
        b.refuse(node, f"Pad by {given}", why=f"{len(axes)} axes need {2 * len(axes)} pads")
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = given[place], given[place + len(axes)]
    return tuple(before), tuple(after)
