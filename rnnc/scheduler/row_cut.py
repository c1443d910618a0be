"""What a streamed frame forces any schedule to carry: a minimum vertex cut of the graph of rows.

When t rows of the input have arrived and will not come again, everything that is still to be computed must follow
from the rows to come and from what is in memory. Draw every row of every value as a vertex, with an arrow from each
row to the rows that are computed from it. A row is *known* if it needs none of the input to come. Whatever is in
memory then lies across every path from an input row that has arrived to a known row that an unknown one is computed
from: if a path avoided it, its rows would have to be computed one from the other, from an input row that is gone. So
the smallest weight of such a cut bounds the memory from below, in whatever order and however often rows are computed.
By the max-flow min-cut theorem (Ford and Fulkerson 1956) a maximum flow finds it.

The bound assumes that memory holds whole rows of values, or partial sums of rows that lack some of their input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rnnc.ir.ops.scattered import ScatteredConv
from rnnc.scheduler.execution import Network, Task

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ENDLESS = 2**30
"""Capacity, in bytes, of what cannot be cut; the flow must fit in 32 bits."""

METHOD = "edmonds_karp"
"""A few shortest paths make the flow; Dinic's algorithm takes up to six times as long on these graphs."""

SAMPLES = 24
"""Moments, spread evenly over the frame, to begin the search for the largest cut with."""


@dataclass(frozen=True, slots=True)
class Held:
    """A part of a cut: ``rows`` rows of the value ``value``, or partial sums of so many of its rows."""

    value: str
    rows: int
    bytes: int
    partial: bool


@dataclass(frozen=True, slots=True)
class RowCut:
    """At least ``bytes`` bytes are in memory once ``after_rows`` input rows have arrived; ``through`` is one
    choice of what to hold that needs no more."""

    bytes: int
    after_rows: int
    through: tuple[Held, ...]


