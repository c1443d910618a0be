"""Requantisation: the same real numbers with another scale and zero point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import FloatOp, IntOp
from rnnc.ir.ops.activation import Lut
from rnnc.ir.types import FloatArray, TensorType


@dataclass(frozen=True, eq=False)
class Requantise(FloatOp):
    """y = x; input and output differ in quantisation only. Source: QuantizeLinear behind DequantizeLinear."""

    name: ClassVar[str] = "requantise"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return inputs[0]

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        return Lut.requantise(inputs[0].required_quant, output.required_quant, arithmetic)
