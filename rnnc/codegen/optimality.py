"""What is known about how good a plan is: which choices were exact, which were not, and what a better plan would save.

The space has four layers: the operators, the order they come in, the cuts of it into stages, and the places of the
buffers. The report says of each whether it was searched in full, and never more than that.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from rnnc.scheduler.choose import Scheduled
from rnnc.scheduler.execution import Network


def optimality(scheduled: Scheduled, bound: int) -> dict[str, Any]:
    """For the report; ``bound``: bytes that no one-pass schedule can do without."""
    plan = scheduled.plan
    return {
        "least_live": plan.least_live,
        "placement_gap": plan.arena - plan.live_peak,
        "space_gap": plan.arena - plan.least_live,
        "configurations": {"judged": scheduled.judged, "possible": scheduled.possible},
        "statements": [_stages(scheduled), _placement(scheduled), _space(scheduled), _operators(scheduled)]
        + ([_bound(plan.arena, bound)] if bound else []),
    }


def _stages(scheduled: Scheduled) -> str:
    plan = scheduled.plan
    if plan.schedule == "layer" and plan.live_peak == plan.least_live:
        return (
            f"Stages: layer by layer, at most {plan.live_peak:,} bytes in use at once; no other stages that were "
            "compared need less."
        )
    return (
        f"Stages: with these operators, along {_orders(scheduled)}, no choice of cuts has less than "
        f"{plan.least_live:,} bytes in use at its fullest step (exact: dynamic programming over all cuts, a tensor "
        "that crosses one counted whole)."
    )


def _orders(scheduled: Scheduled) -> str:
    return "the only order they can run in" if only_order(scheduled) else "the orders tried (not all there are)"


def only_order(scheduled: Scheduled) -> bool:
    """Whether the operators have one topological order, each reading what the one before it makes."""
    network = Network(scheduled.graph)
    return all(before in network.predecessors(task) for before, task in pairwise(range(len(network.tasks))))


def _placement(scheduled: Scheduled) -> str:
    plan = scheduled.plan
    gap = plan.arena - plan.live_peak
    if not gap:
        return "Placement: optimal; the arena has no byte more than the fullest step uses."
    return (
        f"Placement: the arena has {gap:,} bytes ({_percent(gap, plan.live_peak)}) more than the fullest step uses; "
        "whether these buffers can lie closer is not known."
    )


def _space(scheduled: Scheduled) -> str:
    plan = scheduled.plan
    gap = plan.arena - plan.least_live
    where = "with these operators" if only_order(scheduled) else "with these operators in these orders"
    if not gap:
        return f"Together: optimal {where}."
    return f"Together: at most {gap:,} bytes ({_percent(gap, plan.least_live)}) above the best plan {where}."


def _operators(scheduled: Scheduled) -> str:
    judged, possible = scheduled.judged, scheduled.possible
    if possible == 1:
        return "Operators: there are no others to choose from."
    if judged == 1:
        return "Operators: those of the graph; leaner ones were not asked for."
    return (
        f"Operators: {judged:,} of {_count(possible)} configurations were judged, by a heuristic; whether another one "
        "needs less is not known."
    )


def _bound(arena: int, bound: int) -> str:
    if arena == bound:
        return "Any schedule: optimal; no one-pass schedule can do with less."
    return (
        f"Any schedule: none that reads its input once can do with less than {bound:,} bytes; the arena has "
        f"{_percent(arena - bound, bound)} more."
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "all of it"


def _count(number: int) -> str:
    return f"{number:,}" if number < 10**7 else f"about 10^{len(str(number)) - 1}"
