"""The order of jobs: what the row engine (runtime/c/src/engine.c) does with a list of stages, step by step.

This is the planner's one definition of "what runs when". A step is one job; steps count from 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def reading(self) -> tuple[object, ...]:
        """All that decides, in a graph with these names, when its jobs run and which rows they read and overwrite."""
        names = tuple(value.name for value in self.node.inputs)
        return self.node.name, names, self.windows, self.jobs, self.op.in_place

    @property
    def remembers(self) -> bool:
        """Output rows depend on input rows that earlier jobs read, by way of the state."""
        return self.windows != self.op.output_windows(self.node.input_types)


@dataclass(frozen=True)
class Piece:
    """A stage by task numbers: ``tasks`` in topological order, of which all wait for rows of the ``sinks``. What the
    stage reads from outside is at its disposal in ``ticks`` equal parts."""

    tasks: tuple[int, ...]
    sinks: tuple[int, ...]
    ticks: int = 1


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
        made = {self.tasks[task].output for task in tasks}
        read = {value for task in tasks for value in self.tasks[task].inputs} - made
        return Piece(tuple(tasks), sinks, max((self.values[value].type.height for value in read), default=1))

    def piece_of(self, stage: Stage) -> Piece:
        return Piece(
            tuple(self.task_of[name] for name in stage.nodes),
            tuple(self.task_of[name] for name in stage.sinks),
            stage.ticks,
        )

    def stage_of(self, piece: Piece) -> Stage:
        return Stage(
            "layer" if len(piece.tasks) == 1 else "rows",
            tuple(self.tasks[task].node.name for task in piece.tasks),
            tuple(self.tasks[task].node.name for task in piece.sinks),
            piece.ticks,
        )


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


RUNS = -1
"""In place of the value that a task lacks: it can run."""

OUTSIDE = -1
"""In place of the task that makes a value: no task of this stage."""


class _Engine:
    """The state of the engine: rows present by value, jobs finished by task."""

    def __init__(self, network: Network, pieces: Sequence[Piece], streamed: Collection[int]) -> None:
        self.network = network
        self.present = [value.type.height for value in network.values]
        self.pushed: dict[int, list[int]] = {value: [] for value in streamed}
        for value in streamed:
            self.present[value] = 0
        for piece in pieces:
            for task in piece.tasks:
                self.present[network.tasks[task].output] = 0
        self.order: list[int] = []
        self.job: list[int] = []

    def run(self, pieces: Sequence[Piece]) -> Execution:
        for piece in pieces:
            _Stage(self, piece).run()
        pushed = {
            value: np.array(steps + [NEVER] * (self.network.values[value].type.height - len(steps)), np.int64)
            for value, steps in self.pushed.items()
        }
        return Execution(np.array(self.order, np.int64), np.array(self.job, np.int64), pushed)


class _Stage:
    """A stage that runs. Tasks are numbered within it, in order.

    ``lacks`` is, by task, the first value that has too few rows for its next job, or RUNS. A task is ``wanted`` if it
    is a sink with jobs left or makes what a wanted task lacks; ``ready`` has a bit for each of these that can run.
    The search executes millions of jobs, so all of it is kept up to date rather than looked up.
    """

    def __init__(self, engine: _Engine, piece: Piece) -> None:
        network = engine.network
        self.engine, self.piece = engine, piece
        self.tasks = [network.tasks[task] for task in piece.tasks]
        self.done = [0] * len(self.tasks)
        self.lacks = [RUNS] * len(self.tasks)
        self.wanted = [False] * len(self.tasks)
        self.ready = 0
        self.sinks = {piece.tasks.index(sink) for sink in piece.sinks}
        self.maker = [OUTSIDE] * len(network.values)
        self.readers: dict[int, list[int]] = {task.output: [] for task in self.tasks}
        for index, task in enumerate(self.tasks):
            self.maker[task.output] = index
            for value in dict.fromkeys(task.inputs):
                self.readers.setdefault(value, []).append(index)
        self.heights = {value: network.values[value].type.height for value in self.readers}
        self.needs = [
            [
                (value, window.stride, window.last(0) + 1, int(window.edge), self.heights[value])
                for window in task.windows
                for value in (task.inputs[window.input],)
            ]
            for task in self.tasks
        ]

    def run(self) -> None:
        engine, ticks = self.engine, self.piece.ticks
        outside = [value for value in self.readers if self.maker[value] == OUTSIDE]
        whole = [value for value in outside if value not in engine.pushed]
        for value in whole:
            engine.present[value] = 0
        for index in range(len(self.tasks)):
            self._look_again(index)
        for sink in self.sinks:
            self._want(sink)
        for tick in range(ticks):
            limit = {value: -(-(tick + 1) * self.heights[value] // ticks) for value in outside}
            for value in whole:
                engine.present[value] = limit[value]
                self._made(value)
            while self.ready or self._push(limit):
                if self.ready:
                    self._run_job(self.ready.bit_length() - 1)

    def _push(self, limit: Mapping[int, int]) -> bool:
        """The next row of a streamed value, if there is one by now and a wanted task lacks it."""
        engine = self.engine
        for value, rows in engine.pushed.items():
            if len(rows) < limit.get(value, 0) and self._is_lacked(value):
                rows.append(len(engine.order))
                engine.present[value] += 1
                self._made(value)
                return True
        return False

    def _is_lacked(self, value: int) -> bool:
        return any(self.lacks[reader] == value and self.wanted[reader] for reader in self.readers[value])

    def _run_job(self, index: int) -> None:
        engine, task, job = self.engine, self.tasks[index], self.done[index]
        engine.order.append(self.piece.tasks[index])
        engine.job.append(job)
        self.done[index] = job + 1
        if job >= task.warm_up:
            engine.present[task.output] += 1
            self._made(task.output)
        self._look_again(index)
        left = index in self.sinks and self.done[index] < task.jobs
        self.wanted[index] = left or self._is_lacked(task.output)
        self._settle(index)

    def _made(self, value: int) -> None:
        """There are more rows of a value."""
        for reader in self.readers[value]:
            if self.lacks[reader] == value:
                self._look_again(reader)
                if self.lacks[reader] != value and self.wanted[reader]:
                    self._settle(reader)

    def _want(self, index: int) -> None:
        if not self.wanted[index]:
            self.wanted[index] = True
            self._settle(index)

    def _settle(self, index: int) -> None:
        """What follows from what a task lacks."""
        value = self.lacks[index]
        if value == RUNS and self.wanted[index]:
            self.ready |= 1 << index
            return
        self.ready &= ~(1 << index)
        if self.wanted[index] and self.maker[value] != OUTSIDE:
            self._want(self.maker[value])

    def _look_again(self, index: int) -> None:
        present, job = self.engine.present, self.done[index]
        self.lacks[index] = RUNS
        for value, stride, reach, least, height in self.needs[index]:
            need = job * stride + reach
            if present[value] < (least if need < least else need if need < height else height):
                self.lacks[index] = value
                break


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
