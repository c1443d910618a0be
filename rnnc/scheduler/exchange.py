"""Other kinds of operators in place of the leanest: which of them needs least depends on what else reads the rows.

The last option of a node is the leanest for itself. But heads that keep sums of their outputs, for one, need no rows of
an input that is held for somebody else anyway. So for all nodes that read one value each kind of operator is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rnnc.scheduler.variants import Choice, Variants

Judge = Callable[[Choice], tuple[int, int]]
"""Bytes that a choice needs, in two estimates; less is better."""


def exchanged(variants: Variants, choice: Choice, judge: Judge) -> dict[str, int]:
    """``choice`` with other kinds of operators wherever neither estimate gets worse by it and one gets better."""
    best = dict(choice)
    size = judge(best)
    for change in _changes(variants, choice):
        trial = {**best, **change}
        reached = judge(trial)
        if reached != size and all(now <= before for now, before in zip(reached, size, strict=True)):
            best, size = trial, reached
    return best


def _changes(variants: Variants, choice: Choice) -> Iterator[dict[str, int]]:
    """For the nodes that read one value: of each other kind the last options before the chosen ones."""
    readers: dict[str, list[str]] = {}
    for node in variants.graph.nodes:
        if choice.get(node.name, 0):
            readers.setdefault(node.inputs[0].name, []).append(node.name)
    for names in readers.values():
        if len(names) > 1:
            kinds = [_last_of_kind(variants, name, choice[name]) for name in names]
            for kind in dict.fromkeys(kind for found in kinds for kind in found):
                yield {name: found[kind] for name, found in zip(names, kinds, strict=True) if kind in found}


def _last_of_kind(variants: Variants, name: str, chosen: int) -> dict[str, int]:
    options = variants.options[name][:chosen]
    other = variants.options[name][chosen].op.name
    return {option.op.name: index for index, option in enumerate(options) if index and option.op.name != other}
