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
from rnnc.scheduler.segments import Costs, Footprints, Options
from rnnc.scheduler.variants import Choice, Variants, all_cycles, by_gain, extra_cycles, extra_macs

Effort = Literal["speed", "once", "ram"]
"""What may be paid for RAM: nothing; slower kernels, but no MAC done twice; anything."""

SLACK = {"speed": 0.0, "once": 1 / 100, "ram": 0.0}
"""Part of the least RAM that may be given back for speed: the last bytes cost the most cycles by far."""


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


Key = tuple[tuple[str, int], ...]
"""The options in force, by node."""

WORTH_A_LOOK = 1 / 500
"""Part of all cycles that another option has to save."""


class Search:
    """Configurations of one graph; what has been evaluated is remembered."""

    def __init__(self, graph: Graph, options: Options, progress: Callable[[int], None] = silent) -> None:
        """``progress`` is told how many configurations were judged."""
        self.variants, self.options, self.progress = Variants(graph), options, progress
        self._memo: Footprints = {}
        self._known: dict[Key, Judged] = {}
        self._too_live: dict[Key, int] = {}
        self._starts: dict[bool, dict[str, int]] = {}
        self._cycles = all_cycles(graph)

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
        key = self._key(choice)
        if key not in self._known:
            self._known[key] = self._best(self._drafts(choice))
            self.progress(self.judged)
        return self._known[key]

    def fits(self, choice: Choice, peak: int, live: int) -> bool:
        """Whether both sizes of a configuration are within these budgets; of one that is not, that is all that is
        found out. One that just fits may be refused: stages are counted with whole tensors between them."""
        key = self._key(choice)
        if key not in self._known:
            if self._too_live.get(key, -1) >= live:
                return False
            drafts = self._drafts(choice, live)
            if not drafts:
                self._too_live[key] = live
                self.progress(self.judged)
                return False
            self._known[key] = self._best(drafts, peak)
            self.progress(self.judged)
        return self._known[key].peak <= peak and self._known[key].live <= live

    def _key(self, choice: Choice) -> Key:
        return tuple((name, choice[name]) for name in self.variants.in_force(choice))

    def _drafts(self, choice: Choice, limit: int | None = None) -> list[Draft]:
        network = Network(self.variants.apply(choice))
        return drafts_of(network, [range(len(network.tasks))], self.options, self._memo, limit)

    @staticmethod
    def _best(drafts: list[Draft], enough: int = 0) -> Judged:
        drafts.sort(key=lambda item: item.live_peak)
        best, chosen = 2**62, drafts[0]
        for item in drafts:
            if item.live_peak < best and (size := quick_size(item.parts, enough)) < best:
                best, chosen = size, item
        return _judged(chosen, best, drafts[0].live_peak)

    @property
    def judged(self) -> int:
        """How many configurations were judged so far."""
        return len(self._known) + len(self._too_live.keys() - self._known.keys())

    def known(self) -> Iterator[Candidate]:
        """All configurations that were judged."""
        return (self.candidate(dict(key)) for key in list(self._known))

    def candidate(self, choice: Choice) -> Candidate:
        extra = extra_macs(self.variants, choice), extra_cycles(self.variants, choice)
        return Candidate(self.variants.apply(choice), choice, self.peak(choice), *extra)

    def leanest(self, effort: Effort) -> Candidate:
        """The configuration of least peak that was found, fast wherever that costs nothing, or as little as SLACK.

        Making rows again is tried after keeping them, as it does not always need less.
        """
        found = self.candidate({})
        for recompute in {"speed": (), "once": (False,), "ram": (False, True)}[effort]:
            start = self._start(recompute)
            if self.peak(start) < found.peak:
                peak, live = (int(size * (1 + SLACK[effort])) for size in self.sizes(start))
                found = self.candidate(self._relax(start, peak, live))
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
        """``start`` made faster within budgets of both sizes: as given where possible, groups of nodes first, then
        each node step by step, until nothing changes."""
        choice = dict(start)

        def attempt(changes: Choice) -> bool:
            if self.fits({**choice, **changes}, budget, live_budget):
                choice.update(changes)
                return True
            return False

        def visit(group: Sequence[str]) -> None:
            if attempt(dict.fromkeys(group, 0)) or len(group) == 1:
                return
            half = (len(group) + 1) // 2
            visit(group[:half])
            visit(group[half:])

        names = by_gain(self.variants, [name for name, index in start.items() if index])
        if names:
            visit(names)

        def climb(name: str) -> bool:
            """Whether any step was made; of a kind of operator none is tried beyond one that has too much in use."""
            before = choice[name]
            too_much: set[str] = set()
            for index in self._faster(name, before):
                kind = self.variants.options[name][index].op.name
                if kind in too_much or attempt({name: index}):
                    continue
                if not self.fits({**choice, name: index}, 2**62, live_budget):
                    too_much.add(kind)
            return choice[name] != before

        while sum(climb(name) for name in names):
            pass
        return choice

    def _faster(self, name: str, chosen: int) -> list[int]:
        """The options that save a part of all cycles that is worth a look and compute no more, the slowest first."""
        options = self.variants.options[name]
        most = options[chosen].extra_cycles - self._cycles * WORTH_A_LOOK
        return sorted(
            (
                index
                for index, option in enumerate(options)
                if index and option.extra_cycles < most and option.extra_macs <= options[chosen].extra_macs
            ),
            key=lambda index: -options[index].extra_cycles,
        )


def _judged(draft: Draft, peak: int, live: int) -> Judged:
    tasks = draft.network.tasks
    stages = tuple(tuple(tasks[index].node.name for index in piece.tasks) for piece in draft.pieces)
    fullest = int(draft.execution.task[int(draft.live.argmax())])
    return Judged(peak, live, stages, next(at for at, piece in enumerate(draft.pieces) if fullest in piece.tasks))


def drafts_of(
    network: Network,
    orders: Sequence[Sequence[int]],
    options: Options,
    memo: Footprints | None = None,
    limit: int | None = None,
) -> list[Draft]:
    """The best stages along each order, each once, under both views of a ring; one that slides needs just one, as what
    is free of it can be used. None where more than ``limit`` bytes would be in use."""
    stages = {
        tuple(cut_rows(network, order, Costs(network, options, full, memo), None if full else limit)): None
        for full in ((False,) if options.sliding else (False, True))
        for order in orders
    }
    return [draft(network, "rows", item, options) for item in stages if item]
