"""From the fastest configuration to the smallest: what RAM costs in MACs, step by step.

Behind the leanest configuration that computes nothing twice each step changes operators of the stage that sets the
peak, since only there a byte can be saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rnnc.scheduler.search import SLACK, Candidate, Judged, Search
from rnnc.scheduler.variants import Choice, by_gain, extra_macs, smaller


def walk(search: Search) -> Iterator[Candidate]:
    """Configurations of less and less RAM, each with no fewer MACs than the one before."""
    yield search.candidate({})
    step: Choice | None = search.leanest("once").choice
    while step is not None:
        yield search.candidate(step)
        step = _step(search, step)


def front(search: Search) -> list[Candidate]:
    """Configurations from the fewest MACs to the least RAM, of all that were judged on the walk, of its steps without
    one of the nodes that they pay for, and on the way to the least RAM: those that none beats in both, or what is
    faster and needs hardly more RAM. Those with more RAM and more cycles than another are left out."""
    once = search.leanest("once").choice
    for candidate in walk(search):
        for name, option in search.variants.in_force(candidate.choice).items():
            if option.extra_macs > 0:
                search.judge({**candidate.choice, name: once.get(name, 0)})
    search.leanest("ram")
    known = sorted(search.known(), key=lambda item: (item.peak, item.extra_macs))
    result: list[Candidate] = []
    for candidate in known:
        if not result or candidate.extra_macs < result[-1].extra_macs:
            result.append(candidate)
    kept: list[Candidate] = []
    for candidate in (_faster(candidate, known) for candidate in result):
        if not kept or candidate.extra_cycles < kept[-1].extra_cycles:
            kept.append(candidate)
    return kept[::-1]


def _faster(than: Candidate, known: Sequence[Candidate]) -> Candidate:
    enough = than.peak * (1 + SLACK["once"])
    alike = (item for item in known if item.peak <= enough and item.extra_macs <= than.extra_macs)
    return min(alike, key=lambda item: item.extra_cycles)


def _step(search: Search, choice: Choice) -> Choice | None:
    """The change of one node of the tight stage that saves the most bytes per MAC; where none saves any, the leanest
    operators of it and of stages beside it, as few as will do, without those that prove needless."""
    here = search.judge(choice)
    paid = extra_macs(search.variants, choice)

    def gain(trial: Choice) -> float:
        return (here.peak - search.peak(trial)) / max(extra_macs(search.variants, trial) - paid, 1)

    trials: list[Choice] = [
        {**choice, name: index}
        for name in here.stages[here.tight]
        for index in smaller(search.variants, name, choice.get(name, 0))
    ]
    best = max(trials, key=gain, default=choice)
    if search.peak(best) < here.peak:
        return best
    lean = search.frugal("ram").choice
    for names in _around(here):
        trial = {**choice, **{name: lean[name] for name in names if name in lean}}
        if search.peak(trial) < here.peak:
            return _given_back(search, trial, choice)
    return None


def _around(judged: Judged) -> Iterator[list[str]]:
    """The nodes of the tight stage and of more and more stages behind it, before it, and on both sides."""
    for reach in range(1, len(judged.stages)):
        for before, behind in ((0, reach), (reach, 0), (reach, reach)):
            chosen = judged.stages[max(judged.tight - before, 0) : judged.tight + behind + 1]
            yield [name for stage in chosen for name in stage]


def _given_back(search: Search, choice: Choice, before: Choice) -> Choice:
    """A choice with those of its changes undone that save nothing, the most expensive first."""
    changed = [name for name, index in choice.items() if index != before.get(name, 0)]
    for name in by_gain(search.variants, changed):
        trial = {**choice, name: before.get(name, 0)}
        if search.peak(trial) <= search.peak(choice):
            choice = trial
    return choice
