"""Activation functions that are clamps move into the operator before them."""

from __future__ import annotations

from typing import ClassVar

from rnnc.ir.graph import Graph, Node
from rnnc.ir.op import FloatOp
from rnnc.ir.ops.activation import Clamp
from rnnc.passes.base import Note, Pass


class FuseClamp(Pass):
    """Clamp (Relu, Clip) behind an operator that can clamp its own output, and whose output nobody else reads:

    1. the operator clamps, and writes the value that the Clamp wrote, with its name and quantisation;
    2. not where the value between has a quantisation of its own, other than the Clamp's: it saturates there.
    """

    name: ClassVar[str] = "fuse-clamp"

    def run(self, graph: Graph, note: Note) -> None:
        producers, users = graph.producers(), graph.users()
        fused = 0
        for node in list(graph.nodes):
            between = node.inputs[0] if node.inputs else None
            if not isinstance(node.op, Clamp) or between is None or between not in producers:
                continue
            producer = producers[between]
            alone = len(users[between]) == 1 and not graph.is_output(between)
            if alone and between.type.quant in (None, node.output.type.quant) and _fuse(producer, node):
                graph.nodes.remove(node)
                producers[node.output] = producer
                fused += 1
        if fused:
            note(f"{fused} clamps fused")


def _fuse(producer: Node, clamp: Node) -> bool:
    if not isinstance(producer.op, FloatOp) or not isinstance(clamp.op, Clamp):
        return False
    op = producer.op.with_clamp(clamp.op.low, clamp.op.high)
    if op is None:
        return False
    producer.op, producer.output = op, clamp.output
    return True
