"""Where each block lies: offsets in one or two memory banks that keep the peak low.

The bytes of a block that are in use change over time (`lifetimes.Block`), so two blocks may overlap as long as no
byte is in use by both at the same step: an output can grow into the space that its input leaves (Claim 4).
All searches are bounded by counts, never by a clock, so that a plan is the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rnnc.scheduler.lifetimes import Block
from rnnc.scheduler.plan import ALIGN

Matrix = npt.NDArray[np.int64]

Solution = tuple[list[int], list[int], int]
"""Order of placement, offsets, peak."""

Gaps = list[list[tuple[int, int, int]]]
"""By block: each other block that it may clash with, how far below that it has to begin, and how far above."""

APART = -(2**40)
"""Distance of two blocks that are never in use at the same time."""

EXACT_BLOCKS = 8
EXACT_NODES = 20_000
ROUNDS, QUICK_ROUNDS = 1200, 120
STALE = 30
SHUFFLES = 100


@dataclass(frozen=True)
class Placement:
    """``offset`` and ``bank`` by block, ``sizes``: the bytes used in each bank."""

    offset: tuple[int, ...]
    bank: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.sizes)


def distances(parts: Sequence[Block]) -> Matrix:
    """D[a, b]: b is clear above a if offset[b] >= offset[a] + D[a, b]. A multiple of ALIGN, APART if the two are
    never in use together; less than the size of a where a grows into b."""
    count = len(parts)
    result = np.full((count, count), APART, np.int64)
    used = [part.low < part.high for part in parts]
    for a in range(count):
        for b in range(a + 1, count):
            one, two = parts[a], parts[b]
            begin, end = max(one.first, two.first), min(one.last, two.last) + 1
            if begin >= end:
                continue
            first = slice(begin - one.first, end - one.first)
            second = slice(begin - two.first, end - two.first)
            both = used[a][first] & used[b][second]
            if both.any():
                result[a, b] = _aligned(int((one.high[first] - two.low[second])[both].max()))
                result[b, a] = _aligned(int((two.high[second] - one.low[first])[both].max()))
    return result


@dataclass(frozen=True, eq=False)
class _Problem:
    """Blocks to be placed: their sizes and gaps, as numbers, the bytes that no placement is below, and those of which
    a placement is good enough."""

    parts: Sequence[Block]
    sizes: list[int]
    gaps: Gaps
    bound: int
    goal: int

    @classmethod
    def of(cls, parts: Sequence[Block], enough: int = 0) -> _Problem:
        matrix = distances(parts)
        near = [np.flatnonzero(row > APART).tolist() for row in matrix]
        gaps = [[(b, int(matrix[a, b]), int(matrix[b, a])) for b in others] for a, others in enumerate(near)]
        bound = _bound(parts)
        return cls(parts, [_aligned(part.size) for part in parts], gaps, bound, max(bound, enough))

    @cached_property
    def turned(self) -> _Problem:
        """The same for offsets counted from the top, top - offset - size: what was above is below."""
        sizes = self.sizes
        gaps = [
            [(b, above + sizes[a] - sizes[b], below + sizes[b] - sizes[a]) for b, below, above in found]
            for a, found in enumerate(self.gaps)
        ]
        return replace(self, gaps=gaps)

    def first_fit(self, order: Sequence[int]) -> Solution:
        """Each block in turn at the lowest offset at which it is clear of those before it."""
        offset: list[int | None] = [None] * len(order)
        peak = 0
        for block in order:
            offset[block] = at = _lowest(self.gaps[block], offset)
            peak = max(peak, at + self.sizes[block])
        return list(order), [at or 0 for at in offset], peak

    def in_orders(self) -> Solution:
        """The best of the orders in which first fit does well."""
        return min((self.first_fit(order) for order in _orders(self.parts)), key=lambda solution: solution[2])


def _lowest(gaps: Sequence[tuple[int, int, int]], offset: Sequence[int | None]) -> int:
    """The lowest offset at which a block with these gaps is clear of all placed ones."""
    taken: list[tuple[int, int]] = []
    for other, below, above in gaps:
        there = offset[other]
        if there is not None:
            taken.append((there - below, there + above))
    taken.sort()
    position = 0
    for low, high in taken:
        if position <= low:
            break
        position = max(position, high)
    return position


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def pack(parts: Sequence[Block], capacities: Sequence[int | None], input_bank: int = 0) -> Placement:
    """Offsets for all blocks: in the first bank alone if they fit, else with blocks moved to the other banks.

    A capacity of None is unlimited. Graph inputs stay in ``input_bank``, which a peripheral can write to. If no
    placement is found that fits, the smallest one in a single bank is returned.
    """
    problem = _Problem.of(parts)
    offset, peak = _single(problem, ROUNDS, ROUNDS)
    alone = Placement(tuple(offset), (0,) * len(parts), (peak, *(0 for _ in capacities[1:])))
    reachable = input_bank == 0 or not any(part.is_input for part in parts)
    if (capacities[0] is None or alone.total <= capacities[0]) and reachable:
        return alone
    spilled = [
        placement
        for turned in (False, True)
        for order in (*_orders(parts), *_shuffles(parts))
        if (placement := _pack_banks(problem, order, capacities, input_bank, turned)) is not None
    ]
    return min(spilled, key=lambda placement: placement.total, default=alone)


def quick_size(parts: Sequence[Block], enough: int = 0) -> int:
    """Bytes of a single bank: what `pack` reaches, or a little more; the first that was found of at most ``enough``."""
    return _single(_Problem.of(parts, enough), QUICK_ROUNDS, 0)[1]


def _shuffles(parts: Sequence[Block]) -> Iterator[list[int]]:
    """Orders near the one by size, the same ones every time."""
    chance = random.Random(len(parts))
    for _ in range(SHUFFLES):
        keys = [part.size * chance.uniform(0.5, 2.0) for part in parts]
        yield sorted(range(len(parts)), key=lambda i: -keys[i])


def _orders(parts: Sequence[Block]) -> Iterator[list[int]]:
    """Orders in which a first-fit placement does well."""
    every = range(len(parts))
    area = [int((part.high - part.low).sum()) for part in parts]
    yield sorted(every, key=lambda i: (-parts[i].size, parts[i].first, i))
    yield sorted(every, key=lambda i: (-area[i], i))
    yield sorted(every, key=lambda i: (-len(parts[i].low), -parts[i].size, i))
    yield sorted(every, key=lambda i: (parts[i].first, -parts[i].size, i))
    yield sorted(every, key=lambda i: (-parts[i].last, -parts[i].size, i))


def _single(problem: _Problem, *rounds: int) -> tuple[list[int], int]:
    """Offsets and peak of the best placement found from the bottom up or, mirrored, from the top down."""
    _, offset, peak = _search(problem, *rounds)
    if peak > problem.goal:
        _, downward, reached = _search(problem.turned, *rounds)
        if reached < peak:
            return [reached - at - size for at, size in zip(downward, problem.sizes, strict=True)], reached
    return offset, peak


def _search(problem: _Problem, squeaks: int, moves: int) -> Solution:
    """First fit in several orders, then exhaustively for few blocks, by so many steps of local search for many."""
    best = problem.in_orders()
    if best[2] <= problem.goal:
        return best
    if len(problem.parts) <= EXACT_BLOCKS:
        return _Exact(problem, best).search()
    return _anneal(problem, moves, _squeak(problem, squeaks, best))


def _bound(parts: Sequence[Block]) -> int:
    """Live bytes of the fullest step: no placement needs less."""
    end = max((part.last for part in parts), default=0) + 1
    total = np.zeros(end, np.int64)
    for part in parts:
        total[part.first : part.last + 1] += part.high - part.low
    return int(total.max(initial=0))


def _squeak(problem: _Problem, rounds: int, best: Solution) -> Solution:
    """Squeaky wheel optimisation (Joslin and Clements, 1999): a block that ends too high is placed earlier the next
    time. From each of the usual orders, then from the best one shaken."""
    count = len(problem.sizes)
    chance = random.Random(count)  # the same steps every time
    starts = list(_orders(problem.parts))
    done = 0
    while done < rounds and best[2] > problem.goal:
        shake = 0.0 if starts else 0.3 * count
        order = starts.pop(0) if starts else best[0]
        urgency = [0.0] * count
        for position, block in enumerate(order):
            urgency[block] = chance.uniform(-shake, shake) - position
        local, stale = 2**62, 0
        while done < rounds and stale < STALE and best[2] > problem.goal:
            found = problem.first_fit(sorted(range(count), key=lambda block: -urgency[block]))
            done, stale = done + 1, stale + 1
            if found[2] < local:
                local, stale = found[2], 0
            if found[2] < best[2]:
                best = found
            for block, (at, size) in enumerate(zip(found[1], problem.sizes, strict=True)):
                over = at + size > problem.bound
                if at + size >= best[2] or (over and chance.random() < 0.5):
                    urgency[block] += count * chance.uniform(0.05, 0.4)
    return best


def _anneal(problem: _Problem, rounds: int, start: Solution) -> Solution:
    """Threshold accepting over orders: move a block that reaches the peak or shares a step with one that does, or
    exchange two; changes that cost less than a shrinking threshold are kept."""
    chance = random.Random(len(problem.parts))  # the same moves every time
    best = current = start
    for done in range(rounds):
        threshold = problem.bound * (rounds - done) // rounds // 50
        changed = problem.first_fit(_changed(problem, current, chance))
        if changed[2] <= current[2] + threshold:
            current = changed
        if changed[2] < best[2]:
            best = changed
        if best[2] <= problem.goal:
            break
    return best


def _changed(problem: _Problem, current: Solution, chance: random.Random) -> list[int]:
    order, offset, peak = current
    changed = list(order)
    if chance.random() < 0.5:
        top = [block for block in order if offset[block] + problem.sizes[block] == peak]
        block = chance.choice(top)
        if chance.random() < 0.5:
            block = chance.choice([other for other, _, _ in problem.gaps[block]] or top)
        changed.remove(block)
        changed.insert(chance.randrange(len(order)), block)
    else:
        one, two = chance.randrange(len(order)), chance.randrange(len(order))
        changed[one], changed[two] = changed[two], changed[one]
    return changed


class _Exact:
    """Depth-first search over all orders of placement, cut off at the best peak and after EXACT_NODES steps."""

    def __init__(self, problem: _Problem, start: Solution) -> None:
        self.problem, self.best = problem, start
        self.offset: list[int | None] = [None] * len(problem.parts)
        self.order: list[int] = []
        self.left = EXACT_NODES

    def search(self) -> Solution:
        self._visit(0)
        return self.best

    def _visit(self, peak: int) -> None:
        if peak >= self.best[2] or self.best[2] <= self.problem.goal or self.left == 0:
            return
        self.left -= 1
        if len(self.order) == len(self.offset):
            self.best = list(self.order), [at or 0 for at in self.offset], peak
            return
        for block, at in enumerate(self.offset):
            if at is None:
                lowest = _lowest(self.problem.gaps[block], self.offset)
                self.offset[block] = lowest
                self.order.append(block)
                self._visit(max(peak, lowest + self.problem.sizes[block]))
                self.order.pop()
                self.offset[block] = None


def _pack_banks(
    problem: _Problem, order: Sequence[int], capacities: Sequence[int | None], input_bank: int, turned: bool
) -> Placement | None:
    """First fit from the bottom, or (``turned``) from the top down, each block in the first bank that has room
    for it; None if one fits nowhere."""
    if turned:
        problem = problem.turned
    parts = problem.parts
    held: list[list[int | None]] = [[None] * len(parts) for _ in capacities]
    sizes = [0] * len(capacities)
    # inputs are bound to a bank, so they choose first
    for block in sorted(order, key=lambda i: not parts[i].is_input):
        banks = [input_bank] if parts[block].is_input else range(len(capacities))
        for bank in banks:
            offset = _lowest(problem.gaps[block], held[bank])
            top = offset + problem.sizes[block]
            capacity = capacities[bank]
            if capacity is None or top <= capacity:
                held[bank][block] = offset
                sizes[bank] = max(sizes[bank], top)
                break
        else:
            return None
    placed = [
        (sizes[bank] - at - problem.sizes[block] if turned else at, bank)
        for block in range(len(parts))
        for bank, offsets in enumerate(held)
        if (at := offsets[block]) is not None
    ]
    return Placement(tuple(at for at, _ in placed), tuple(bank for _, bank in placed), tuple(sizes))
