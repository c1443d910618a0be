"""Constant-channel elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from rnnc.ir.channels import BoolArray, ChannelRange, KeptChannels
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import IntOp
from rnnc.passes.base import Note, Pass, Property


@dataclass(frozen=True, eq=False)
class Channels:
    """By value: what its channels can hold, and which of them stay."""

    ranges: dict[Value, ChannelRange]
    kept: dict[Value, BoolArray]


class ConstantChannels(Pass):
    """Removes channels whose content is known beforehand or read by nobody, without changing any output:

    1. interval analysis over the stored integers finds channels that hold one value for every input, such as
       those of a ReLU that is never positive;
    2. a channel that its readers can do without (a constant that folds into the bias of a convolution or dense
       layer, borders included; weights of zero; a slice beside it) goes, with the weights that made and read it;
    3. operators that work channel by channel (depthwise convolution, pooling, Add, Concat, ...) pass that on: a
       channel goes only if all that hang together with it can go, residual paths included.

    Graph inputs and outputs keep their channels, and every value keeps at least one.
    """

    name: ClassVar[str] = "constant-channels"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last", "integer"})
    ensures: ClassVar[frozenset[Property]] = frozenset({"integer"})

    def run(self, graph: Graph, note: Note) -> None:
        ranges = channel_ranges(graph)
        channels = Channels(ranges, kept_channels(graph, ranges))
        before = _weight_bytes(graph)
        for text in _findings(graph, channels):
            note(text)
        for node in graph.nodes:
            node.op = _reduced(node, channels)
        for value, kept in channels.kept.items():
            value.type = value.type.with_shape((*value.type.shape[:-1], int(kept.sum())))
        if before > _weight_bytes(graph):
            note(f"{before - _weight_bytes(graph):,} bytes of constants fewer, of {before:,}")


def channel_ranges(graph: Graph) -> dict[Value, ChannelRange]:
    """What every channel of every value can hold, whatever the graph's inputs hold."""
    ranges = {port.value: ChannelRange.full(port.value.type) for port in graph.inputs}
    for node in graph.nodes:
        known = [ranges[value] for value in node.inputs]
        ranges[node.output] = _op(node).channel_ranges(known, node.input_types, node.output.type)
    return ranges


def kept_channels(graph: Graph, ranges: dict[Value, ChannelRange]) -> dict[Value, BoolArray]:
    """Which channels must stay: those that someone needs, and all that hang together with these."""
    kept = {value: np.zeros(value.type.channels, np.bool_) for value in graph.values()}
    for port in (*graph.inputs, *graph.outputs):
        kept[port.value][:] = True
    for node in graph.nodes:
        _keep_needed(node, ranges, kept)
    _spread(graph, kept)
    for value in graph.values():
        if not kept[value].any():
            kept[value][0] = True
            _spread(graph, kept)
    return kept


def _op(node: Node) -> IntOp:
    return cast(IntOp, node.op)


def _keep_needed(node: Node, ranges: dict[Value, ChannelRange], kept: dict[Value, BoolArray]) -> None:
    sources = _op(node).channel_sources(node.input_types, node.output.type)
    if sources is None:
        for value in (*node.inputs, node.output):
            kept[value][:] = True
        return
    if _op(node).all_outputs:
        kept[node.output][:] = True
    for index, (value, source) in enumerate(zip(node.inputs, sources, strict=True)):
        tied = np.zeros(value.type.channels, np.bool_)
        tied[source[source >= 0]] = True
        kept[value] |= ~tied & ~_op(node).droppable(index, ranges[value], node.input_types)


def _spread(graph: Graph, kept: dict[Value, BoolArray]) -> None:
    """Keep what is tied to a kept channel, upwards and downwards, until nothing changes."""
    ties = []
    for node in graph.nodes:
        sources = _op(node).channel_sources(node.input_types, node.output.type) or ()
        for value, source in zip(node.inputs, sources, strict=False):
            tied = np.flatnonzero(source >= 0)
            ties.append((kept[value], source[tied], kept[node.output], tied))
    changed = True
    while changed:
        changed = False
        for above, source, below, tied in [*ties, *reversed(ties)]:
            count = int(above.sum()) + int(below.sum())
            np.logical_or.at(above, source, below[tied])
            below[tied] |= above[source]
            changed = changed or count != int(above.sum()) + int(below.sum())


def _reduced(node: Node, channels: Channels) -> IntOp:
    values = (*node.inputs, node.output)
    if all(channels.kept[value].all() for value in values):
        return _op(node)
    inputs = [KeptChannels(channels.kept[value], channels.ranges[value]) for value in node.inputs]
    return _op(node).keep_channels(inputs, channels.kept[node.output], node.input_types)


def _weight_bytes(graph: Graph) -> int:
    return sum(_op(node).weight_bytes() for node in graph.nodes)


def _findings(graph: Graph, channels: Channels) -> list[str]:
    """A sentence for each operator at which channels that go, or constants that stay, have their origin."""
    texts = []
    for node in graph.nodes:
        op, value = _op(node), node.output
        sources = op.channel_sources(node.input_types, value.type)
        made_here = sources is not None and all(np.all(source < 0) for source in sources)
        constant, gone = channels.ranges[value].constant, ~channels.kept[value]
        if not made_here or not (constant.any() or gone.any()):
            continue
        known = channels.ranges[value]
        removed = _counted(gone & constant, f"always {_held(known, gone & constant)}")
        removed += _counted(gone & ~constant, "without effect")
        stayed = _counted(~gone & constant, f"always {_held(known, ~gone & constant)}, but needed as it is")
        parts = [f"removed {' and '.join(removed)}"] * bool(removed) + [f"kept {stayed[0]}" for _ in stayed]
        texts.append(f"{op.name} '{node.name}', {len(gone)} channels: {'; '.join(parts)}")
    return texts


def _counted(chosen: BoolArray, what: str) -> list[str]:
    return [f"{int(chosen.sum())} ({what})"] if chosen.any() else []


def _held(ranges: ChannelRange, chosen: BoolArray) -> str:
    """The stored values of constant channels, shortened."""
    held = np.unique(ranges.low[chosen])
    return f"one of {held[0]} ... {held[-1]}" if len(held) > 3 else " or ".join(str(item) for item in held)
