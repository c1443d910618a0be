"""Give every value of the float graph its quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import FloatOp
from rnnc.ir.ops.requantise import Requantise
from rnnc.ir.types import Quant
from rnnc.passes.base import Note, Pass, Property

Range = tuple[float, float]
"""The lowest and highest real value that a tensor is to represent."""


def quant_for(low: float, high: float) -> Quant:
    """Asymmetric int8 over [low, high] widened to hold zero exactly; a constant zero gets scale 1/256."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255.0))
    if scale < 1e-30:
        return Quant(1 / 256, 0)
    return Quant(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


class AssignQuant(Pass):
    """Every value that a QDQ model has not quantised already gets a scale and zero point:

    1. an operator of fixed range (softmax, sigmoid, tanh) gets the TensorFlow Lite scale of that range;
    2. an operator that moves numbers without changing them (max pooling, slices) keeps its input's;
    3. anything else gets the calibrated range of its name;
    4. where the model's own quantisation contradicts 2, a Requantise node is put behind the operator;
    5. the inputs of a Concat take over the output's, by their own requantisation where nobody else reads them,
       by a Requantise node otherwise.
    """

    name: ClassVar[str] = "assign-quant"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last"})
    ensures: ClassVar[frozenset[Property]] = frozenset({"annotated"})

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        self.ranges = ranges

    def run(self, graph: Graph, note: Note) -> None:
        for port in graph.inputs:
            if port.value.type.quant is None:
                self.annotate(port.value, self.calibrated(port.value, f"input '{port.name}'"))
        for node in list(graph.nodes):
            self.assign(graph, node)
        # the last first: an inner Concat can only join once its output is settled by the outer one
        for node in reversed(list(graph.nodes)):
            if isinstance(node.op, FloatOp) and node.op.joins_quant:
                self.join(graph, node)

    def assign(self, graph: Graph, node: Node) -> None:
        op, output = node.op, node.output
        if not isinstance(op, FloatOp):
            return
        if op.keeps_quant and not op.joins_quant:
            given, own = output.type.quant, node.inputs[0].type.required_quant
            if given is not None and given != own:
                _requantise_after(graph, node, own)
            else:
                self.annotate(output, own)
        elif output.type.quant is None:
            fixed = op.output_range()
            self.annotate(output, quant_for(*fixed) if fixed else self.calibrated(output, f"node '{node.name}'"))

    def calibrated(self, value: Value, where: str) -> Quant:
        if value.name not in self.ranges:
            raise CompileError(
                f"there is no calibrated range for '{value.name}'",
                where=where,
                why="every value needs a range before it can become int8",
                remedy="give --calibration X.npz, or quantise the model (QDQ) throughout",
            )
        return quant_for(*self.ranges[value.name])

    @staticmethod
    def annotate(value: Value, quant: Quant) -> None:
        value.type = value.type.with_quant(quant)

    def join(self, graph: Graph, node: Node) -> None:
        wanted = node.output.type.required_quant
        producers, users = graph.producers(), graph.users()
        for index, value in enumerate(node.inputs):
            if value.type.quant == wanted:
                continue
            producer = producers.get(value)
            alone = len(users[value]) == 1 and not graph.is_output(value) and value.name in self.ranges
            if producer is not None and isinstance(producer.op, FloatOp) and alone and not producer.op.keeps_quant:
                self.annotate(value, wanted)
                continue
            copy = Value(graph.fresh_name(f"{value.name}.as.{node.name}"), value.type.with_quant(wanted))
            place = graph.nodes.index(node)
            graph.nodes.insert(place, Node(copy.name, Requantise(), [value], copy))
            node.inputs[index] = copy


def _requantise_after(graph: Graph, node: Node, own: Quant) -> None:
    """Let ``node`` write a new value with quantisation ``own`` and requantise it to the one it had to have."""
    output = node.output
    raw = Value(graph.fresh_name(f"{output.name}.raw"), output.type.with_quant(own))
    node.output = raw
    graph.nodes.insert(graph.nodes.index(node) + 1, Node(output.name + ".requantise", Requantise(), [raw], output))
