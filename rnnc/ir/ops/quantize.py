"""The boundaries between real and stored numbers that a QDQ model marks; the QDQ pass removes them.

Until then the stored integers are held as floating-point numbers of the same value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import FloatOp, IntOp
from rnnc.ir.types import FloatArray, Quant, TensorType

Stored = Literal["int8", "uint8"]
STORED_RANGE: dict[Stored, tuple[int, int]] = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True, eq=False)
class Grid(FloatOp):
    """real = scale * (stored - zero_point), one scale for the tensor, stored as ``dtype``."""

    scale: float
    zero_point: int
    dtype: Stored = "int8"

    @property
    def quant(self) -> Quant:
        """The same for int8, which is what runs: uint8 is shifted by 128."""
        return Quant(self.scale, self.zero_point - (128 if self.dtype == "uint8" else 0))

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        dtype = str(node.attributes["element_type"])
        if dtype not in STORED_RANGE:
            b.refuse(node, f"{node.op_type} with {dtype} activations", why="int8 and uint8 are supported")
        scale = b.const(node, 1).values
        if scale.size != 1 or node.attributes.get("block_size", 0):
            b.refuse(
                node,
                f"{node.op_type} of activations with {scale.size} scales",
                why="activations have one scale per tensor; only weights may have one per channel",
                remedy="quantise the activations per tensor",
            )
        zero_point = 0
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            zero_point = int(b.const(node, 2).values.ravel()[0])
        op = cls(float(scale.ravel()[0]), zero_point, dtype)
        return b.emit(op, [x], node.outputs[0])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        raise CompileError("a QuantizeLinear or DequantizeLinear is left", why="the QDQ pass did not run before")


@dataclass(frozen=True, eq=False)
class Quantize(Grid):
    """stored = clip(round(x / scale) + zero_point), halves to even; source: ONNX QuantizeLinear."""

    name: ClassVar[str] = "quantize"
    onnx: ClassVar[tuple[str, ...]] = ("QuantizeLinear",)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        low, high = STORED_RANGE[self.dtype]
        stored = np.rint(inputs[0] / np.float32(self.scale)) + self.zero_point
        codes: FloatArray = np.clip(stored, low, high).astype(np.float32)
        return codes


@dataclass(frozen=True, eq=False)
class Dequantize(Grid):
    """x = scale * (stored - zero_point); source: ONNX DequantizeLinear of activations."""

    name: ClassVar[str] = "dequantize"
    onnx: ClassVar[tuple[str, ...]] = ("DequantizeLinear",)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        real: FloatArray = ((inputs[0] - self.zero_point) * np.float32(self.scale)).astype(np.float32)
        return real
