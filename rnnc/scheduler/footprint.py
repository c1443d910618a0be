"""What a stage needs at its fullest step, for any scratch and state of its operators.

When jobs run and rows live follows from what operators read, not from how they work inside. So of a stage that was
executed once the most bytes of rows are kept, by the task that runs and by which others have begun and not ended: the
search asks for many kinds of operators that read the same rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnc.scheduler.execution import Execution, Network, Steps
from rnnc.scheduler.lifetimes import Extent, rows_in_use, steps_of_tasks

Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Footprint:
    """``exact`` and ``full`` [n]: the most bytes of rows, counted exactly and with rings as full, while job of
    ``task`` [n] runs in ``phase`` [n]; ``active`` [phases, tasks]: whose state there is in a phase.

    Tasks are numbered as in the stage.
    """

    exact: Extent
    full: Extent
    task: Extent
    phase: Extent
    active: Matrix

    def peaks(self, scratch: Extent, state: Extent) -> tuple[int, int]:
        """Bytes in use at the fullest step, exactly and with full rings; ``scratch`` and ``state`` [tasks]."""
        beside = (self.active @ state)[self.phase] + scratch[self.task]
        return int((self.exact + beside).max()), int((self.full + beside).max())


def footprint(
    network: Network, execution: Execution, held: Collection[int], values: Collection[int], sliding: bool
) -> Footprint:
    """Of a stage; ``held``, ``values`` and ``sliding`` as in `lifetimes.blocks`."""
    tasks = steps_of_tasks(execution)
    exact, full = rows_in_use(network, execution, tasks, held, values, sliding)
    spans = [(steps[0], steps[-1] + 1) for steps in tasks.values()]
    edges = np.unique(np.array(spans, np.int64))
    active = np.array([[first <= edge < end for first, end in spans] for edge in edges], np.int64)
    step_task, step_phase = _by_step(tasks, edges, execution.steps)
    keys, group = np.unique(step_phase * len(tasks) + step_task, return_inverse=True)
    return Footprint(
        _most(exact, group, len(keys)), _most(full, group, len(keys)), keys % len(tasks), keys // len(tasks), active
    )


def _most(values: Extent, group: Extent, groups: int) -> Extent:
    result = np.zeros(groups, np.int64)
    np.maximum.at(result, group, values)
    return result


def _by_step(tasks: dict[int, Steps], edges: Extent, count: int) -> tuple[Extent, Extent]:
    """The task of each step, by its place in the stage, and the step's phase."""
    task = np.zeros(count, np.int64)
    for place, steps in enumerate(tasks.values()):
        task[steps] = place
    return task, np.searchsorted(edges, np.arange(count), side="right") - 1
