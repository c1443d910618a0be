"""QuantizeLinear and DequantizeLinear become annotations of values."""

from __future__ import annotations

from typing import ClassVar

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import FloatOp
from rnnc.ir.ops.quantize import Dequantize, Quantize
from rnnc.ir.ops.requantise import Requantise
from rnnc.ir.ops.shape import Rearrange
from rnnc.ir.types import Quant
from rnnc.passes.base import Note, Pass


class AbsorbQdq(Pass):
    """Each tensor of stored integers is replaced by the real value that it stands for, with its quantisation:

    1. Quantize(x): x itself is annotated; through a Rearrange, the value that was rearranged;
    2. Quantize(x) where x already has another quantisation: a Requantise node makes a second value;
    3. Dequantize(q): its readers read the annotated value; all Dequantize of one tensor must agree;
    4. an integer graph input: the input value is annotated with the Dequantize that reads it;
    5. an integer graph output: the output reads the annotated value;
    6. operators that only move numbers, between Quantize and Dequantize: they move the real values instead.
    """

    name: ClassVar[str] = "absorb-qdq"

    def run(self, graph: Graph, note: Note) -> None:
        absorber = _Absorber(graph)
        for node in list(graph.nodes):
            absorber.visit(node)
        absorber.finish()
        if absorber.removed:
            note(f"{absorber.removed} QuantizeLinear and DequantizeLinear nodes absorbed")


class _Absorber:
    """``real`` maps a tensor of stored integers to the real value it stands for, which may be the same object;
    ``dequantised`` maps the output of a Dequantize to it. ``source`` maps a value that was moved from an integer
    graph input to that input, whose quantisation is known only when a Dequantize is met."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.real: dict[Value, Value] = {}
        self.dequantised: dict[Value, Value] = {}
        self.source: dict[Value, Value] = {}
        self.removed = 0
        for port in graph.inputs:
            if port.dtype != "float32":
                self.real[port.value] = port.value
                self.source[port.value] = port.value

    def visit(self, node: Node) -> None:
        if isinstance(node.op, Quantize):
            self.quantize(node, node.op.quant)
        elif isinstance(node.op, Dequantize):
            self.dequantize(node, node.op.quant)
        elif any(value in self.real for value in node.inputs):
            self.move(node)

    def quantize(self, node: Node, quant: Quant) -> None:
        value = self.dequantised.get(node.inputs[0], node.inputs[0])
        anchor = self.anchor(value)
        if anchor.type.quant in (None, quant):
            anchor.type = anchor.type.with_quant(quant)
            self.real[node.output] = value
            self.remove(node)
        else:
            node.op = Requantise()
            node.output.type = node.output.type.with_quant(quant)
            self.real[node.output] = node.output

    def dequantize(self, node: Node, quant: Quant) -> None:
        stored = node.inputs[0]
        if stored not in self.real:
            raise CompileError(
                "DequantizeLinear reads a value that is not quantised",
                where=f"node '{node.name}'",
                remedy="put QuantizeLinear in front of it",
            )
        value = self.real[stored]
        root = self.source.get(value)
        holder = root if root is not None else self.anchor(value)
        if holder.type.quant is None:
            holder.type = holder.type.with_quant(quant)
        if holder.type.quant != quant:
            raise CompileError(
                f"DequantizeLinear with scale {quant.scale:g}, zero point {quant.zero_point}, of a value quantised "
                f"with scale {holder.type.required_quant.scale:g}, zero point {holder.type.required_quant.zero_point}",
                where=f"node '{node.name}'",
                why="quantising and dequantising must agree (zero points as int8)",
                remedy="quantise the model again, or multiply by the ratio of the scales explicitly",
            )
        self.dequantised[node.output] = value
        self.remove(node)

    def move(self, node: Node) -> None:
        op = node.op
        if not isinstance(op, FloatOp) or not (op.keeps_quant or op.joins_quant):
            raise CompileError(
                f"{op.name} computes on stored integers",
                where=f"node '{node.name}'",
                why="between QuantizeLinear and DequantizeLinear numbers may be moved, not changed",
                remedy="put DequantizeLinear in front of this node",
            )
        node.inputs = [self.real.get(value, value) for value in node.inputs]
        self.real[node.output] = node.output
        root = self.source.get(node.inputs[0])
        if root is not None:
            self.source[node.output] = root
        elif not isinstance(op, Rearrange):
            node.output.type = node.output.type.with_quant(self.anchor(node.inputs[0]).type.quant)

    def anchor(self, value: Value) -> Value:
        """The value that ``value`` is a rearrangement of."""
        value = self.dequantised.get(value, value)
        while value in self.producers and isinstance(self.producers[value].op, Rearrange):
            value = self.producers[value].inputs[0]
            value = self.dequantised.get(value, value)
        return value

    def remove(self, node: Node) -> None:
        self.graph.nodes.remove(node)
        self.removed += 1

    def finish(self) -> None:
        """Annotate what was moved, rearranged values included, and let everything read real values."""
        for output, value in self.dequantised.items():
            self.graph.replace_value(output, value)
        for value, root in self.source.items():
            if root.type.quant is None:
                raise CompileError(
                    "it holds integers whose scale the model does not say",
                    where=f"input '{root.name}'",
                    why="no DequantizeLinear reads it",
                    remedy="add a DequantizeLinear behind this input, or make the input float32",
                )
            value.type = value.type.with_quant(root.type.quant)
        for node in self.graph.nodes:
            if isinstance(node.op, Rearrange) and node.inputs[0].type.quant is not None:
                node.output.type = node.output.type.with_quant(node.inputs[0].type.quant)
        for port in self.graph.outputs:
            port.value = self.real.get(port.value, port.value)
