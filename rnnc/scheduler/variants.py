"""What else a graph can be made of: leaner operators, and chains of operators run as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import IntOp
from rnnc.ir.ops import INT_OPS

LONGEST_CHAIN = 3

Choice = Mapping[str, int]
"""The number of the chosen option by node name; 0, the node as it is, for those that are not named."""


@dataclass(frozen=True, eq=False)
class Option:
    """An operator that can take the place of a node and of those before it that it ``absorbs``, the first one first.

    ``extra_macs``: what it computes more than the operators it stands for; ``extra_cycles``: how much longer that
    takes, an estimate that may be negative.
    """

    op: IntOp
    absorbs: tuple[Node, ...] = ()
    extra_macs: int = 0
    extra_cycles: int = 0


class Variants:
    """The options of every node of a graph of integer operators; number 0 is the node itself, and of each kind the
    fastest come first and the leanest last."""

    def __init__(self, graph: Graph, beaten: bool = False) -> None:
        """``beaten``: also options that are no better in anything than a leaner one of their kind."""
        self.graph = graph
        self.options: dict[str, tuple[Option, ...]] = {}
        before = _absorbable(graph)
        for node in graph.nodes:
            options = [*_leaner(node)]
            for chain in _chains(before, node):
                options += _fused(chain)
            if not beaten:
                options = [one for index, one in enumerate(options) if not _is_beaten(one, options[index + 1 :])]
            if options:
                self.options[node.name] = (Option(int_op(node)), *options)

    @property
    def count(self) -> int:
        """How many choices there are."""
        return prod(len(options) for options in self.options.values())

    def frugal(self, recompute: bool) -> dict[str, int]:
        """Of each node the last option, which needs the least memory, that computes nothing twice, or that may."""
        return {
            name: max(index for index, option in enumerate(options) if recompute or option.extra_macs <= 0)
            for name, options in self.options.items()
        }

    def fastest(self) -> dict[str, int]:
        """Of each node the option that takes the fewest cycles."""
        quickest = {
            name: min((option.extra_cycles, index) for index, option in enumerate(options))
            for name, options in self.options.items()
        }
        return {name: index for name, (_, index) in quickest.items()}

    def in_force(self, choice: Choice) -> dict[str, Option]:
        """The chosen options by node, without those of nodes that are absorbed by later ones."""
        return {
            node.name: self.options[node.name][choice[node.name]]
            for node, _ in self._staying(choice)
            if choice.get(node.name, 0)
        }

    def _staying(self, choice: Choice) -> list[tuple[Node, Node]]:
        """The nodes that are not absorbed by all that read them, and what stands in their places."""
        absorbed: set[str] = set()
        read: set[Value] = set()
        result: list[tuple[Node, Node]] = []
        for node in reversed(self.graph.nodes):
            if node.name in absorbed and node.output not in read:
                continue
            index = choice.get(node.name, 0)
            made = node
            if index:
                option = self.options[node.name][index]
                absorbed.update(other.name for other in option.absorbs)
                inputs = option.absorbs[0].inputs if option.absorbs else node.inputs
                made = Node(node.name, option.op, list(inputs), node.output)
            read.update(made.inputs)
            result.append((node, made))
        return result[::-1]

    def apply(self, choice: Choice) -> Graph:
        """The graph with the chosen operators; nodes and values that stay are shared with this one."""
        return replace(self.graph, nodes=[made for _, made in self._staying(choice)])


def int_op(node: Node) -> IntOp:
    """The operator of a node of a quantised graph."""
    if not isinstance(node.op, IntOp):
        raise TypeError(f"'{node.name}' is not an integer operator")
    return node.op


def _is_beaten(option: Option, leaner: Sequence[Option]) -> bool:
    """Whether one of its kind among those that need less memory is no slower and computes no more."""
    return any(
        type(other.op) is type(option.op)
        and other.absorbs == option.absorbs
        and other.extra_macs <= option.extra_macs
        and other.extra_cycles <= option.extra_cycles
        for other in leaner
    )


def _leaner(node: Node) -> Iterator[Option]:
    op, types, output = int_op(node), node.input_types, node.output.type
    macs, cycles = op.macs(types, output), op.cycles(types, output)
    for other in op.leaner(types, output):
        yield Option(other, (), other.macs(types, output) - macs, other.cycles(types, output) - cycles)


def _absorbable(graph: Graph) -> dict[str, Node]:
    """By name of a node: the one that makes its first input, where nothing else looks at that, or where making it
    again for each reader takes no MACs."""
    producers, users = graph.producers(), graph.users()
    firsts = [(node, producers.get(node.inputs[0])) for node in graph.nodes if node.inputs]
    return {
        node.name: before
        for node, before in firsts
        if before is not None
        and not graph.is_output(before.output)
        and (users[before.output] == [node] or int_op(before).macs(before.input_types, before.output.type) == 0)
    }


def _chains(before: Mapping[str, Node], last: Node) -> Iterator[tuple[Node, ...]]:
    """The chains of nodes that end with ``last``, itself included, the shortest first."""
    chain: tuple[Node, ...] = (last,)
    yield chain
    while len(chain) < LONGEST_CHAIN and chain[0].name in before:
        chain = (before[chain[0].name], *chain)
        yield chain


def _fused(chain: Sequence[Node]) -> Iterator[Option]:
    """Options that stand for all of a chain; only the first of its nodes may have several inputs."""
    if any(len(node.inputs) != 1 for node in chain[1:]):
        return
    inputs, outputs = chain[0].input_types, [node.output.type for node in chain]
    ops = [int_op(node) for node in chain]
    types = [(node.input_types, node.output.type) for node in chain]
    macs = sum(op.macs(*given) for op, given in zip(ops, types, strict=True))
    cycles = sum(op.cycles(*given) for op, given in zip(ops, types, strict=True))
    for kind in INT_OPS:
        for op in kind.fusions(ops, inputs, outputs):
            extra = op.macs(inputs, outputs[-1]) - macs, op.cycles(inputs, outputs[-1]) - cycles
            yield Option(op, tuple(chain[:-1]), *extra)


def extra_macs(variants: Variants, choice: Choice) -> int:
    """Multiply-accumulates of a choice beyond those of the graph as it is."""
    return sum(option.extra_macs for option in variants.in_force(choice).values())


def smaller(variants: Variants, name: str, index: int) -> list[int]:
    """Behind a node's option number ``index`` the last one of each price, which needs the least memory for it."""
    options = variants.options.get(name, ())
    last = {option.extra_macs: number for number, option in enumerate(options)}
    return [number for price, number in sorted(last.items()) if number > index and price >= options[index].extra_macs]


def all_cycles(graph: Graph) -> int:
    """Estimated cycles of a graph's operators."""
    return sum(int_op(node).cycles(node.input_types, node.output.type) for node in graph.nodes)


def extra_cycles(variants: Variants, choice: Choice) -> int:
    """Estimated cycles of a choice beyond those of the graph as it is."""
    return all_cycles(variants.apply(choice)) - all_cycles(variants.graph)


def by_gain(variants: Variants, names: Sequence[str]) -> list[str]:
    """Nodes in the order in which a fast option is worth having: the most cycles to be saved first."""

    def gain(name: str) -> int:
        prices = [option.extra_cycles for option in variants.options[name]]
        return min(prices) - max(prices)

    return sorted(names, key=gain)
