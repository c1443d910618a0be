"""Which operators and which plan: what `rnnc compile` asks the scheduler for, and what `rnnc explore` lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from rnnc.diagnostics import BudgetError
from rnnc.ir.graph import Graph
from rnnc.scheduler import walk
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.scheduler.search import Candidate, Search, silent
from rnnc.scheduler.segments import Options
from rnnc.scheduler.variants import Variants
from rnnc.target import Target

Optimize = Literal["balanced", "ram", "speed"]
"""balanced: about the least RAM without computing anything twice (`Effort` once)."""

SQUEEZES = (1.0, 0.95, 0.9)
"""Parts of a budget that are aimed at in turn: a placement may miss what the search's quick one reached."""

HOPE = 1.25
"""How many times the budget a quick placement may be, for a thorough one to be worth trying."""


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


def choose(graph: Graph, wish: Wish, progress: Callable[[int], None] = silent) -> Iterator[Scheduled]:
    """Operators and plans within the budget, best first: the fastest that fits, unless the least RAM is asked for.

    The caller takes the first that serves it: what C and stack they need is not known here. Raises BudgetError where
    nothing fits, CompileError for what cannot be scheduled.
    """
    if wish.optimize == "speed" and wish.ram is None:
        variants = Variants(graph)
        fastest = variants.apply(variants.fastest())
        yield Scheduled(fastest, wish.plan(fastest), 1, variants.count)
        return
    if wish.mode == "layer":
        yield Scheduled(graph, wish.plan(graph), 1, Variants(graph).count)
        return
    search = Search(graph, Options(wish.input_mode, wish.output_mode, wish.sliding), progress)
    failure: BudgetError | None = None
    fits = False
    for group in _in_turn(search, wish):
        found: list[Scheduled] = []
        for candidate in group:
            try:
                plan = wish.plan(candidate.graph)
            except BudgetError as error:
                failure = error
            else:
                found.append(Scheduled(candidate.graph, plan, search.judged, search.variants.count))
        if found:
            fits = True
            yield min(found, key=lambda scheduled: scheduled.plan.arena)
    if failure is not None and not fits:
        raise failure


def front(graph: Graph, wish: Wish, progress: Callable[[int], None] = silent) -> Iterator[Scheduled]:
    """Plans from the fastest to the smallest, each smaller than the one before it."""
    search = Search(graph, Options(wish.input_mode, wish.output_mode, wish.sliding), progress)
    smallest: int | None = None
    for candidate in walk.front(search):
        plan = wish.plan(candidate.graph)
        if smallest is None or plan.arena < smallest:
            smallest = plan.arena
            yield Scheduled(candidate.graph, plan, search.judged, search.variants.count)


def _in_turn(search: Search, wish: Wish) -> Iterator[tuple[Candidate, ...]]:
    """Configurations to try until one fits, best first, in groups of which a placement tells what is smallest."""
    if wish.optimize == "ram" or wish.ram is None:
        if wish.optimize != "ram":
            yield (search.leanest("once"),)
        yield search.leanest("ram"), search.frugal("ram")
        return
    budget = wish.ram - wish.reserved
    yield (search.candidate(search.variants.fastest()),)
    yield (search.leanest("speed"),)
    yield from ((search.within(int(budget * part)),) for part in SQUEEZES)
    tight = [item for item in walk.front(search) if budget < item.peak <= budget * HOPE]
    fitting = [item for item in search.known() if item.peak <= budget]
    yield from ((item,) for item in sorted((*tight, *fitting), key=lambda item: item.extra_cycles))
    yield (search.frugal("ram"),)
