"""What of each buffer of a plan is in use at each step: the plan as it runs, for reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnc.ir.graph import Graph
from rnnc.scheduler.execution import Network, execute
from rnnc.scheduler.lifetimes import Block, Extent, blocks, live_bytes
from rnnc.scheduler.plan import Buffer, BufferKind, Plan
from rnnc.scheduler.segments import Options


@dataclass(frozen=True, eq=False)
class Place:
    """Bytes low[i] .. high[i] - 1 of ``bank`` are in use at step first + i, none where they are equal.

    ``names``: the buffers that share the place, each written over the one before; ``kind``: that of the first.
    """

    names: tuple[str, ...]
    kind: BufferKind
    bank: int
    offset: int
    size: int
    first: int
    low: Extent
    high: Extent


@dataclass(frozen=True, eq=False)
class Usage:
    """``live`` [steps]: bytes in use; ``node``: the name of the operator that runs, by step; ``stage_ends``: the step
    after the last of each stage."""

    places: tuple[Place, ...]
    live: Extent
    node: tuple[str, ...]
    stage_ends: tuple[int, ...]


def usage(graph: Graph, plan: Plan) -> Usage:
    """Execute a plan of a graph once more."""
    network = Network(graph)
    pieces = [network.piece_of(stage) for stage in plan.stages]
    streamed = range(network.n_inputs) if plan.input_mode == "stream" else ()
    execution = execute(network, pieces, streamed)
    held = network.outputs if plan.output_mode == "buffer" else frozenset[int]()
    sliding = any(buffer.slides for buffer in plan.buffers)
    values = Options(plan.input_mode, plan.output_mode).placed(network)
    parts = blocks(network, execution, held, values, sliding=sliding)
    placed = {buffer.name: buffer for buffer in plan.buffers}
    places = tuple(_place(part, placed[part.members[0].name]) for part in parts)
    jobs = np.bincount(execution.task, minlength=len(network.tasks))
    ends = np.cumsum([int(jobs[list(piece.tasks)].sum()) for piece in pieces])
    names = tuple(network.tasks[int(task)].node.name for task in execution.task)
    return Usage(places, live_bytes(parts, execution.steps), names, tuple(int(end) for end in ends))


def _place(part: Block, home: Buffer) -> Place:
    names = tuple(member.name for member in part.members)
    low, high = home.offset + part.low, home.offset + part.high
    return Place(names, home.kind, home.bank, home.offset, part.size, part.first, low, high)


def most_in_use(graph: Graph, plan: Plan) -> dict[str, int]:
    """By operator, the bytes in use at the fullest of its steps; 0 for one that no output depends on."""
    used = usage(graph, plan)
    result = {node.name: 0 for node in graph.nodes}
    for name, live in zip(used.node, used.live.tolist(), strict=True):
        result[name] = max(result[name], live)
    return result
