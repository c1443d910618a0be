"""What else a graph can be made of: leaner operators, and pairs of operators run as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rnnc.ir.graph import Graph, Node
from rnnc.ir.op import IntOp
from rnnc.ir.ops import INT_OPS

Choice = Mapping[str, int]
"""The number of the chosen option by node name; 0, the node as it is, for those that are not named."""


@dataclass(frozen=True, eq=False)
class Option:
    """An operator that can take the place of a node and, if it ``absorbs`` one, of the node before it.

    ``extra_macs``: what it computes more than the operators it stands for.
    """

    op: IntOp
    absorbs: Node | None = None
    extra_macs: int = 0


class Variants:
    """The options of every node of a graph of integer operators, the fastest first; number 0 is the node itself."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.options: dict[str, tuple[Option, ...]] = {}
        producers, users = graph.producers(), graph.users()
        for node in graph.nodes:
            options = [*_leaner(node)]
            before = producers.get(node.inputs[0]) if node.inputs else None
            if before is not None and users[before.output] == [node] and not graph.is_output(before.output):
                options += _fused(before, node)
            if options:
                self.options[node.name] = (Option(_op(node)), *options)

    def frugal(self, recompute: bool) -> dict[str, int]:
        """Of each node the last option, which needs the least memory, that computes nothing twice, or that may."""
        return {
            name: max(index for index, option in enumerate(options) if recompute or option.extra_macs <= 0)
            for name, options in self.options.items()
        }

    def apply(self, choice: Choice) -> Graph:
        """The graph with the chosen operators; nodes and values that stay are shared with this one."""
        chosen = {name: self.options[name][index] for name, index in choice.items() if index}
        absorbed = {option.absorbs.name for option in chosen.values() if option.absorbs is not None}
        nodes = []
        for node in self.graph.nodes:
            option = chosen.get(node.name)
            if node.name in absorbed:
                continue
            if option is None:
                nodes.append(node)
            else:
                inputs = node.inputs if option.absorbs is None else [*option.absorbs.inputs, *node.inputs[1:]]
                nodes.append(Node(node.name, option.op, list(inputs), node.output))
        return replace(self.graph, nodes=nodes)


def _op(node: Node) -> IntOp:
    if not isinstance(node.op, IntOp):
        raise TypeError(f"'{node.name}' is not an integer operator")
    return node.op


def _leaner(node: Node) -> Iterator[Option]:
    op = _op(node)
    macs = op.macs(node.input_types, node.output.type)
    for other in op.leaner(node.input_types, node.output.type):
        yield Option(other, None, other.macs(node.input_types, node.output.type) - macs)


def _fused(before: Node, node: Node) -> Iterator[Option]:
    types, between, output = before.input_types, before.output.type, node.output.type
    macs = _op(before).macs(types, between) + _op(node).macs(node.input_types, output)
    found: list[IntOp] = []
    for kind in INT_OPS:
        found += kind.fusions(_op(before), _op(node), types, between, output)
    for op in found:
        yield Option(op, before, op.macs(types, output) - macs)


def extra_macs(variants: Variants, choice: Choice) -> int:
    """Multiply-accumulates of a choice beyond those of the graph as it is."""
    return sum(variants.options[name][index].extra_macs for name, index in choice.items())


def by_gain(variants: Variants, names: Sequence[str]) -> list[str]:
    """Nodes in the order in which a fast option is worth having: the most MACs first."""

    def gain(name: str) -> tuple[int, int]:
        options = variants.options[name]
        node = next(node for node in variants.graph.nodes if node.name == name)
        return -max(option.extra_macs for option in options), -_op(node).macs(node.input_types, node.output.type)

    return sorted(names, key=gain)
