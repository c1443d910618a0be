"""A gain and an offset per channel: BatchNormalization, and Add, Sub, Mul and Div with a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Const, FloatOp, IntOp
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.linear import clamp_range, merge_clamp
from rnnc.ir.ops.shape import Rearrange
from rnnc.ir.types import FloatArray, TensorType

Kind = Literal["add", "mul", "sub", "rsub", "div"]
"""x + c, x * c, x - c, c - x, x / c"""


@dataclass(frozen=True, eq=False)
class Affine(FloatOp):
    """y = clamp(x * scale + offset); scale and offset are [C] along the last axis, or [1] for all elements."""

    scale: Const
    offset: Const
    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "affine"
    onnx: ClassVar[tuple[str, ...]] = ("BatchNormalization",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        if node.attributes.get("training_mode", 0):
            b.refuse(node, "BatchNormalization in training mode", remedy="export the model for inference")
        scale, bias, mean, variance = (b.const(node, i).values.astype(np.float64) for i in range(1, 5))
        spread = variance + float(node.attributes.get("epsilon", 1e-5))  # type: ignore[arg-type]
        if np.any(spread <= 0):
            b.refuse(node, "BatchNormalization with a variance that is not positive", remedy="check the training run")
        gain = scale / np.sqrt(spread)
        shape = b.onnx_shape(x)
        op = cls(constant(gain), constant(bias - mean * gain))
        return b.from_hwc(b.emit(op, [b.to_hwc(x)], node.outputs[0]), shape)

    @property
    def uniform(self) -> bool:
        """The same for every element, whatever its channel."""
        return self.scale.values.size == 1 and self.offset.values.size == 1

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        for const in (self.scale, self.offset):
            if const.values.size not in (1, inputs[0].shape[-1] if inputs[0].shape else 1):
                raise CompileError(f"{const.values.size} constants for a tensor of shape {inputs[0].shape}")
        return TensorType(inputs[0].shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        low, high = clamp_range(self.low, self.high)
        y = inputs[0].astype(np.float64) * self.scale.values + self.offset.values
        return np.clip(y, low, high).astype(np.float32)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        channels = inputs[0].channels
        weight = np.broadcast_to(self.scale.values, channels).reshape(channels, 1, 1, 1)
        bias = np.broadcast_to(self.offset.values, channels)
        depthwise = Conv(constant(weight), constant(bias), group=channels, low=self.low, high=self.high)
        return depthwise.quantise(inputs, output, arithmetic)

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        clamp = merge_clamp(self.low, self.high, low, high)
        return replace(self, low=clamp["low"], high=clamp["high"])


def constant(values: npt.ArrayLike) -> Const:
    """Real numbers as float32."""
    return Const(np.array(values, np.float32))


def import_affine(node: SourceNode, b: Builder, kind: Kind) -> Value:
    """Import ``node``, one of whose two inputs is a constant, as an Affine.

    The constant may be a single number or vary along one axis. Raises CompileError naming the node otherwise.
    """
    place = next(i for i, operand in enumerate(node.inputs[:2]) if isinstance(operand, Const))
    x, const = b.value(node, 1 - place), b.const(node, place)
    shape = b.onnx_shape(x)
    axis = _varying_axis(node, b, const.values.shape, shape)
    if kind == "div" and not np.all(const.values):
        b.refuse(node, "Div by a constant that is zero")
    op = _affine(const, kind)
    if axis is None:
        return b.emit(op, [x], node.outputs[0])
    order = (*(i for i in range(1, len(shape)) if i != axis), axis)
    extents = [shape[i] for i in order]
    last = (extents[0] if len(extents) > 1 else 1, int(np.prod(extents[1:-1])), extents[-1])
    name = node.outputs[0]
    hwc = b.emit(Rearrange(tuple(i - 1 for i in order), last, implied=True), [x], f"{name}:in")
    y = b.emit(op, [hwc], name)
    split = b.emit(Rearrange((0, 1, 2), tuple(extents), implied=True), [y], f"{name}:split")
    back = tuple(int(i) for i in np.argsort(order))
    return b.emit(Rearrange(back, shape[1:], implied=True), [split], f"{name}:out")


def _varying_axis(node: SourceNode, b: Builder, const: tuple[int, ...], shape: tuple[int, ...]) -> int | None:
    """The axis of x (batch included) along which the constant varies."""
    aligned = (1,) * (len(shape) - len(const)) + const
    varying = [i for i, extent in enumerate(aligned) if extent != 1]
    if not varying and len(aligned) == len(shape):
        return None
    fits = len(aligned) == len(shape) and all(aligned[i] == shape[i] for i in varying)
    if not fits or len(varying) != 1 or varying[0] == 0:
        b.refuse(
            node,
            f"{node.op_type} of a tensor {list(shape)} and a constant {list(const)}",
            why="a constant may be one number or vary along one axis, such as one number per channel",
            remedy="move the operation into the weights of a neighbouring layer, or into preprocessing",
        )
    return varying[0]


def _affine(const: Const, kind: Kind) -> Affine:
    flat = Const(const.values.ravel(), None if const.stored is None else const.stored.ravel(), const.scale)
    values = flat.values.astype(np.float64)
    one, zero = constant([1.0]), constant([0.0])
    if kind == "add":
        return Affine(one, flat)
    if kind == "sub":
        return Affine(one, constant(-values))
    if kind == "rsub":
        return Affine(constant([-1.0]), flat)
    return Affine(flat if kind == "mul" else constant(1.0 / values), zero)
