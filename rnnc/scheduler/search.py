"""The search for variants and stages: the least RAM, or the fewest extra MACs within a budget.

A configuration chooses an option for every node. Its peak is that of the best cuts into stages, so each is judged
with the schedule that it would get. The search starts from the leanest configuration and gives back what costs
nothing: options are made fast again, whole groups of nodes first, as long as the peak stays within the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnc.ir.graph import Graph
from rnnc.scheduler.assembly import Draft, draft
from rnnc.scheduler.exchange import exchanged
from rnnc.scheduler.execution import Network
from rnnc.scheduler.offsets import quick_size
from rnnc.scheduler.rows import cut_rows
from rnnc.scheduler.segments import Costs, Options, Peaks
from rnnc.scheduler.variants import Choice, Variants, by_gain, extra_cycles, extra_macs

Effort = Literal["speed", "once", "ram"]
"""What may be paid for RAM: nothing; slower kernels, but no MAC done twice; anything."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A configuration: ``graph`` is what remains to be scheduled, ``peak`` the bytes that it needs about,
    ``extra_macs`` and ``extra_cycles`` (an estimate) what it computes and takes beyond the graph it was made from."""

    graph: Graph
    choice: Choice
    peak: int
    extra_macs: int
    extra_cycles: int


@dataclass(frozen=True)
class Judged:
    """What a configuration needs: ``peak`` bytes, quickly placed, and ``live`` in use at the fullest step, which a
    better placement comes closer to. ``stages``: the nodes of each, of which number ``tight`` has that step."""

    peak: int
    live: int
    stages: tuple[tuple[str, ...], ...]
    tight: int


def silent(judged: int) -> None:
    """Nobody is told."""


class Search:
    """Configurations of one graph; what has been evaluated is remembered."""

    def __init__(self, graph: Graph, options: Options, progress: Callable[[int], None] = silent) -> None:
        """``progress`` is told how many configurations were judged."""
        self.variants, self.options, self.progress = Variants(graph), options, progress
        self._memo: Peaks = {}
        self._known: dict[tuple[tuple[str, int], ...], Judged] = {}
        self._starts: dict[bool, dict[str, int]] = {}

    @property
    def graph(self) -> Graph:
        """The graph as it was given."""
        return self.variants.graph

    def peak(self, choice: Choice) -> int:
        """Bytes that a configuration needs, quickly placed, with the best stages along the graph's own order."""
        return self.judge(choice).peak

    def sizes(self, choice: Choice) -> tuple[int, int]:
        """The same, and the bytes that are in use at the fullest step."""
        return self.judge(choice).peak, self.judge(choice).live

    def judge(self, choice: Choice) -> Judged:
        key = tuple((name, choice[name]) for name in self.variants.in_force(choice))
        if key not in self._known:
            network = Network(self.variants.apply(choice))
            drafts = drafts_of(network, [range(len(network.tasks))], self.options, self._memo)
            drafts.sort(key=lambda item: item.live_peak)
            best, chosen = 2**62, drafts[0]
            for item in drafts:
                if item.live_peak < best and (size := quick_size(item.parts, item.live_peak)) < best:
                    best, chosen = size, item
            self._known[key] = _judged(chosen, best, drafts[0].live_peak)
            self.progress(len(self._known))
        return self._known[key]

    @property
    def judged(self) -> int:
        """How many configurations were judged so far."""
        return len(self._known)

    def known(self) -> Iterator[Candidate]:
        """All configurations that were judged."""
        return (self.candidate(dict(key)) for key in list(self._known))

    def candidate(self, choice: Choice) -> Candidate:
        extra = extra_macs(self.variants, choice), extra_cycles(self.variants, choice)
        return Candidate(self.variants.apply(choice), choice, self.peak(choice), *extra)

    def leanest(self, effort: Effort) -> Candidate:
        """The configuration of least peak that was found, fast wherever that costs nothing.

        Making rows again is tried after keeping them, as it does not always need less.
        """
        found = self.candidate({})
        for recompute in {"speed": (), "once": (False,), "ram": (False, True)}[effort]:
            start = self._start(recompute)
            if self.peak(start) < found.peak:
                found = self.candidate(self._relax(start, *self.sizes(start)))
        return found

    def frugal(self, effort: Effort) -> Candidate:
        """The leanest operators, whatever they cost."""
        return self.candidate(self._start(recompute=effort == "ram") if effort != "speed" else {})

    def within(self, budget: int) -> Candidate:
        """The fastest configuration found that computes nothing twice and whose peak is at most ``budget``; the
        leanest such if none is."""
        start = self._start(recompute=False)
        budget = max(budget, self.peak(start))
        return self.candidate({} if self.peak({}) <= budget else self._relax(start, budget))

    def _start(self, recompute: bool) -> dict[str, int]:
        """The leanest configuration."""
        if recompute not in self._starts:
            frugal = self.variants.frugal(recompute)
            self._starts[recompute] = exchanged(self.variants, frugal, self.sizes)
        return self._starts[recompute]

    def _relax(self, start: dict[str, int], budget: int, live_budget: int = 2**62) -> dict[str, int]:
        choice = dict(start)
        names = by_gain(self.variants, [name for name, index in start.items() if index])

        def attempt(group: Sequence[str], index: int) -> bool:
            trial = {**choice, **{name: min(index, start[name]) for name in group}}
            peak, live = self.sizes(trial)
            if peak > budget or live > live_budget:
                return False
            choice.update(trial)
            return True

        def fastest_that_fits(group: Sequence[str]) -> None:
            """By halving: what is leaner is taken to need less."""
            low, high = 1, start[group[0]]
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if attempt(group, middle) else (middle + 1, high)

        def visit(group: Sequence[str]) -> None:
            if attempt(group, 0):
                return
            if len(group) == 1:
                fastest_that_fits(group)
                return
            half = (len(group) + 1) // 2
            visit(group[:half])
            visit(group[half:])

        if names:
            visit(names)
        return choice


def _judged(draft: Draft, peak: int, live: int) -> Judged:
    tasks = draft.network.tasks
    stages = tuple(tuple(tasks[index].node.name for index in piece.tasks) for piece in draft.pieces)
    fullest = int(draft.execution.task[int(draft.live.argmax())])
    return Judged(peak, live, stages, next(at for at, piece in enumerate(draft.pieces) if fullest in piece.tasks))


def drafts_of(
    network: Network, orders: Sequence[Sequence[int]], options: Options, memo: Peaks | None = None
) -> list[Draft]:
    """The best stages along each order, each once, under both views of a ring; one that slides needs just one, as what
    is free of it can be used."""
    stages = {
        tuple(cut_rows(network, order, Costs(network, options, full, memo))): None
        for full in ((False,) if options.sliding else (False, True))
        for order in orders
    }
    return [draft(network, "rows", item, options) for item in stages]
