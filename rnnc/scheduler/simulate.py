"""Runs a plan in numpy, row by row, out of arenas of exactly the planned size: what the C will do, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rnnc.ir.graph import Graph
from rnnc.ir.op import WindowRows, gather
from rnnc.ir.types import Array
from rnnc.scheduler.execution import Network, Task, events, execute
from rnnc.scheduler.plan import Buffer, Plan

POISON = 0xA5

Trace = Callable[[int, int, bytes], None]
"""Called for each row an operator makes, in the order of the C engine: (operator, row, bytes). Operators are
numbered through the stages in order, as in the generated table."""


def simulate(graph: Graph, plan: Plan, inputs: Mapping[str, Array], trace: Trace | None = None) -> dict[str, Array]:
    """Run one inference.

    ``inputs`` and the result hold, by port name, arrays in the type and (height, width, channels) order of the
    port's value.
    """
    return _Simulator(graph, plan, inputs, trace).run()


@dataclass
class _Consumed:
    """Input rows that an accumulating operator has seen; their ring slots may be gone when it delivers."""

    arrays: list[Array] = field(default_factory=list)


class _Simulator:
    def __init__(self, graph: Graph, plan: Plan, inputs: Mapping[str, Array], trace: Trace | None) -> None:
        self.graph, self.plan, self.trace = graph, plan, trace
        self.network = Network(graph)
        self.given = {port.value.name: inputs[port.name] for port in graph.inputs}
        self.banks = [np.full(size, POISON, np.uint8) for size in plan.bank_sizes]
        self.lent = range(self.network.n_inputs if plan.input_mode == "lent" else 0)
        self.place = {
            number: plan.place_of(value.name)
            for number, value in enumerate(self.network.values)
            if number not in self.lent
        }
        names = [name for stage in plan.stages for name in stage.nodes]
        self.op_index = {name: index for index, name in enumerate(names)}
        self.private = {
            (task.node.name, kind): plan.buffer_of(task.node.name, kind)
            for task in self.network.tasks
            for kind in ("scratch", "state")
        }
        self.consumed = {
            index: _Consumed([np.zeros(value.type.shape, value.type.dtype) for value in task.node.inputs])
            for index, task in enumerate(self.network.tasks)
            if task.remembers
        }
        self.done = [0] * len(self.network.tasks)
        self.made = [0] * len(self.network.values)
        self.oldest = {self._leader(value): 0 for value in self.place if self.place[value].slides}
        self.outputs = {
            value: np.zeros(self.network.values[value].type.shape, self.network.values[value].type.dtype)
            for value in self.network.outputs
        }

    def run(self) -> dict[str, Array]:
        streamed = range(self.network.n_inputs) if self.plan.input_mode == "stream" else ()
        pieces = [self.network.piece_of(stage) for stage in self.plan.stages]
        if self.plan.input_mode == "buffer":
            for value in range(self.network.n_inputs):
                for row in range(self.network.values[value].type.height):
                    self._push(value, row)
        for _, kind, index, number in events(execute(self.network, pieces, streamed)):
            if kind == "push":
                self._push(index, number)
            else:
                self._run_job(index, number)
        return self._results()

    def _push(self, value: int, row: int) -> None:
        self._write(value, row, self.given[self.network.values[value].name][row])
        self._slide(value)

    def _run_job(self, index: int, job: int) -> None:
        task = self.network.tasks[index]
        self._compute(index, task, job)
        self.done[index] += 1
        for value in dict.fromkeys((*task.inputs, task.output)):
            self._slide(value)

    def _compute(self, index: int, task: Task, job: int) -> None:
        self._poison(self.private[task.node.name, "scratch"])
        if job == 0:
            self._poison(self.private[task.node.name, "state"])
        if not task.remembers:
            self._deliver(task, job, task.op.compute(self._gather(task, job))[0])
            return
        self._consume(index, task, job)
        row = job - task.warm_up
        if row >= 0:
            windows = gather(task.op, self.consumed[index].arrays, task.node.input_types, [row])
            self._deliver(task, row, task.op.compute(windows)[0])

    def _gather(self, task: Task, job: int) -> list[WindowRows]:
        result: list[WindowRows] = []
        for window in task.windows:
            value = task.inputs[window.input]
            height, width, channels = self.network.values[value].type.shape
            values = np.zeros((1, window.rows, width, channels), np.int64)
            present = np.zeros((1, window.rows), np.bool_)
            taps, inside = window.taps([job], height)
            for tap in np.flatnonzero(inside[0]):
                values[0, tap] = self._read(value, int(taps[0, tap]))
                present[0, tap] = True
            result.append(WindowRows(values, present))
        return result

    def _consume(self, index: int, task: Task, job: int) -> None:
        for window in task.windows:
            array = self.consumed[index].arrays[window.input]
            taps, inside = window.taps([job], len(array))
            for row in taps[inside].tolist():
                array[row] = self._read(task.inputs[window.input], row)

    def _deliver(self, task: Task, row: int, values: npt.NDArray[np.int64]) -> None:
        stored = self._write(task.output, row, values)
        if task.output in self.outputs and self.plan.output_mode == "stream":
            self.outputs[task.output][row] = self._read(task.output, row)
        if self.trace is not None:
            self.trace(self.op_index[task.node.name], row, stored)

    def _slot(self, value: int, row: int) -> npt.NDArray[np.uint8]:
        buffer = self.place[value]
        slot = row % buffer.rows
        if buffer.slides:
            slot = row - self.oldest[self._leader(value)]
            landing = self.plan.landing_of(buffer)
            if slot >= buffer.rows and landing is not None:
                buffer, slot = landing, slot - buffer.rows
        start = buffer.offset + slot * buffer.row_bytes
        return self.banks[buffer.bank][start : start + buffer.row_bytes]

    def _leader(self, value: int) -> int:
        """The value in whose place another one lies, or itself."""
        shared = self.place[value].shares_with
        return next(i for i, v in enumerate(self.network.values) if v.name == shared) if shared else value

    def _slide(self, value: int) -> None:
        leader = self._leader(value) if value in self.place else value
        if leader not in self.oldest:
            return
        before, after = self.oldest[leader], self._oldest_needed(leader)
        rows = [self._slot(leader, row).copy() for row in range(after, self.made[leader])] if after > before else []
        self.oldest[leader] = after
        for row, stored in enumerate(rows, after):
            self._slot(leader, row)[:] = stored

    def _oldest_needed(self, leader: int) -> int:
        needed = self.made[leader]
        for value in self.place:
            if self._leader(value) == leader:
                for index in self.network.readers[value]:
                    task = self.network.tasks[index]
                    if self.done[index] < task.jobs:
                        windows = [w for w in task.windows if task.inputs[w.input] == value]
                        height = self.network.values[value].type.height
                        needed = min(needed, *(max(0, int(w.oldest(self.done[index], height))) for w in windows))
        return needed

    def _read(self, value: int, row: int) -> Array:
        kind = self.network.values[value].type
        if value in self.lent:
            return np.asarray(self.given[self.network.values[value].name][row])
        return np.frombuffer(self._slot(value, row).tobytes(), kind.dtype).reshape(kind.shape[1:])

    def _write(self, value: int, row: int, values: Array) -> bytes:
        kind = self.network.values[value].type
        stored = np.ascontiguousarray(values).astype(kind.dtype).tobytes()
        self._slot(value, row)[:] = np.frombuffer(stored, np.uint8)
        self.made[value] = row + 1
        return stored

    def _poison(self, buffer: Buffer | None) -> None:
        if buffer is not None:
            self.banks[buffer.bank][buffer.offset : buffer.offset + buffer.size] = POISON

    def _results(self) -> dict[str, Array]:
        results: dict[str, Array] = {}
        for port in self.graph.outputs:
            value = self.network.number[port.value]
            if self.plan.output_mode == "buffer":
                for row in range(port.value.type.height):
                    self.outputs[value][row] = self._read(value, row)
            results[port.name] = self.outputs[value]
        return results
