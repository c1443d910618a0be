"""Operators with more constants in flash and fewer cycles, where the flash is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rnnc.ir.graph import Graph, Node
from rnnc.ir.op import IntOp
from rnnc.ir.ops import INT_OPS
from rnnc.scheduler.variants import all_cycles, int_op


@dataclass(frozen=True, eq=False)
class Widening:
    """An operator in the place of a node's: estimated ``cycles`` that it saves, for ``bytes`` more of constants."""

    node: Node
    op: IntOp
    cycles: int
    bytes: int


@dataclass(frozen=True)
class Summary:
    """How many layers have other operators, for how many bytes of constants more, and what cycles they save."""

    layers: int
    bytes: int
    cycles: int

    @property
    def texts(self) -> tuple[str, ...]:
        """For people; nothing where nothing was done."""
        if not self.layers:
            return ()
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        return (f"int16 weights in {layers}: {self.bytes:,} bytes of flash more, about {self.cycles:,} cycles less",)


def summary(chosen: Sequence[Widening]) -> Summary:
    """Of all that were chosen."""
    return Summary(len(chosen), sum(one.bytes for one in chosen), sum(one.cycles for one in chosen))


LINE = 16
"""Bytes of flash that are read at once."""

WORTH = 0.01
"""The part of all cycles that a kind of operator must save, for its kernel is code."""


def widenings(graph: Graph, waits: int = 0) -> list[Widening]:
    """All that save cycles, the most cycles for a byte first; also where each line of constants costs ``waits``."""
    possible = [other for node in graph.nodes for other in _of(node, waits)]
    least = WORTH * all_cycles(graph)
    gains = Counter[type[IntOp]]()
    for other in possible:
        gains[type(other.op)] += other.cycles
    found = [other for other in possible if gains[type(other.op)] >= least]
    return sorted(found, key=lambda other: other.cycles / max(1, other.bytes), reverse=True)


Fits = Callable[[Sequence[Widening]], bool]


def affordable(found: Sequence[Widening], room: int, fits: Fits = lambda chosen: True) -> list[Widening]:
    """Those to have, one for a node at most, in ``room`` bytes of flash; ``fits`` says whether their plan does."""
    chosen: list[Widening] = []
    for other in found:
        taken = [one for one in chosen if one.node is not other.node]
        replaced = [one for one in chosen if one.node is other.node]
        if any(one.cycles >= other.cycles for one in replaced):
            continue
        if sum(one.bytes for one in taken) + other.bytes <= room and fits([*taken, other]):
            chosen = [*taken, other]
    return chosen


def widened(graph: Graph, chosen: Sequence[Widening]) -> Graph:
    """The graph with the chosen operators; nodes and values that stay are shared with it."""
    ops = {other.node.name: other.op for other in chosen}
    nodes = [Node(n.name, ops[n.name], n.inputs, n.output) if n.name in ops else n for n in graph.nodes]
    return replace(graph, nodes=nodes)


def _of(node: Node, waits: int) -> Iterator[Widening]:
    op, types, output = int_op(node), node.input_types, node.output.type
    for kind in INT_OPS:
        other = kind.widened(op, types, output)
        if other is not None:
            saved = op.cycles(types, output) - other.cycles(types, output)
            read = other.constants_read(types, output) - op.constants_read(types, output)
            if saved > waits * max(0, read) // LINE:
                yield Widening(node, other, saved, other.weight_bytes() - op.weight_bytes())
