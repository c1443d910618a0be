"""From stages to a Plan: execute them, find the lives of all buffers, place them, and say what sets the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnc.scheduler.execution import Execution, Network, Piece, execute
from rnnc.scheduler.lifetimes import Block, Extent, blocks, live_bytes
from rnnc.scheduler.offsets import Placement, pack
from rnnc.scheduler.plan import Buffer, Plan, Schedule
from rnnc.scheduler.segments import Options


@dataclass(frozen=True, eq=False)
class Draft:
    """Stages executed, with the lives of their buffers, before they are placed. ``live`` [steps]: bytes in use."""

    network: Network
    schedule: Schedule
    options: Options
    pieces: tuple[Piece, ...]
    execution: Execution
    parts: tuple[Block, ...]
    live: Extent

    @property
    def live_peak(self) -> int:
        """No placement is smaller."""
        return int(self.live.max())


def draft(network: Network, schedule: Schedule, stages: Sequence[Sequence[int]], options: Options) -> Draft:
    """Execute stages, given by task numbers, and find the lives of all buffers."""
    pieces = tuple(network.piece(tasks) for tasks in stages)
    streamed = range(network.n_inputs) if options.input_mode == "stream" else ()
    execution = execute(network, pieces, streamed)
    held = network.outputs if options.output_mode == "buffer" else frozenset[int]()
    parts = tuple(blocks(network, execution, held, options.placed(network), sliding=options.sliding))
    live = live_bytes(parts, execution.steps)
    return Draft(network, schedule, options, pieces, execution, parts, live)


def assemble(draft: Draft, capacities: Sequence[int | None], input_bank: int = 0) -> Plan:
    """Place the buffers of a draft in banks of these capacities (None: unlimited).

    The plan may be larger than the banks; the caller decides what that means.
    """
    placement = pack(draft.parts, capacities, input_bank)
    peak_step = int(draft.live.argmax())
    return Plan(
        schedule=draft.schedule,
        input_mode=draft.options.input_mode,
        output_mode=draft.options.output_mode,
        stages=tuple(draft.network.stage_of(piece) for piece in draft.pieces),
        buffers=_placed(draft.parts, placement),
        bank_sizes=placement.sizes,
        jobs=draft.execution.steps,
        executed_macs=_executed_macs(draft.network, draft.execution),
        live_peak=draft.live_peak,
        peak_step=peak_step,
        peak_buffers=_used_at(draft.parts, peak_step),
        notes=_notes(draft, placement),
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


def _notes(draft: Draft, placement: Placement) -> tuple[str, ...]:
    rows = sum(len(piece.tasks) > 1 for piece in draft.pieces)
    notes = [f"{len(draft.network.tasks)} operators in {len(draft.pieces)} stages, {rows} of them row by row"]
    gap = placement.total - draft.live_peak
    if gap:
        notes.append(f"{gap} bytes more than are ever in use at once, lost between buffers or to alignment")
    return tuple(notes)