class RowGraph:
    """The rows of all values of a network with one input, as vertices in the order of the values.

    ``partial_sums``: a row that lacks some of its input may be in memory as what `IntOp.partial_bytes` says; without,
    only operators that remember what earlier jobs read have such sums, their state, and convolutions that can be
    scattered.
    """

    def __init__(self, network: Network, *, partial_sums: bool = True) -> None:
        if network.n_inputs != 1:
            raise ValueError(f"a graph with {network.n_inputs} inputs is not streamed")
        self.network = network
        heights = [value.type.height for value in network.values]
        self.start: Ints = np.cumsum([0, *heights])
        self.value: Ints = np.repeat(np.arange(len(heights)), heights)
        self.bytes: Ints = np.array([value.type.row_bytes for value in network.values], np.int64)[self.value]
        self.partial: Ints = np.zeros(len(self.value), np.int64)
        for task in network.tasks:
            self.partial[self._rows(task.output)] = _partial_bytes(task, partial_sums)
        self.has_state: Mask = np.zeros(len(heights), np.bool_)
        self.has_state[[task.output for task in network.tasks if task.warm_up]] = True
        edges = [list(self._edges(task)) for task in network.tasks]
        self.last_input = self._last_inputs(edges)
        needed = self._needed(edges)
        pairs = [pair for task in edges for pair in task] or [np.zeros((2, 0), np.int64)]
        every = np.unique(np.concatenate(pairs, axis=1), axis=1)
        self.source, self.target = every[:, needed[every[1]]]

    def _rows(self, value: int) -> slice:
        return slice(int(self.start[value]), int(self.start[value + 1]))

    def _edges(self, task: Task) -> Iterator[Ints]:
        """Pairs [2, n] of a row and a row computed from it."""
        for part in task.op.dependencies(task.node.input_types, task.node.output.type):
            sources = self.start[task.inputs[part.input]] + part.input_rows
            yield np.stack([sources, self.start[task.output] + part.output_rows])

    def _last_inputs(self, edges: list[list[Ints]]) -> Ints:
        """The last input row that each row depends on, -1 for none."""
        last = np.full(len(self.value), -1, np.int64)
        last[self._rows(0)] = np.arange(self.start[1])
        for task in edges:
            for source, target in task:
                np.maximum.at(last, target, last[source])
        return last

    def _needed(self, edges: list[list[Ints]]) -> Mask:
        """The rows that some output depends on, and the outputs."""
        needed = np.zeros(len(self.value), np.bool_)
        for value in self.network.outputs:
            needed[self._rows(value)] = True
        for task in reversed(edges):
            for source, target in task:
                needed[source[needed[target]]] = True
        return needed

    def cut_bytes(self, after_rows: int, *, keep_outputs: bool) -> int:
        """The least, in bytes, that must be in memory when ``after_rows`` input rows have arrived; with
        ``keep_outputs`` the output rows that are known count among what must follow from it, otherwise they may
        have left."""
        from scipy.sparse.csgraph import maximum_flow

        flow = maximum_flow(self._flow_network(after_rows, keep_outputs), *self._ends(), method=METHOD)
        return int(flow.flow_value)

    def cut(self, after_rows: int, *, keep_outputs: bool) -> RowCut:
        """The same with what the cut goes through: the edges that leave the side the origin still reaches."""
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        network, (origin, sink) = self._flow_network(after_rows, keep_outputs), self._ends()
        found = maximum_flow(network, origin, sink, method=METHOD)
        residual = network - found.flow
        residual.eliminate_zeros()
        count = len(self.value)
        reached = np.zeros(2 * count + 2, np.bool_)
        reached[breadth_first_order(residual, origin, return_predecessors=False)] = True
        vertices = np.flatnonzero(reached[:count] & ~reached[count : 2 * count])
        return RowCut(int(found.flow_value), after_rows, tuple(self._held(vertices, after_rows)))

    def _ends(self) -> tuple[int, int]:
        return 2 * len(self.value), 2 * len(self.value) + 1

    def _flow_network(self, after_rows: int, keep_outputs: bool) -> Any:
        """Row v enters at vertex v and leaves at count + v, through an edge of its bytes. A row that lacks input is
        crossed by its partial sum, on the way to the sink."""
        from scipy.sparse import csr_matrix

        count, (origin, sink) = len(self.value), self._ends()
        known = self.last_input < after_rows
        there = known[self.source]
        source, target = self.source[there], self._shared(self.target[there], known)
        unknown = np.unique(target[~known[target]])
        crossed = np.union1d(source, target[known[target]])
        ends = [unknown]
        if keep_outputs:
            kept = np.concatenate([np.arange(count)[self._rows(value)] for value in sorted(self.network.outputs)])
            kept = kept[known[kept]]
            crossed = np.union1d(crossed, kept)
            ends.append(kept)
        first = crossed[crossed < self.start[1]]
        tails = [source + count, crossed, unknown, np.full(len(first), origin), *(end + count for end in ends)]
        heads = [target, crossed + count, unknown + count, first, *(np.full(len(end), sink) for end in ends)]
        capacities = [np.full(len(tail), ENDLESS) for tail in tails]
        capacities[1], capacities[2] = self.bytes[crossed], self.partial[unknown]
        shape = (2 * count + 2, 2 * count + 2)
        entries = np.concatenate(capacities).astype(np.int32)
        return csr_matrix((entries, (np.concatenate(tails), np.concatenate(heads))), shape=shape)

    def _shared(self, target: Ints, known: Mask) -> Ints:
        """All rows that lack input of one operator with a state are one vertex, since it has one state."""
        value = self.value[target]
        lacking = self.has_state[value] & ~known[target]
        last = np.zeros(len(self.has_state), np.int64)
        np.maximum.at(last, value[lacking], target[lacking])
        return np.where(lacking, last[value], target)

    def _held(self, vertices: Ints, after_rows: int) -> Iterator[Held]:
        for value in np.unique(self.value[vertices]):
            rows = vertices[self.value[vertices] == value]
            name = self.network.values[value].name
            unknown = self.last_input[rows] >= after_rows
            for partial, weight in ((False, self.bytes), (True, self.partial)):
                chosen = rows[unknown == partial]
                size = int(weight[chosen].sum())
                if size:
                    yield Held(name, len(chosen), size, partial)

    def largest_cut(self, *, keep_outputs: bool) -> RowCut:
        """The moment that needs most.

        A cut for t rows and row t itself are a cut for t + 1 rows: no cut is larger than the one before and a row.
        So behind a small cut there are moments that need not be looked at, the more the better the best is that
        a few samples found.
        """
        height, row_bytes = int(self.start[1]), int(self.bytes[0])
        samples = np.unique(np.linspace(1, height, SAMPLES).astype(int)).tolist()
        size, moment = max((self.cut_bytes(t, keep_outputs=keep_outputs), -t) for t in samples)
        best, after_rows, next_rows = size, -moment, 1
        while next_rows <= height:
            size = self.cut_bytes(next_rows, keep_outputs=keep_outputs)
            if size > best:
                best, after_rows = size, next_rows
            next_rows += (best - size) // row_bytes + 1
        return self.cut(after_rows, keep_outputs=keep_outputs)


def _partial_bytes(task: Task, partial_sums: bool) -> int:
    types, output = task.node.input_types, task.node.output.type
    if partial_sums or ScatteredConv.fusions([task.op], types, [output]):
        return task.op.partial_bytes(types, output)
    return task.op.state_bytes(types, output) if task.warm_up else ENDLESS
