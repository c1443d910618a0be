"""Graph, Node and Value: a list of nodes in topological order, one output each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import Op
from rnnc.ir.types import Array, TensorType

PortDType = Literal["float32", "int8", "uint8"]


@dataclass(eq=False, slots=True)
class Value:
    """A tensor. Names are unique within a graph; they are the model's own wherever it has one."""

    name: str
    type: TensorType


@dataclass(eq=False, slots=True)
class Node:
    """One operator applied to ``inputs``; constants live in the operator."""

    name: str
    op: Op
    inputs: list[Value]
    output: Value

    @property
    def input_types(self) -> tuple[TensorType, ...]:
        return tuple(value.type for value in self.inputs)


@dataclass(eq=False, slots=True)
class Port:
    """How a graph input or output looks in the model: its name, shape without batch, element type, and the
    axes that bring the model's array into the value's own (height, width, channels) order."""

    name: str
    value: Value
    shape: tuple[int, ...]
    dtype: PortDType = "float32"
    axes: tuple[int, ...] = ()
    batched: bool = True
    unmerged: tuple[int, ...] = ()
    """The shape that ``axes`` belong to, where the model has merged axes of it into ``shape`` (a flattened map)."""

    @property
    def axis_shape(self) -> tuple[int, ...]:
        return self.unmerged or self.shape

    @property
    def order(self) -> tuple[int, ...]:
        return self.axes or tuple(range(len(self.axis_shape)))

    def to_value(self, array: Array) -> Array:
        """A batchless model array in the axis order of the value."""
        permuted = np.ascontiguousarray(array.reshape(self.axis_shape).transpose(self.order))
        return permuted.reshape(self.value.type.shape)

    def from_value(self, array: Array) -> Array:
        """The inverse of `to_value`."""
        permuted = array.reshape(tuple(self.axis_shape[axis] for axis in self.order))
        return np.ascontiguousarray(permuted.transpose(tuple(np.argsort(self.order)))).reshape(self.shape)


@dataclass(eq=False)
class Graph:
    """A network. Passes change it in place or return a new one; `rnnc.ir.verify` checks it."""

    name: str
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    arithmetic: Arithmetic = "fast"
    nominal_macs: int = 0

    def values(self) -> Iterator[Value]:
        for port in self.inputs:
            yield port.value
        for node in self.nodes:
            yield node.output

    def producers(self) -> dict[Value, Node]:
        return {node.output: node for node in self.nodes}

    def users(self) -> dict[Value, list[Node]]:
        """Nodes by the value they read; a node that reads a value twice stands there once."""
        result: dict[Value, list[Node]] = {value: [] for value in self.values()}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                result[value].append(node)
        return result

    def is_output(self, value: Value) -> bool:
        return any(port.value is value for port in self.outputs)

    def replace_value(self, old: Value, new: Value) -> None:
        """Make every reader of ``old``, graph outputs included, read ``new``."""
        for node in self.nodes:
            node.inputs = [new if value is old else value for value in node.inputs]
        for port in self.outputs:
            if port.value is old:
                port.value = new

    def fresh_name(self, stem: str) -> str:
        taken = {value.name for value in self.values()}
        if stem not in taken:
            return stem
        number = 1
        while f"{stem}.{number}" in taken:
            number += 1
        return f"{stem}.{number}"

    def prune(self) -> int:
        """Remove nodes that no output depends on; returns how many."""
        live = {port.value for port in self.outputs}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.output in live:
                live.update(node.inputs)
                kept.append(node)
        removed = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return removed
