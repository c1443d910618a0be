"""When every row is written and last read, and from that how many rows each value must hold at a time.

All of it is derived from an execution (the actual order of jobs), so that it holds for any kind of stage.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnc.scheduler.execution import NEVER, Execution, Network, Steps
from rnnc.scheduler.plan import Buffer, BufferKind, landing_name

Extent = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Life of the rows of one value: row y holds something needed from step written[y] to step last[y].

    written[y] is NEVER, and last[y] -1, for a row that is never made.
    """

    written: Steps
    last: Steps

    @property
    def ring(self) -> int:
        """The fewest slots for which row y + ring is always written after row y was read for the last time."""
        present_at_last = np.searchsorted(self.written, self.last, side="right")
        return max(1, int((present_at_last - np.arange(len(self.last))).max(initial=1)))


@dataclass(frozen=True, eq=False)
class Block:
    """Buffers that share one place: bytes low[i] .. high[i] - 1 of it are in use at step first + i, none where
    they are equal. ``members`` are its buffers, still without offsets, of ``size`` bytes at most."""

    members: tuple[Buffer, ...]
    size: int
    first: int
    low: Extent
    high: Extent
    is_input: bool = False

    @property
    def last(self) -> int:
        return self.first + len(self.low) - 1


@dataclass(frozen=True, eq=False)
class _Group:
    """Values in one place, each but the first written in place over the one before; ``rows`` is their union."""

    values: tuple[int, ...]
    rows: Rows
    slots: int


def blocks(
    network: Network,
    execution: Execution,
    held: Collection[int],
    values: Collection[int] | None = None,
    *,
    full_rings: bool = False,
    sliding: bool = False,
) -> list[Block]:
    """All buffers that an execution needs.

    ``held`` values are kept, whole, until after the last step: graph outputs in buffer mode and, for a part of a
    schedule, whatever a later stage reads. ``values`` (default: all) limits which values are placed; those that
    the execution does not make are there, whole, from the first step. ``full_rings``: count a ring as full from
    its first row to its last, though its slots fill and empty with every job. ``sliding``: rings slide where they can.
    """
    tasks = steps_of_tasks(execution)
    lives = _row_lives(network, execution, tasks, held, values)
    groups = list(_groups(network, lives, tasks, held))
    result = [block for group in groups for block in _value_blocks(network, lives, group, tasks, full_rings, sliding)]
    result += _private_blocks(network, tasks)
    return result


def rows_in_use(
    network: Network,
    execution: Execution,
    tasks: dict[int, Steps],
    held: Collection[int],
    values: Collection[int],
    sliding: bool,
) -> tuple[Extent, Extent]:
    """Bytes of the rows in use at each step [steps], exactly and with rings counted as full; ``tasks`` are
    `steps_of_tasks`, the rest is that of `blocks`."""
    lives = _row_lives(network, execution, tasks, held, values)
    exact, full = (np.zeros(max(execution.steps, 1), np.int64) for _ in range(2))
    for group in _groups(network, lives, tasks, held):
        extent = _extent(network, lives, group, tasks, sliding)
        row_bytes = network.values[group.values[0]].type.row_bytes
        span = slice(extent.first, extent.first + len(extent.low))
        exact[span] += (extent.high - extent.low) * row_bytes
        is_ring = extent.slots < len(group.rows.last)
        full[span] += (extent.slots if is_ring else extent.high - extent.low) * row_bytes
    return exact, full


def live_bytes(parts: Collection[Block], steps: int) -> Extent:
    """Bytes in use at each step [steps]."""
    total = np.zeros(max(steps, 1), np.int64)
    for part in parts:
        total[part.first : part.last + 1] += part.high - part.low
    return total


def steps_of_tasks(execution: Execution) -> dict[int, Steps]:
    """The step of each job, by task in their order, for the tasks that run."""
    order = np.argsort(execution.task, kind="stable")
    starts = np.flatnonzero(np.diff(execution.task[order], prepend=-1))
    return {int(execution.task[group[0]]): group for group in np.split(order, starts[1:]) if len(group)}


