"""An independent check of a plan: plays it job by job and watches who owns each byte of each bank.

It shares nothing with the planner but the definition of a Plan, and is meant to be too simple to be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from rnnc.diagnostics import VerificationError
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import IntOp
from rnnc.scheduler.plan import ALIGN, Buffer, Plan, Stage

MAX_ROWS = 64
"""Row pointers of one job (RNNC_MAX_ROWS)."""


def validate(graph: Graph, plan: Plan, capacities: Sequence[int] | None = None) -> None:
    """Raise VerificationError, naming node or buffer and step, unless the plan computes the graph.

    ``capacities``: bytes that each bank may have.
    """
    for bank, size in enumerate(plan.bank_sizes):
        if capacities is not None and (bank >= len(capacities) or size > capacities[bank]):
            _fail(f"bank {bank}", f"the plan uses {size} bytes of it, more than it has")
    for buffer in plan.buffers:
        _check_buffer(plan, buffer)
    _check_stages(graph, plan)
    _Player(graph, plan).play()


def _fail(where: str, what: str) -> NoReturn:
    raise VerificationError(what, where=where, why="the memory plan is wrong; this is a bug in the scheduler")


def _check_buffer(plan: Plan, buffer: Buffer) -> None:
    if buffer.offset % ALIGN or buffer.offset < 0:
        _fail(buffer.name, f"the buffer starts at {buffer.offset}, which is not a multiple of {ALIGN}")
    if not 0 <= buffer.bank < len(plan.bank_sizes):
        _fail(buffer.name, f"there is no bank {buffer.bank}")
    if buffer.offset + buffer.size > plan.bank_sizes[buffer.bank]:
        _fail(buffer.name, f"the buffer ends beyond the {plan.bank_sizes[buffer.bank]} bytes of its bank")
    if (buffer.value or buffer.kind == "landing") and buffer.size != buffer.rows * buffer.row_bytes:
        _fail(buffer.name, f"{buffer.rows} rows of {buffer.row_bytes} bytes do not make {buffer.size} bytes")
    if buffer.slides and (not buffer.value or buffer.kind in ("tensor", "output")):
        _fail(buffer.name, f"a buffer of kind '{buffer.kind}' cannot slide")


def _check_stages(graph: Graph, plan: Plan) -> None:
    order = [name for stage in plan.stages for name in stage.nodes]
    users = graph.users()
    if sorted(order) != sorted(node.name for node in graph.nodes):
        _fail(graph.name, "the stages do not hold every node exactly once")
    at = {name: index for index, name in enumerate(order)}
    home = {name: stage for stage in plan.stages for name in stage.nodes}
    for node in graph.nodes:
        for user in users[node.output]:
            if at[user.name] < at[node.name]:
                _fail(user.name, f"it comes before '{node.name}', whose output it reads")
            if home[user.name] is not home[node.name] and node.name not in home[node.name].sinks:
                _fail(node.name, "its output is read in another stage, but it is not a sink of its own")
        if graph.is_output(node.output) and node.name not in home[node.name].sinks:
            _fail(node.name, "it makes an output of the graph, but is not a sink of its stage")
    for stage in plan.stages:
        if stage.ticks < 1 or not stage.sinks or not set(stage.sinks) <= set(stage.nodes):
            _fail(stage.nodes[0], "its stage has no ticks, no sinks, or sinks of another stage")


class _Player:
    """Rows made so far, and an owner's number for every byte."""

    def __init__(self, graph: Graph, plan: Plan) -> None:
        self.graph, self.plan = graph, plan
        self.place = {buffer.value: buffer for buffer in plan.buffers if buffer.value}
        self.private: dict[tuple[str, str], Buffer] = {
            (buffer.node, buffer.kind): buffer for buffer in plan.buffers if buffer.node
        }
        self.value = {value.name: value for value in graph.values()}
        self.maker = {node.output.name: node for node in graph.nodes}
        self.node = {node.name: node for node in graph.nodes}
        self.owner = [np.zeros(size, np.int64) for size in plan.bank_sizes]
        self.marks = 0
        self.mark_of: dict[tuple[str, int], int] = {}
        self.done = {node.name: 0 for node in graph.nodes}
        self.made = {value.name: 0 for value in graph.values()}
        self.last_row = {value.name: value.type.height - 1 for value in graph.values()}
        self.oldest: dict[str, int] = {buffer.name: 0 for buffer in plan.buffers if buffer.slides}
        """The row that lies first in each ring that slides, by the buffer's name."""
        self.step = 0
        self.lent = {port.value.name for port in graph.inputs if plan.input_mode == "lent"}
        for name in self.lent & self.place.keys():
            _fail(name, "the input is lent by the caller, but the plan has a buffer for it")

    def play(self) -> None:
        for value in self.graph.values():
            if value.name in self.lent:
                self.made[value.name] = value.type.height
            else:
                self._check_place(value)
        if self.plan.input_mode == "buffer":
            for port in self.graph.inputs:
                for _ in range(port.value.type.height):
                    self._write_row(port.value)
        for stage in self.plan.stages:
            for tick in range(stage.ticks):
                self._play_tick(stage, tick)
        self._check_end()

    def _play_tick(self, stage: Stage, tick: int) -> None:
        while True:
            ends = [
                end for name in stage.sinks if (end := self._end_of_chain(self.node[name], stage, tick)) is not None
            ]
            jobs = [end for end in ends if isinstance(end, Node)]
            if jobs:
                self._play_job(max(jobs, key=lambda node: stage.nodes.index(node.name)))
            elif ends:
                value = next(end for end in ends if isinstance(end, Value))
                self._write_row(value)
                self._slide(value)
            else:
                return

    def _check_place(self, value: Value) -> None:
        buffer = self.place.get(value.name)
        if buffer is None:
            _fail(value.name, "the value has no buffer")
        if buffer.row_bytes != value.type.row_bytes or not 1 <= buffer.rows <= value.type.height:
            _fail(value.name, f"{buffer.rows} rows of {buffer.row_bytes} bytes do not fit {value.type.shape}")
        if buffer.shares_with:
            leader = self.place[buffer.shares_with]
            alike = (buffer.slides, buffer.rows, buffer.offset) == (leader.slides, leader.rows, leader.offset)
            if (buffer.slides or leader.slides) and not alike:
                _fail(value.name, f"it does not lie as '{leader.name}' does, with which it shares its place")

    def _end_of_chain(self, sink: Node, stage: Stage, tick: int) -> Node | Value | None:
        """What a sink waits for in the end: a job that can run, or a value of which the caller has the next row."""
        node = sink
        if self.done[sink.name] == _op(sink).jobs(sink.input_types, sink.output.type):
            return None
        while True:
            lacking: Value | None = None
            for value, last, _ in self._windows(node):
                maker = self.maker.get(value.name)
                outside = maker is None or maker.name not in stage.nodes
                if outside and last * stage.ticks >= (tick + 1) * value.type.height:
                    return None
                if self.made[value.name] <= last:
                    lacking = value
                    break
            if lacking is None or lacking.name not in self.maker:
                return node if lacking is None else lacking
            node = self.maker[lacking.name]

    def _windows(self, node: Node) -> list[tuple[Value, int, list[int]]]:
        """Of each window of a node's next job the value, the last row that must be there, and the rows that are read,
        without padding."""
        result: list[tuple[Value, int, list[int]]] = []
        for window in _op(node).windows(node.input_types):
            value = node.inputs[window.input]
            top = self.done[node.name] * window.stride - window.pad
            taps = [top + i * window.dilation for i in range(window.rows)]
            if window.edge:
                taps = [min(max(row, 0), value.type.height - 1) for row in taps]
            inside = [row for row in taps if 0 <= row < value.type.height]
            result.append((value, min(max(taps), value.type.height - 1), inside))
        return result

    def _play_job(self, node: Node) -> None:
        op, types, output = _op(node), node.input_types, node.output
        job, jobs = self.done[node.name], op.jobs(types, output.type)
        if sum(window.rows for window in op.windows(types)) > MAX_ROWS:
            _fail(node.name, f"a job of it reads more than {MAX_ROWS} rows")
        reads = [(value, row) for value, _, rows in self._windows(node) for row in rows]
        needed = {
            "state": op.state_bytes(types, output.type),
            "scratch": op.scratch_bytes(types, output.type),
        }
        for kind, size in needed.items():
            self._claim(node, kind, size, fresh=kind == "scratch" or job == 0)
        for value, row in reads:
            self._check_row(value, row, f"was overwritten before job {job} of '{node.name}' reads it")
        if job >= jobs - output.type.height:
            row = self._write_row(output)
            self._check_row(output, row, f"is overwritten by job {job} of '{node.name}', which made it")
            for value, other in reads:
                if not self._in_place(node, value, other, row):
                    self._check_row(value, other, f"is overwritten by job {job} of '{node.name}' as it reads it")
        for kind, size in needed.items():
            self._claim(node, kind, size, fresh=False)
        self.done[node.name] += 1
        for value in dict.fromkeys((*node.inputs, output)):
            if value.name not in self.lent:
                self._slide(value)
        self.step += 1

    def _in_place(self, node: Node, value: Value, row: int, written: int) -> bool:
        allowed = value.name not in self.lent and any(node.inputs[i] is value for i in _op(node).in_place)
        return allowed and row == written and self._span(value, row) == self._span(node.output, written)

    def _home(self, value: Value, row: int) -> tuple[Buffer, int]:
        """The buffer in which a row lies, or would lie, and its place there."""
        buffer = self.place[value.name]
        slot = row % buffer.rows
        if buffer.slides:
            slot = row - self.oldest[buffer.shares_with or buffer.name]
            if slot >= buffer.rows:
                buffer, slot = self._landing(value, buffer), slot - buffer.rows
            if not 0 <= slot < buffer.rows:
                _fail(value.name, f"row {row} does not lie in the rows of its ring (step {self.step})")
        return buffer, slot

    def _span(self, value: Value, row: int) -> tuple[int, int, int]:
        buffer, slot = self._home(value, row)
        start = buffer.offset + slot * buffer.row_bytes
        return buffer.bank, start, start + buffer.row_bytes

    def _landing(self, value: Value, place: Buffer) -> Buffer:
        landing = self.plan.landing_of(place)
        if landing is None:
            _fail(value.name, f"it slides in {place.rows} rows, but has no landing for more")
        return landing

    def _slide(self, value: Value) -> None:
        """Move the rows of a ring that slides to where they belong now, and what owns their bytes with them."""
        name = self._shared(value.name) or value.name
        leader = self.place.get(name)
        if leader is None or not leader.slides:
            return
        before = self.oldest[name]
        self.oldest[name] = after = self._oldest_needed(name)
        if after == before:
            return
        for row in range(after, self.made[name]):
            self.oldest[name] = before
            bank, start, end = self._span(self.value[name], row)
            owner = self.owner[bank][start:end].copy()
            self.oldest[name] = after
            bank, start, end = self._span(self.value[name], row)
            self.owner[bank][start:end] = owner

    def _shared(self, name: str) -> str:
        """The buffer in which a value lies with others; "" also for one that is lent."""
        return self.place[name].shares_with if name in self.place else ""

    def _oldest_needed(self, leader: str) -> int:
        """The first row that a job to come reads of any value that lies there, if it is made yet."""
        needed = self.made[leader]
        for node in self.graph.nodes:
            op = _op(node)
            for window in op.windows(node.input_types):
                name = node.inputs[window.input].name
                done, jobs = self.done[node.name], op.jobs(node.input_types, node.output.type)
                if leader in (name, self._shared(name)) and done < jobs:
                    first = max(0, done * window.stride - window.pad)
                    needed = min(needed, first, self.last_row[name] if window.edge else first)
        return needed

    def _write_row(self, value: Value) -> int:
        row = self.made[value.name]
        bank, start, end = self._span(value, row)
        self._use(self._home(value, row)[0])
        self.marks += 1
        self.owner[bank][start:end] = self.mark_of[value.name, row] = self.marks
        self.made[value.name] += 1
        return row

    def _check_row(self, value: Value, row: int, fault: str) -> None:
        if value.name in self.lent:
            return
        bank, start, end = self._span(value, row)
        self._use(self._home(value, row)[0])
        if (self.owner[bank][start:end] != self.mark_of[value.name, row]).any():
            _fail(value.name, f"row {row} {fault} (step {self.step})")

    def _claim(self, node: Node, kind: str, size: int, fresh: bool) -> None:
        """Take the scratch or state of a node (``fresh``), or check that it is untouched since."""
        if size == 0:
            return
        buffer = self.private.get((node.name, kind))
        if buffer is None or buffer.size < size:
            _fail(node.name, f"it needs {size} bytes of {kind}, which it does not have")
        self._use(buffer)
        owner = self.owner[buffer.bank][buffer.offset : buffer.offset + size]
        if fresh:
            self.marks += 1
            owner[:] = self.mark_of[buffer.name, 0] = self.marks
        elif (owner != self.mark_of[buffer.name, 0]).any():
            _fail(node.name, f"its {kind} was overwritten (step {self.step})")

    def _use(self, buffer: Buffer) -> None:
        if not buffer.first_step <= self.step <= buffer.last_step:
            _fail(
                buffer.name,
                f"it is used at step {self.step}, but planned for {buffer.first_step} to {buffer.last_step}",
            )

    def _check_end(self) -> None:
        if self.step != self.plan.jobs:
            _fail(self.graph.name, f"the plan says {self.plan.jobs} jobs, but {self.step} run")
        self.step = max(self.step - 1, 0)
        for port in self.graph.outputs:
            if self.made[port.value.name] < port.value.type.height:
                _fail(port.value.name, "the output of the graph is not complete at the end")
            if self.plan.output_mode == "buffer":
                for row in range(port.value.type.height):
                    self._check_row(port.value, row, "was overwritten before the caller gets it")


def _op(node: Node) -> IntOp:
    if not isinstance(node.op, IntOp):
        _fail(node.name, "it is not an integer operator")
    return node.op
