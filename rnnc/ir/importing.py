"""What an operator sees of a model file, so that ONNX import stands beside the operator without importing onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from rnnc.ir.graph import Value
from rnnc.ir.op import Const, FloatOp
from rnnc.ir.types import Array

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...] | Array


@dataclass(frozen=True, eq=False)
class SourceNode:
    """One ONNX node: inputs are values, constants (in ONNX's own axis order, batch axis included) or None."""

    op_type: str
    name: str
    inputs: tuple[Value | Const | None, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    opset: int


class Builder(Protocol):
    """The graph under construction, as an operator's import uses it."""

    def emit(self, op: FloatOp, inputs: Sequence[Value], name: str) -> Value:
        """Append a node; its output is named ``name`` (made unique)."""

    def value(self, node: SourceNode, index: int) -> Value:
        """Input ``index`` as a computed value; a constant there is refused with a clear message."""

    def const(self, node: SourceNode, index: int) -> Const:
        """Input ``index`` as a constant; a computed value there is refused with a clear message."""

    def onnx_shape(self, value: Value) -> tuple[int, ...]:
        """The shape as ONNX has it, leading batch axis of 1 included."""

    def to_hwc(self, value: Value) -> Value:
        """The value as (height, width, channels): NCHW, NCL (as L x 1 x C) or NC (as 1 x 1 x C) in ONNX."""

    def from_hwc(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The inverse: a channels-last value as the ONNX tensor of ``shape`` (batch axis included)."""

    def refuse(self, node: SourceNode, what: str, *, why: str = "", remedy: str = "") -> NoReturn:
        """Raise CompileError naming the node."""
