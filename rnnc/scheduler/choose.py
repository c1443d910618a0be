"""Which operators and which plan: what `rnnc compile` asks the scheduler for, and what `rnnc explore` lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rnnc.diagnostics import BudgetError
from rnnc.ir.graph import Graph
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.scheduler.search import Effort, Search
from rnnc.scheduler.segments import Options
from rnnc.target import Target

Optimize = Literal["balanced", "ram", "speed"]
"""balanced: the least RAM without computing anything twice."""

SQUEEZES = (1.0, 0.95, 0.9)
"""Parts of a budget that are aimed at in turn: a placement may need more than the search's quick one."""


@dataclass(frozen=True)
class Wish:
    """What a plan is wanted for; ``ram``: most bytes of all, of which ``reserved`` of the first bank are for stack and
    static data."""

    target: Target
    mode: Mode = "auto"
    input_mode: InputMode = "buffer"
    output_mode: OutputMode = "buffer"
    optimize: Optimize = "balanced"
    ram: int | None = None
    reserved: int = 0

    def plan(self, graph: Graph) -> Plan:
        """The graph's smallest plan as it is; raises BudgetError if that is over the budget."""
        modes = self.mode, self.input_mode, self.output_mode
        return schedule(graph, self.target, *modes, ram=self.ram, reserved=self.reserved, sliding=self.sliding)

    @property
    def sliding(self) -> bool:
        """Rings may slide: moving rows takes a few cycles, so not if speed is all that counts."""
        return self.mode != "layer" and (self.optimize != "speed" or self.ram is not None)


@dataclass(frozen=True, eq=False)
class Scheduled:
    """A plan and the graph that it is for: operators may have been exchanged or run as one.

    ``judged`` of ``possible`` choices of operators were looked at.
    """

    graph: Graph
    plan: Plan
    judged: int = 1
    possible: int = 1


def choose(graph: Graph, wish: Wish) -> Scheduled:
    """Operators and a plan. With a budget in RAM the fastest that fits it, unless the least RAM is asked for.

    Raises BudgetError where nothing fits, CompileError for what cannot be scheduled.
    """
    if wish.mode == "layer" or (wish.optimize == "speed" and wish.ram is None):
        return Scheduled(graph, wish.plan(graph))
    search = Search(graph, Options(wish.input_mode, wish.output_mode, wish.sliding))
    if wish.optimize == "ram" or wish.ram is None:
        return _smallest(search, wish)
    failure: BudgetError | None = None
    for candidate in _in_turn(search, wish.ram - wish.reserved):
        try:
            return Scheduled(candidate, wish.plan(candidate))
        except BudgetError as error:
            failure = error
    if failure is None:
        raise ValueError("there is nothing to choose from")
    raise failure


def _smallest(search: Search, wish: Wish) -> Scheduled:
    """Of the leanest configuration and the one that is fast wherever that seemed to cost nothing: a placement tells
    which is smaller."""
    effort: Effort = "ram" if wish.optimize == "ram" else "once"
    graphs = dict.fromkeys((search.leanest(effort).graph, search.frugal(effort).graph))
    found = [Scheduled(graph, wish.plan(graph)) for graph in graphs]
    return min(found, key=lambda scheduled: scheduled.plan.arena)


def front(graph: Graph, wish: Wish, progress: Callable[[int, int], None]) -> Iterator[Scheduled]:
    """Plans from the fastest to the smallest, each smaller than the one before it."""
    search = Search(graph, Options(wish.input_mode, wish.output_mode, wish.sliding))
    smallest: int | None = None
    for candidate in search.front(progress):
        plan = wish.plan(candidate.graph)
        if smallest is None or plan.arena < smallest:
            smallest = plan.arena
            yield Scheduled(candidate.graph, plan)


def _in_turn(search: Search, budget: int) -> Iterator[Graph]:
    """Graphs to try until one fits, the fastest first."""
    yield search.graph
    efforts: tuple[Effort, ...] = ("once", "ram")
    for effort in efforts:
        for part in SQUEEZES:
            yield search.within(int(budget * part), effort).graph
    yield search.leanest("ram").graph
    yield search.frugal("ram").graph
