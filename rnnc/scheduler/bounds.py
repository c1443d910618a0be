"""How little memory a network can do with: bounds to hold a plan against, and what known schemes need.

All sizes are bytes of values and of the state of accumulating operators; kernels' scratch, alignment, stack and
the caller's own row of the camera come on top. Propositions 1 and 2 and Claims 3 and 4 are those of the RNNPool paper
(Saha et al., NeurIPS 2020, arXiv:2002.11921) as this project reads them: each docstring says what is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnc.scheduler.execution import Network, Task
from rnnc.scheduler.row_cut import Ints, RowCut, RowGraph
from rnnc.scheduler.segments import Options


@dataclass(frozen=True, slots=True)
class Bound:
    """``bytes`` bytes, and the node that they are needed for ("" for none)."""

    bytes: int
    node: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is known about a network with inputs and outputs in given modes.

    ``frames``: whole inputs at the start or whole outputs at the end, where these are buffers. ``row_cut`` and
    ``partial_sums`` are None where the input is not streamed. ``layerwise`` is no bound, but what is saved on.
    """

    frames: int
    row_cut: RowCut | None
    partial_sums: RowCut | None
    layerwise: Bound

    @property
    def bytes(self) -> int:
        """No schedule needs less, in any order, if it takes the input once and keeps whole rows of values and the
        state of accumulating operators, however often it computes a row."""
        return max(self.frames, self.row_cut.bytes if self.row_cut else 0)


def memory_bounds(network: Network, options: Options) -> Bounds:
    """All of them. Up to seconds for a frame of hundreds of rows."""
    keep_outputs = options.output_mode == "buffer"
    streamed = options.input_mode == "stream"
    return Bounds(
        frames_bytes(network, options),
        RowGraph(network, partial_sums=False).largest_cut(keep_outputs=keep_outputs) if streamed else None,
        RowGraph(network, partial_sums=True).largest_cut(keep_outputs=keep_outputs) if streamed else None,
        layerwise(network, options),
    )


def frames_bytes(network: Network, options: Options) -> int:
    """Whole inputs that are there before the first job, or whole outputs that are there after the last."""
    sizes = [value.type.bytes for value in network.values]
    before = sum(sizes[: network.n_inputs]) if options.input_mode == "buffer" else 0
    after = sum(sizes[value] for value in network.outputs) if options.output_mode == "buffer" else 0
    return max(before, after)


def layerwise(network: Network, options: Options) -> Bound:
    """Proposition 1, our reading: layer by layer, with a place of its own for every tensor, a network needs the
    largest sum of a layer's whole input and whole output.

    Where the network is not a chain, tensors that wait for a later layer count too. The layers are in the order of
    the graph; streamed inputs count from their first reader, lent ones not at all, buffered outputs to the end.
    """
    first, last = [0] * len(network.values), [0] * len(network.values)
    for value, readers in enumerate(network.readers):
        producer = network.producer(value)
        streamed = producer is None and options.input_mode == "stream"
        first[value] = producer if producer is not None else min(readers, default=0) if streamed else 0
        last[value] = max([first[value], *readers])
        if value in network.outputs and options.output_mode == "buffer":
            last[value] = len(network.tasks) - 1
    live = np.zeros(max(len(network.tasks), 1), np.int64)
    for value in options.placed(network):
        kind = network.values[value]
        live[first[value] : last[value] + 1] += kind.type.bytes
    return _largest(network, live.tolist())


def one_job(network: Network, options: Options) -> Bound:
    """Proposition 2, our reading: whatever is computed again, some job must have its window of input rows and the
    row that it makes in memory at one time.

    An operator that works in place needs no place for its output; one with a state has that or its output. The bound is
    for jobs that make whole rows from rows of the values of this very graph.
    """
    return _largest(network, [_job_bytes(network, task, options.placed(network)) for task in network.tasks])


def _job_bytes(network: Network, task: Task, placed: range) -> int:
    jobs = np.arange(task.jobs)
    present: dict[int, Ints] = {}
    for window in task.windows:
        value = task.inputs[window.input]
        if value not in placed:
            continue
        inside = window.taps(jobs, network.values[value].type.height)[1].sum(axis=1)
        # two windows on one value may share their rows
        present[value] = np.maximum(present[value], inside) if value in present else inside
    rows = sum((count * network.values[value].type.row_bytes for value, count in present.items()), 0 * jobs)
    read, output = int(rows.max(initial=0)), task.node.output.type
    if task.warm_up:
        return read + max(output.row_bytes, task.op.state_bytes(task.node.input_types, output))
    return max(read, output.row_bytes) if task.op.in_place else read + output.row_bytes


def _largest(network: Network, sizes: Sequence[int]) -> Bound:
    if not network.tasks:
        return Bound(0, "")
    index = max(range(len(network.tasks)), key=lambda task: sizes[task])
    return Bound(int(sizes[index]), network.tasks[index].node.name)


def chain_bytes(network: Network, tasks: Sequence[int]) -> int:
    """Claim 3, our reading: a chain of layers runs row by row, rows coming in and going out one at a time, if each
    input is a ring as high as the window of its reader, and the last output is one row.

    ``tasks`` by number, each reading only what the one before makes. Raises ValueError if they are no chain.
    """
    total = 0
    for before, index in zip([None, *tasks], tasks, strict=False):
        task = network.tasks[index]
        if len(task.windows) != 1 or (before is not None and task.inputs != (network.tasks[before].output,)):
            raise ValueError(f"'{task.node.name}' does not continue a chain")
        window, kind = task.windows[0], network.values[task.inputs[0]].type
        total += min((window.rows - 1) * window.dilation + 1, kind.height) * kind.row_bytes
    return total + (network.tasks[tasks[-1]].node.output.type.row_bytes if tasks else 0)


def grown_bytes(network: Network, task: int) -> int:
    """Claim 4, our reading: a layer's output may grow into the rows of its whole input that are not needed any more,
    so that both together take the most that is left of the one and made of the other at any job.

    For a layer of one input that nothing else reads, with its windows in order.
    """
    layer = network.tasks[task]
    if len(layer.windows) != 1 or layer.warm_up:
        raise ValueError(f"'{layer.node.name}' is not a layer of one input, made row by row")
    window, kind, output = layer.windows[0], network.values[layer.inputs[0]].type, layer.node.output.type
    jobs = np.arange(layer.jobs)
    left = kind.height - np.clip(jobs * window.stride - window.pad, 0, kind.height)
    return int((left * kind.row_bytes + (jobs + 1) * output.row_bytes).max())
