"""What operators cost on a Cortex-M4: how often the loops of their kernels run, times what a pass takes.

The times are in costs.json, in cycles, by kernel and step. scripts/calibrate_costs.py fits them to profiles, so they
belong to the kernels as they were then, and to memory without wait states (docs/profiling.md).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("costs.json")

ANY = "any"
"""The entry that stands for kernels that were never measured: steps as `IntOp.work` counts them by default."""


@dataclass(frozen=True, eq=False)
class Work:
    """How often each step of a kernel's loops runs."""

    kernel: str
    counts: Mapping[str, int]

    def times(self, repeated: int) -> Work:
        """The same work, done again and again."""
        return Work(self.kernel, {step: count * repeated for step, count in self.counts.items()})


@cache
def table() -> dict[str, dict[str, float]]:
    """Cycles by kernel and step."""
    costs: dict[str, dict[str, float]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return costs


def is_measured(work: Iterable[Work]) -> bool:
    """Whether the table knows all kernels that take part."""
    return all(part.kernel in table() for part in work)


def cycles(work: Iterable[Work]) -> int:
    """Estimated cycles of all of it. A step that the table does not have costs nothing."""
    total = 0.0
    for part in work:
        costs = table().get(part.kernel) or table()[ANY]
        total += sum(costs.get(step, 0.0) * count for step, count in part.counts.items())
    return round(total)


def summed(work: Iterable[Work]) -> Counter[tuple[str, str]]:
    """Counts by kernel and step."""
    total: Counter[tuple[str, str]] = Counter()
    for part in work:
        total.update({(part.kernel, step): count for step, count in part.counts.items()})
    return total
