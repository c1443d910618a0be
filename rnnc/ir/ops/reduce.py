"""The maximum over the channels of each pixel (the max-out background label of S3FD's detection heads)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import Arithmetic, Int64Array
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import FloatOp, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.global_pool import GlobalMaxPool, emit_global, reduced_axes
from rnnc.ir.types import FloatArray, Quant, TensorType


@dataclass(frozen=True, eq=False)
class ReduceMax(FloatOp):
    """y = the largest value of each pixel, [H, W, 1]; source: ONNX ReduceMax over axis 1."""

    name: ClassVar[str] = "reduce_max"
    onnx: ClassVar[tuple[str, ...]] = ("ReduceMax",)
    keeps_quant: ClassVar[bool] = True

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        shape, axes = b.onnx_shape(x), reduced_axes(node, b)
        keepdims = bool(node.attributes.get("keepdims", 1))
        if len(shape) > 2 and axes == tuple(range(2, len(shape))):
            return emit_global(node, b, GlobalMaxPool(), keepdims)
        if axes != (1,) or not keepdims:
            b.refuse(
                node,
                f"ReduceMax over the axes {axes} of {list(shape)} with keepdims={int(keepdims)}",
                why="the maximum over the channels (axis 1, keepdims=1) or over height and width is supported",
            )
        y = b.emit(cls(), [b.to_hwc(x)], node.outputs[0])
        return b.from_hwc(y, (1, 1, *shape[2:]))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((*inputs[0].shape[:-1], 1))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        largest: FloatArray = inputs[0].max(axis=-1, keepdims=True)
        return largest

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        return ChannelMax()


@dataclass(frozen=True, eq=False)
class ChannelMax(IntOp):
    """y = the largest stored integer of each pixel; input and output have one quantisation."""

    name: ClassVar[str] = "channel_max"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((*inputs[0].shape[:-1], 1), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        largest: Int64Array = windows[0].values[:, 0].max(axis=-1, keepdims=True)
        return largest

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {"width": inputs[0].width, "channels": inputs[0].channels}
        return Kernel("rnnc_channel_max_s8", "rnnc_channel_max", members, "reduce")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape in ((1, 1, 1), (3, 4, 3), (2, 5, 7), (4, 1, 2)):
            x = TensorType(shape, "int8", Quant(0.1, int(rng.integers(-128, 128))))
            yield Sample(cls(), (x,), TensorType((*shape[:2], 1), "int8", x.quant), f"{shape}")