def _row_lives(
    network: Network,
    execution: Execution,
    tasks: dict[int, Steps],
    held: Collection[int],
    values: Collection[int] | None,
) -> dict[int, Rows]:
    chosen = range(len(network.values)) if values is None else sorted(values)
    lives: dict[int, Rows] = {}
    for value in chosen:
        height = network.values[value].type.height
        written = np.zeros(height, np.int64)
        producer = network.producer(value)
        if producer in tasks:
            written = np.full(height, NEVER, np.int64)
            steps = tasks[producer]
            made = steps[network.tasks[producer].warm_up :]
            written[: len(made)] = made
        elif value in execution.pushed:
            written = execution.pushed[value]
        lives[value] = Rows(written, np.where(written < NEVER, written, -1))
    for index, steps in tasks.items():
        task = network.tasks[index]
        for window in task.windows:
            rows = lives.get(task.inputs[window.input])
            if rows is None:
                continue
            taps, inside = window.taps(np.arange(len(steps)), len(rows.last))
            for row, there in zip(taps.T, inside.T, strict=True):
                np.maximum.at(rows.last, row[there], steps[there])
    end = max(execution.steps - 1, 0)
    for value in held:
        if value in lives:
            lives[value].last[lives[value].written < NEVER] = end
    return lives


def _slots(rows: Rows, whole: bool) -> int:
    return len(rows.last) if whole else min(rows.ring, len(rows.last))


def _groups(
    network: Network, lives: dict[int, Rows], tasks: dict[int, Steps], held: Collection[int]
) -> Iterator[_Group]:
    """Each value alone, or joined to the input that its operator may overwrite, where that saves memory."""
    group_of = {value: _Group((value,), rows, _slots(rows, value in held)) for value, rows in lives.items()}
    for index in sorted(tasks):
        output = network.tasks[index].output
        best: tuple[int, _Group] | None = None
        for value in _overwritable(network, index, lives):
            if value in held:
                continue
            group = group_of[value]
            joined = _join(group, output, group_of[output], whole=output in held)
            saved = group.slots + group_of[output].slots - joined.slots
            if group.values[-1] == value and saved > 0 and (best is None or saved > best[0]):
                best = saved, joined
        if best is not None:
            for member in best[1].values:
                group_of[member] = best[1]
    return iter(dict.fromkeys(group_of.values()))


def _overwritable(network: Network, index: int, lives: dict[int, Rows]) -> Iterator[int]:
    """Inputs of a task whose every row is dead once the output row of the same number is written."""
    task = network.tasks[index]
    output = network.values[task.output].type
    for position in task.op.in_place:
        value = task.inputs[position]
        kind = network.values[value].type
        row_by_row = all((w.rows, w.stride, w.pad) == (1, 1, 0) for w in task.windows if task.inputs[w.input] == value)
        if value not in lives or not row_by_row or task.warm_up:
            continue
        if (kind.height, kind.row_bytes) != (output.height, output.row_bytes):
            continue
        if bool((lives[value].last <= lives[task.output].written).all()):
            yield value


def _join(group: _Group, output: int, out: _Group, whole: bool) -> _Group:
    rows = Rows(group.rows.written, np.maximum(group.rows.last, out.rows.last))
    # a ring has one length: a whole member makes the others whole too
    whole = whole or group.slots == len(rows.last)
    return _Group((*group.values, output), rows, _slots(rows, whole))


@dataclass(frozen=True, eq=False)
class _Extent:
    """Rows low[i] .. high[i] - 1 of ``slots`` are in use at step first + i. Of a ring that slides the first ``stay``
    have a place of their own, and the others land in another."""

    slots: int
    first: int
    low: Extent
    high: Extent
    stay: int = 0


def _extent(network: Network, lives: dict[int, Rows], group: _Group, tasks: dict[int, Steps], sliding: bool) -> _Extent:
    first = min(_first_step(lives[value]) for value in group.values)
    last = max(_last_step(lives[value]) for value in group.values)
    steps = np.arange(first, last + 1)
    if sliding and _can_slide(network, group):
        rows = _rows_in_use(network, group, tasks, steps)
        full = np.flatnonzero(rows == rows.max())
        stay = int(rows[full[0] : full[-1] + 1].min())
        if stay < rows.max():
            return _Extent(int(rows.max()), first, np.zeros(len(rows), np.int64), rows, max(stay, 1))
    return _Extent(group.slots, first, *_slots_in_use(group, steps))


def _value_blocks(
    network: Network, lives: dict[int, Rows], group: _Group, tasks: dict[int, Steps], full_rings: bool, sliding: bool
) -> Iterator[Block]:
    """One block or, of a ring that slides, one of the rows that are always there and one of those that come and go."""
    extent = _extent(network, lives, group, tasks, sliding)
    row_bytes = network.values[group.values[0]].type.row_bytes
    is_input = group.values[0] < network.n_inputs
    members = tuple(_value_buffer(network, value, lives[value], group, extent) for value in group.values)
    low, high = extent.low, extent.high
    if full_rings and extent.slots < len(group.rows.last):
        low, high = _constant(extent.slots, len(low))
    for begin, end in ((0, extent.stay), (extent.stay, extent.slots)):
        if begin < end:
            bottom, top = ((np.clip(edge, begin, end) - begin) * row_bytes for edge in (low, high))
            part = (_landing(members, extent),) if begin else members
            yield Block(part, (end - begin) * row_bytes, extent.first, bottom, top, is_input)


