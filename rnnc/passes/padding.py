"""Pad moves into the operator behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rnnc.ir.graph import Graph, Node
from rnnc.ir.op import Op
from rnnc.ir.ops.conv import Conv, Pads
from rnnc.ir.ops.pad import Pad
from rnnc.ir.ops.pool import AveragePool
from rnnc.passes.base import Note, Pass, Property


class FusePad(Pass):
    """Pad with zeros along rows and columns, where it does not change the quantisation:

    1. before Conv: its padding grows;
    2. before AveragePool that counts its padding, or has none: its padding grows, and is counted.

    A Pad that others read too stays for them.
    """

    name: ClassVar[str] = "fuse-pad"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last"})

    def run(self, graph: Graph, note: Note) -> None:
        producers, fused = graph.producers(), 0
        for node in graph.nodes:
            pad = producers.get(node.inputs[0])
            if pad is None or not isinstance(pad.op, Pad) or not _fits(pad, pad.op):
                continue
            op = _with_pads(node.op, pad.op)
            if op is not None:
                node.op, node.inputs = op, [pad.inputs[0]]
                fused += 1
        graph.prune()
        if fused:
            note(f"{fused} pads fused")


def _fits(pad: Node, op: Pad) -> bool:
    source, padded = pad.inputs[0].type, pad.output.type
    only_spatial = op.mode == "constant" and op.before[2] == op.after[2] == 0
    return only_spatial and padded.quant in (None, source.quant)


def _with_pads(op: Op, pad: Pad) -> Op | None:
    if isinstance(op, Conv):
        return replace(op, pads=_sum(op.pads, pad))
    if isinstance(op, AveragePool) and (op.count_padding or not any(op.pads)):
        return replace(op, pads=_sum(op.pads, pad), count_padding=True)
    return None


def _sum(pads: Pads, pad: Pad) -> Pads:
    top, left, bottom, right = pads
    return top + pad.before[0], left + pad.before[1], bottom + pad.after[0], right + pad.after[1]
