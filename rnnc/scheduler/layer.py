"""Layer by layer: every operator a stage of its own, in the order that needs the least memory.

The search goes over sets of finished operators, cheapest peak first, each step costed by the real order of its
jobs, so that an output that grows into its dying input is seen.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from rnnc.scheduler.execution import Network
from rnnc.scheduler.segments import Costs, Options, mask_of

MAX_STATES = 3000


def layer_order(network: Network, options: Options) -> list[int]:
    """All tasks in a topological order of small peak: the smallest if the search ends within MAX_STATES sets of
    finished tasks, else completed greedily from the best of them."""
    return _Search(network, Costs(network, options)).run()


class _Search:
    """Sets of finished tasks are bit masks."""

    def __init__(self, network: Network, costs: Costs) -> None:
        self.network, self.costs = network, costs
        self.full = (1 << len(network.tasks)) - 1
        self.before = [mask_of(list(network.predecessors(index))) for index in range(len(network.tasks))]

    def run(self) -> list[int]:
        start: tuple[int, int, int] = (0, 0, 0)
        queue = [start]
        cost_of = {0: 0}
        came_from: dict[int, tuple[int, int]] = {}
        expanded: set[int] = set()
        while queue:
            cost, _, done = heapq.heappop(queue)
            if done == self.full:
                return _path(came_from, done)
            if done in expanded:
                continue
            if len(expanded) >= MAX_STATES:
                return _path(came_from, done) + self._greedy(done)
            expanded.add(done)
            for task in self._ready(done):
                after = done | 1 << task
                reached = max(cost, self.costs.of((task,), done))
                if reached < cost_of.get(after, reached + 1):
                    cost_of[after] = reached
                    came_from[after] = done, task
                    heapq.heappush(queue, (reached, -after.bit_count(), after))
        return []

    def _ready(self, done: int) -> Iterator[int]:
        for task, before in enumerate(self.before):
            if not done >> task & 1 and before & ~done == 0:
                yield task

    def _greedy(self, done: int) -> list[int]:
        order: list[int] = []
        while done != self.full:
            task = min(self._ready(done), key=lambda index: (self.costs.of((index,), done), index))
            order.append(task)
            done |= 1 << task
        return order


def _path(came_from: dict[int, tuple[int, int]], done: int) -> list[int]:
    order: list[int] = []
    while done in came_from:
        done, task = came_from[done]
        order.append(task)
    return order[::-1]
