"""The order of jobs: what the row engine (runtime/c/src/engine.c) does with a list of stages, step by step.

This is the planner's one definition of "what runs when". A step is one job; steps count from 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import IntOp, Window
from rnnc.scheduler.plan import Stage

Steps = npt.NDArray[np.int64]
"""Step numbers; NEVER where something does not happen."""

NEVER = 2**40


@dataclass(frozen=True, eq=False)
class Task:
    """A node as the engine sees it. Values are numbered: graph inputs first, then the outputs of the nodes.
    ``scratch`` and ``state`` in bytes."""

    node: Node
    op: IntOp
    inputs: tuple[int, ...]
    output: int
    windows: tuple[Window, ...]
    jobs: int
    height: int
    scratch: int
    state: int

    @property
    def warm_up(self) -> int:
        """Jobs that come before the one that makes the first output row."""
        return self.jobs - self.height

    @property
    def remembers(self) -> bool:
        """Output rows depend on input rows that earlier jobs read, by way of the state."""
        return self.windows != self.op.output_windows(self.node.input_types)


@dataclass(frozen=True)
class Piece:
    """A stage by task numbers: ``tasks`` in topological order, ``sinks`` pulled in turn over ``ticks``, each
    ahead of its share by ``leads`` jobs."""

    tasks: tuple[int, ...]
    sinks: tuple[int, ...]
    ticks: int = 1
    leads: tuple[int, ...] = ()

    def target(self, sink: int, tick: int, jobs: int) -> int:
        """Jobs that sink number ``sink`` must have done at the end of a tick."""
        lead = self.leads[sink] if self.leads else 0
        return min(jobs, -(-(tick + 1) * jobs // self.ticks) + lead)


class Network:
    """A graph of integer operators with everything that scheduling asks for, looked up once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: list[Value] = list(dict.fromkeys(port.value for port in graph.inputs))
        self.n_inputs = len(self.values)
        self.values += [node.output for node in graph.nodes]
        self.number = {value: index for index, value in enumerate(self.values)}
        self.tasks = [self._task(node) for node in graph.nodes]
        self.task_of = {task.node.name: index for index, task in enumerate(self.tasks)}
        self.readers: list[list[int]] = [[] for _ in self.values]
        for index, task in enumerate(self.tasks):
            for value in dict.fromkeys(task.inputs):
                self.readers[value].append(index)
        self.outputs = {self.number[port.value] for port in graph.outputs}

    def _task(self, node: Node) -> Task:
        if not isinstance(node.op, IntOp):
            raise CompileError(
                f"operator '{node.op.name}' has not been quantised",
                where=node.name,
                why="only integer operators can be scheduled",
            )
        types = node.input_types
        return Task(
            node,
            node.op,
            tuple(self.number[value] for value in node.inputs),
            self.number[node.output],
            node.op.windows(types),
            node.op.jobs(types, node.output.type),
            node.output.type.height,
            node.op.scratch_bytes(types, node.output.type),
            node.op.state_bytes(types, node.output.type),
        )

    def producer(self, value: int) -> int | None:
        """The task that makes a value, None for a graph input."""
        return value - self.n_inputs if value >= self.n_inputs else None

    def predecessors(self, task: int) -> Iterator[int]:
        for value in self.tasks[task].inputs:
            if value >= self.n_inputs:
                yield value - self.n_inputs

    def piece(self, tasks: Sequence[int]) -> Piece:
        """A stage of these tasks; its sinks are those whose outputs are read elsewhere or leave the graph."""
        inside = set(tasks)
        sinks = tuple(
            task
            for task in tasks
            if self.tasks[task].output in self.outputs
            or any(reader not in inside for reader in self.readers[self.tasks[task].output])
        )
        if len(sinks) == 1:
            return Piece(tuple(tasks), sinks)
        ticks = max(self.tasks[task].jobs for task in sinks)
        return Piece(tuple(tasks), sinks, ticks, leads_of(self, tasks, sinks, ticks))

    def piece_of(self, stage: Stage) -> Piece:
        return Piece(
            tuple(self.task_of[name] for name in stage.nodes),
            tuple(self.task_of[name] for name in stage.sinks),
            stage.ticks,
            stage.leads,
        )

    def stage_of(self, piece: Piece) -> Stage:
        return Stage(
            "layer" if len(piece.tasks) == 1 else "rows",
            tuple(self.tasks[task].node.name for task in piece.tasks),
            tuple(self.tasks[task].node.name for task in piece.sinks),
            piece.ticks,
            piece.leads,
        )


