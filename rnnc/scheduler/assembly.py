"""From stages to a Plan: execute them, find the lives of all buffers, place them, and say what sets the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnc.scheduler.execution import Execution, Network, Piece, execute
from rnnc.scheduler.lifetimes import Block, blocks, live_bytes
from rnnc.scheduler.offsets import Placement, pack
from rnnc.scheduler.plan import Buffer, Plan
from rnnc.scheduler.segments import Options


def assemble(
    network: Network,
    name: str,
    stages: Sequence[Sequence[int]],
    options: Options,
    capacities: Sequence[int | None],
    input_bank: int = 0,
) -> Plan:
    """The plan of these stages (task numbers), placed in banks of these capacities (None: unlimited).

    The plan may be larger than the banks; the caller decides what that means.
    """
    pieces = [network.piece(tasks) for tasks in stages]
    streamed = range(network.n_inputs) if options.input_mode == "stream" else ()
    execution = execute(network, pieces, streamed)
    held = network.outputs if options.output_mode == "buffer" else frozenset[int]()
    parts = blocks(network, execution, held)
    placement = pack(parts, capacities, input_bank)
    live = live_bytes(parts, execution.steps)
    peak_step = int(live.argmax())
    return Plan(
        schedule=name,
        input_mode=options.input_mode,
        output_mode=options.output_mode,
        stages=tuple(network.stage_of(piece) for piece in pieces),
        buffers=_placed(parts, placement),
        bank_sizes=placement.sizes,
        jobs=execution.steps,
        executed_macs=_executed_macs(network, execution),
        live_peak=int(live[peak_step]),
        peak_step=peak_step,
        peak_buffers=_used_at(parts, peak_step),
        notes=_notes(network, pieces, placement, int(live[peak_step])),
    )


def node_at(network: Network, plan: Plan, step: int) -> str:
    """The name of the node whose job runs at a step of a plan."""
    streamed = range(network.n_inputs) if plan.input_mode == "stream" else ()
    execution = execute(network, [network.piece_of(stage) for stage in plan.stages], streamed)
    return network.tasks[int(execution.task[step])].node.name


def _placed(parts: Sequence[Block], placement: Placement) -> tuple[Buffer, ...]:
    return tuple(
        replace(member, offset=placement.offset[index], bank=placement.bank[index])
        for index, part in enumerate(parts)
        for member in part.members
    )


def _executed_macs(network: Network, execution: Execution) -> int:
    done = np.bincount(execution.task, minlength=len(network.tasks))
    return sum(
        task.op.macs(task.node.input_types, task.node.output.type) * int(done[index]) // task.jobs
        for index, task in enumerate(network.tasks)
    )


def _used_at(parts: Sequence[Block], step: int) -> tuple[str, ...]:
    """Names of the buffers in use at a step, the largest first."""
    used = [
        (int(part.high[step - part.first] - part.low[step - part.first]), member)
        for part in parts
        if part.first <= step <= part.last
        for member in part.members
        if member.first_step <= step <= member.last_step
    ]
    return tuple(member.name for size, member in sorted(used, key=lambda u: (-u[0], u[1].name)) if size)


def _notes(
    network: Network, pieces: Sequence[Piece], placement: Placement, live: int
) -> tuple[str, ...]:
    rows = sum(len(piece.tasks) > 1 for piece in pieces)
    notes = [f"{len(network.tasks)} operators in {len(pieces)} stages, {rows} of them row by row"]
    gap = placement.total - live
    if gap:
        notes.append(f"{gap} bytes more than are ever in use at once, lost between buffers or to alignment")
    return tuple(notes)
