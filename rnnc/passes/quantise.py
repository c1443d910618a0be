"""From real numbers to integers."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph
from rnnc.ir.op import FloatOp
from rnnc.passes.base import Note, Pass, Property


class Quantise(Pass):
    """Every FloatOp becomes the IntOp that computes it in the graph's arithmetic; every value becomes int8.

    The types must carry their quantisation (AssignQuant). Errors of an operator are raised with its node's name.
    """

    name: ClassVar[str] = "quantise"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last", "annotated"})
    ensures: ClassVar[frozenset[Property]] = frozenset({"integer"})

    def run(self, graph: Graph, note: Note) -> None:
        for node in graph.nodes:
            if not isinstance(node.op, FloatOp):
                continue
            try:
                node.op = node.op.quantise(node.input_types, node.output.type, graph.arithmetic)
            except CompileError as error:
                raise CompileError(
                    error.what, where=f"node '{node.name}'", why=error.why, remedy=error.remedy
                ) from error
        for value in graph.values():
            value.type = replace(value.type, dtype="int8")
        note(f"{len(graph.nodes)} operators in {graph.arithmetic} arithmetic")