def leads_of(network: Network, tasks: Sequence[int], sinks: Sequence[int], ticks: int) -> tuple[int, ...]:
    """How far each sink can be ahead of its share.

    The sink with the widest view makes everybody's rows early. What the others can make of those rows they make
    at once, instead of letting the rows wait for them.
    """
    needs = [_demands(network, tasks, sink) for sink in sinks]
    tick = np.arange(1, ticks + 1)
    share = [-(-tick * network.tasks[sink].jobs // ticks) for sink in sinks]
    there: dict[int, Steps] = {}
    for need, jobs in zip(needs, share, strict=True):
        for value, rows in need.items():
            there[value] = np.maximum(there.get(value, np.zeros(ticks, np.int64)), rows[jobs])
    leads = []
    for need, jobs in zip(needs, share, strict=True):
        possible = [np.searchsorted(rows, there[value], side="right") - 1 for value, rows in need.items()]
        behind = jobs < jobs[-1]
        ahead = np.min(possible, axis=0) - jobs if possible else np.zeros(ticks, np.int64)
        leads.append(max(0, int(ahead[behind].min(initial=int(jobs[-1])))) if behind.any() else 0)
    return tuple(leads)


def _demands(network: Network, tasks: Sequence[int], sink: int) -> dict[int, Steps]:
    """For 0, 1, ... jobs of a sink, the rows that must be there of each value that ``tasks`` read from outside."""
    need = {network.tasks[sink].output: np.arange(network.tasks[sink].jobs + 1)}
    for index in reversed(tasks):
        task = network.tasks[index]
        rows = need.pop(task.output, None)
        if rows is None:
            continue
        jobs = rows if index == sink else np.where(rows > 0, rows + task.warm_up, 0)
        for window in task.windows:
            value = task.inputs[window.input]
            height = network.values[value].type.height
            reach = np.clip((jobs - 1) * window.stride + window.last(0) + 1, int(window.edge), height)
            reach = np.where(jobs > 0, reach, 0)
            need[value] = np.maximum(need[value], reach) if value in need else reach
    return need


@dataclass(frozen=True, eq=False)
class Execution:
    """Which job runs at each step: ``task`` and ``job`` [steps]; ``pushed`` holds, for each graph input that
    is streamed, the step before which each of its rows is pushed [height]."""

    task: npt.NDArray[np.int64]
    job: npt.NDArray[np.int64]
    pushed: dict[int, Steps]

    @property
    def steps(self) -> int:
        return len(self.task)


def execute(network: Network, pieces: Sequence[Piece], streamed: Collection[int] = ()) -> Execution:
    """Run the engine's rules over these stages.

    Values that no given stage makes are taken as present as a whole, except the graph inputs in ``streamed``:
    their rows are pushed one at a time, when the engine asks for them.
    """
    return _Engine(network, pieces, streamed).run(pieces)


class _Engine:
    """The state of the engine: rows present by value, jobs finished by task."""

    def __init__(self, network: Network, pieces: Sequence[Piece], streamed: Collection[int]) -> None:
        self.network = network
        self.present = [value.type.height for value in network.values]
        self.done = [0] * len(network.tasks)
        self.needs: dict[int, list[tuple[int, int, int, int, int]]] = {}
        self.warm_up = [task.warm_up for task in network.tasks]
        self.pushed: dict[int, list[int]] = {}
        self.order: list[int] = []
        self.job: list[int] = []
        for piece in pieces:
            for index in piece.tasks:
                task = network.tasks[index]
                self.present[task.output] = 0
                self.needs[index] = [
                    (value, window.stride, window.last(0) + 1, int(window.edge), network.values[value].type.height)
                    for window in task.windows
                    for value in (task.inputs[window.input],)
                ]
        for value in streamed:
            self.present[value] = 0
            self.pushed[value] = []

    def run(self, pieces: Sequence[Piece]) -> Execution:
        for piece in pieces:
            for tick in range(piece.ticks):
                for number, sink in enumerate(piece.sinks):
                    target = piece.target(number, tick, self.network.tasks[sink].jobs)
                    while self.done[sink] < target:
                        self._pull(sink)
        pushed = {
            value: np.array(steps + [NEVER] * (self.network.values[value].type.height - len(steps)), np.int64)
            for value, steps in self.pushed.items()
        }
        return Execution(np.array(self.order, np.int64), np.array(self.job, np.int64), pushed)

    def _pull(self, sink: int) -> None:
        """Run one job of a sink, and before it whatever it waits for, innermost first.

        One loop, for the search runs it millions of times.
        """
        first, present, done = self.network.n_inputs, self.present, self.done
        path = [sink]
        while path:
            index = path[-1]
            job = done[index]
            for value, stride, reach, least, height in self.needs[index]:
                need = job * stride + reach
                if present[value] < (least if need < least else need if need < height else height):
                    if value < first:
                        self.pushed[value].append(len(self.order))
                        present[value] += 1
                    else:
                        path.append(value - first)
                    break
            else:
                self.order.append(index)
                self.job.append(job)
                done[index] = job + 1
                if job >= self.warm_up[index]:
                    present[first + index] += 1
                path.pop()


Event = tuple[int, Literal["push", "job"], int, int]


def events(execution: Execution) -> Iterator[Event]:
    """Pushes and jobs in the order in which they happen: (step, "push", input value, row) and
    (step, "job", task, job number)."""
    pushes = sorted(
        (int(step), value, row)
        for value, steps in execution.pushed.items()
        for row, step in enumerate(steps)
        if step < NEVER
    )
    position = 0
    for step in range(execution.steps):
        while position < len(pushes) and pushes[position][0] <= step:
            yield step, "push", pushes[position][1], pushes[position][2]
            position += 1
        yield step, "job", int(execution.task[step]), int(execution.job[step])