def _landing(members: Sequence[Buffer], extent: _Extent) -> Buffer:
    leader, rows = members[0], extent.slots - extent.stay
    last = max(member.last_step for member in members)
    return Buffer(
        landing_name(leader),
        "landing",
        rows * leader.row_bytes,
        min(member.first_step for member in members),
        last,
        row_bytes=leader.row_bytes,
        rows=rows,
    )


def _can_slide(network: Network, group: _Group) -> bool:
    """Rings whose every row is read: where a row lies follows from what the readers still need."""
    read = all(network.readers[value] for value in group.values)
    return read and 1 < group.slots < len(group.rows.last) and not network.outputs & set(group.values)


def _rows_in_use(network: Network, group: _Group, tasks: dict[int, Steps], steps: Steps) -> Extent:
    """By step: the rows from the oldest that a job to come reads to the newest, and at least the one just written."""
    oldest = np.full(len(steps), NEVER, np.int64)
    for value in group.values:
        for index in network.readers[value]:
            task = network.tasks[index]
            done = np.searchsorted(tasks[index], steps, side="left")
            for window in task.windows:
                if task.inputs[window.input] == value:
                    first = window.oldest(done, network.values[value].type.height)
                    needed = np.where(done == task.jobs, NEVER, first)
                    oldest = np.minimum(oldest, needed)
    before = np.searchsorted(group.rows.written, steps, side="left")
    made = np.searchsorted(group.rows.written, steps, side="right")
    return np.maximum(made - np.clip(oldest, 0, made), made > before)


def _slots_in_use(group: _Group, steps: Steps) -> tuple[Extent, Extent]:
    """The slots from the oldest row still needed to the newest made; all of them while those wrap around."""
    oldest = np.searchsorted(np.maximum.accumulate(group.rows.last), steps, side="left")
    made = np.searchsorted(group.rows.written, steps, side="right")
    count = np.maximum(made - oldest, 0)
    low = np.where(count > 0, oldest % group.slots, 0)
    wraps = low + count > group.slots
    return np.where(wraps, 0, low), np.where(wraps, group.slots, low + count)


def _first_step(rows: Rows) -> int:
    first = int(rows.written.min(initial=NEVER))
    return first if first < NEVER else 0


def _last_step(rows: Rows) -> int:
    return max(int(rows.last.max(initial=0)), 0)


def _value_buffer(network: Network, value: int, rows: Rows, group: _Group, extent: _Extent) -> Buffer:
    name = network.values[value].name
    row_bytes = network.values[value].type.row_bytes
    kind: BufferKind = "tensor" if extent.slots == len(rows.last) else "ring"
    if value in network.outputs:
        kind = "output"
    elif value < network.n_inputs:
        kind = "input"
    leader = network.values[group.values[0]].name
    slots = extent.stay or extent.slots
    return Buffer(
        name,
        kind,
        slots * row_bytes,
        _first_step(rows),
        _last_step(rows),
        value=name,
        row_bytes=row_bytes,
        rows=slots,
        shares_with="" if leader == name else leader,
        slides=extent.stay > 0,
    )


def _private_blocks(network: Network, tasks: dict[int, Steps]) -> Iterator[Block]:
    """Scratch, in use while a job of its node runs, and state, in use from the first job to the last."""
    for index, steps in tasks.items():
        task = network.tasks[index]
        first, last = int(steps[0]), int(steps[-1])
        length = last - first + 1
        name = task.node.name
        if task.scratch:
            buffer = Buffer(f"{name}.scratch", "scratch", task.scratch, first, last, node=name)
            high = np.zeros(length, np.int64)
            high[steps - first] = task.scratch
            yield Block((buffer,), task.scratch, first, np.zeros(length, np.int64), high)
        if task.state:
            buffer = Buffer(f"{name}.state", "state", task.state, first, last, node=name)
            yield Block((buffer,), task.state, first, *_constant(task.state, length))


def _constant(size: int, length: int) -> tuple[Extent, Extent]:
    return np.zeros(length, np.int64), np.full(length, size, np.int64)
