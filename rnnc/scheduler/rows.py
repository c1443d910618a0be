"""Row by row: runs of consecutive operators as stages, cut where that needs the least memory.

Over a topological order of the operators, the best cut points are the path from the first boundary to the last
whose most expensive stage is cheapest. A stage costs at least what is in memory at its two ends, so that the
search executes only the stages that could matter.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from rnnc.scheduler.execution import Network
from rnnc.scheduler.segments import Costs, mask_of


def cut_rows(network: Network, order: Sequence[int], costs: Costs, limit: int | None = None) -> list[tuple[int, ...]]:
    """Stages (task numbers, in this order) whose largest peak is minimal among all cuts of ``order``; none if that is
    more than ``limit``, which is found out sooner."""
    count = len(order)
    finished = [mask_of(order[:cut]) for cut in range(count + 1)]
    boundary = [costs.boundary(done) for done in finished]
    # (cost, -end, start, end): among equals, what is furthest along first
    queue: list[tuple[int, int, int, int]] = [(boundary[0], 0, 0, 0)]
    came_from: dict[int, int] = {}
    settled: set[int] = set()
    exact: dict[tuple[int, int], int] = {}
    while queue:
        cost, _, start, end = heapq.heappop(queue)
        if end in settled:
            continue
        if limit is not None and cost > limit:
            return []
        if end and (start, end) not in exact:
            exact[start, end] = costs.of(order[start:end], finished[start])
            heapq.heappush(queue, (max(cost, exact[start, end]), -end, start, end))
            continue
        settled.add(end)
        came_from[end] = start
        if end == count:
            break
        for further in range(end + 1, count + 1):
            if further not in settled:
                heapq.heappush(queue, (max(cost, boundary[end], boundary[further]), -further, end, further))
    return _stages(order, came_from)


def _stages(order: Sequence[int], came_from: dict[int, int]) -> list[tuple[int, ...]]:
    stages: list[tuple[int, ...]] = []
    end = len(order)
    while end:
        stages.append(tuple(order[came_from[end] : end]))
        end = came_from[end]
    return stages[::-1]
