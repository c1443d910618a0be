"""Where each block lies: offsets in one or two memory banks that keep the peak low.

The bytes of a block that are in use change over time (`lifetimes.Block`), so two blocks may overlap as long as no
byte is in use by both at the same step: an output can grow into the space that its input leaves (Claim 4).
All searches are bounded by counts, never by a clock, so that a plan is the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rnnc.scheduler.lifetimes import Block
from rnnc.scheduler.plan import ALIGN

Matrix = npt.NDArray[np.int64]

APART = -(2**40)
"""Distance of two blocks that are never in use at the same time."""

EXACT_BLOCKS = 8
EXACT_NODES = 20_000
ROUNDS = 1200
SHUFFLES = 100


@dataclass(frozen=True)
class Placement:
    """``offset`` and ``bank`` by block, ``turned`` for those that lie upside down; ``sizes``: the bytes used in each
    bank."""

    offset: tuple[int, ...]
    bank: tuple[int, ...]
    sizes: tuple[int, ...]
    turned: tuple[bool, ...]

    @property
    def total(self) -> int:
        return sum(self.sizes)


@dataclass(frozen=True, eq=False)
class Postures:
    """The blocks of a placement, each as it is and, if it slides, also upside down: ``of`` has the numbers of the one
    posture or the two by block. ``size`` [postures]; ``distance`` [postures, postures]: b is clear above a if
    offset[b] >= offset[a] + distance[a, b], a multiple of ALIGN, APART if the two are never in use together, and less
    than the size of a where one can grow into the other."""

    of: tuple[tuple[int, ...], ...]
    size: Matrix
    distance: Matrix

    def mirrored(self) -> Postures:
        """The same for offsets counted from the top, top - offset - size: "b above a" becomes "a above b"."""
        matrix = self.distance
        return replace(
            self, distance=np.where(matrix.T > APART, matrix.T + self.size[:, None] - self.size[None, :], APART)
        )


def postures(parts: Sequence[Block]) -> Postures:
    """Of n blocks, number i is block i as it is and n + i block i upside down."""
    count = len(parts)
    distance = np.full((2 * count, 2 * count), APART, np.int64)
    size = np.tile(np.array([_aligned(part.size) for part in parts], np.int64), 2)
    for a, b, one, two in _together(parts):
        low, high = int((one[0] + two[0]).min()), int((one[1] + two[1]).max())
        above, below = int((one[1] - two[0]).max()), int((two[1] - one[0]).max())
        s, t = parts[a].size, parts[b].size
        turned_a, turned_b = count + a, count + b
        distance[a, b], distance[b, a] = above, below
        distance[a, turned_b], distance[turned_b, a] = high - t, t - low
        distance[turned_a, b], distance[b, turned_a] = s - low, high - s
        distance[turned_a, turned_b], distance[turned_b, turned_a] = s - t + below, t - s + above
    distance = np.where(distance > APART, -(-distance // ALIGN) * ALIGN, APART)
    return Postures(tuple((i, count + i) if part.slides else (i,) for i, part in enumerate(parts)), size, distance)


def _together(parts: Sequence[Block]) -> Iterator[tuple[int, int, tuple[Matrix, Matrix], tuple[Matrix, Matrix]]]:
    """Pairs of blocks that are in use at the same time, with what of each is in use then: low and high."""
    used = [part.low < part.high for part in parts]
    for a, one in enumerate(parts):
        for b in range(a + 1, len(parts)):
            two = parts[b]
            begin, end = max(one.first, two.first), min(one.last, two.last) + 1
            if begin >= end:
                continue
            first = slice(begin - one.first, end - one.first)
            second = slice(begin - two.first, end - two.first)
            both = used[a][first] & used[b][second]
            if both.any():
                yield (
                    a,
                    b,
                    (one.low[first][both], one.high[first][both]),
                    (two.low[second][both], two.high[second][both]),
                )


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def pack(parts: Sequence[Block], capacities: Sequence[int | None], input_bank: int = 0) -> Placement:
    """Offsets for all blocks: in the first bank alone if they fit, else with blocks moved to the other banks.

    A capacity of None is unlimited. Graph inputs stay in ``input_bank``, which a peripheral can write to. If no
    placement is found that fits, the smallest one in a single bank is returned.
    """
    field = postures(parts)
    single = _pack_single(parts, field)
    alone = replace(single, sizes=(single.total, *(0 for _ in capacities[1:])))
    reachable = input_bank == 0 or not any(part.is_input for part in parts)
    if (capacities[0] is None or alone.total <= capacities[0]) and reachable:
        return alone
    spilled = [
        placement
        for mirrored in (False, True)
        for order in (*_orders(parts), *_shuffles(parts))
        if (placement := _pack_banks(parts, field, order, capacities, input_bank, mirrored)) is not None
    ]
    return min(spilled, key=lambda placement: placement.total, default=alone)


def quick_size(parts: Sequence[Block], enough: int = 0) -> int:
    """Bytes of a single bank that first fit needs, in the best of its orders: an estimate of what `pack` reaches.

    Stops at the first order that needs at most ``enough``.
    """
    field = postures(parts)
    best = 2**62
    for chosen in (field, field.mirrored()):
        for order in _orders(parts):
            best = min(best, _first_fit(chosen, order).peak)
            if best <= enough:
                return best
    return best


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


@dataclass(frozen=True, eq=False)
class Solution:
    """Blocks placed in this ``order``: ``offset`` and chosen ``posture`` by block."""

    order: list[int]
    offset: Matrix
    posture: Matrix
    peak: int


def _lowest(posture: int, others: Matrix, offset: Matrix, field: Postures) -> int:
    """The lowest offset at which a posture is clear of all ``others``, which lie at ``offset``."""
    away, over = field.distance[posture, others], field.distance[others, posture]
    below, above = offset - away, offset + over
    clash = (away > APART) & (below < above) & (above > 0)
    position = 0
    for low, high in sorted(zip(below[clash].tolist(), above[clash].tolist(), strict=True)):
        if position <= low:
            break
        position = max(position, high)
    return position


def _place(block: int, others: Matrix, offset: Matrix, field: Postures) -> tuple[int, int]:
    """The lowest offset of a block and the posture that has it."""
    return min((_lowest(posture, others, offset, field), posture) for posture in field.of[block])


def _first_fit(field: Postures, order: Sequence[int]) -> Solution:
    offset = np.zeros(len(order), np.int64)
    posture = np.zeros(len(order), np.int64)
    placed = np.asarray(order, np.int64)
    peak = 0
    for count, block in enumerate(order):
        before = placed[:count]
        offset[block], posture[block] = _place(block, posture[before], offset[before], field)
        peak = max(peak, int(offset[block] + field.size[block]))
    return Solution(list(order), offset, posture, peak)


def _pack_single(parts: Sequence[Block], field: Postures) -> Placement:
    """The best placement found from the bottom up or, mirrored, from the top down."""
    bound = _bound(parts)
    best = _search(parts, field, bound)
    offset = best.offset
    if best.peak > bound:
        downward = _search(parts, field.mirrored(), bound)
        if downward.peak < best.peak:
            best = downward
            offset = best.peak - best.offset - field.size[: len(parts)]
    return Placement(
        tuple(int(o) for o in offset),
        (0,) * len(parts),
        (best.peak,),
        tuple(bool(number >= len(parts)) for number in best.posture),
    )


def _search(parts: Sequence[Block], field: Postures, bound: int) -> Solution:
    """First fit in several orders, then exhaustively for few blocks, by local search for many."""
    best = min((_first_fit(field, order) for order in _orders(parts)), key=lambda solution: solution.peak)
    if best.peak <= bound:
        return best
    if len(parts) <= EXACT_BLOCKS:
        return _Exact(field, bound, best).search()
    return _anneal(field, bound, best)


def _bound(parts: Sequence[Block]) -> int:
    """Live bytes of the fullest step: no placement needs less."""
    end = max((part.last for part in parts), default=0) + 1
    total = np.zeros(end, np.int64)
    for part in parts:
        total[part.first : part.last + 1] += part.high - part.low
    return int(total.max(initial=0))


def _anneal(field: Postures, bound: int, start: Solution) -> Solution:
    """Threshold accepting over orders: move a block that reaches the peak or shares a step with one that does, or
    exchange two; changes that cost less than a shrinking threshold are kept."""
    chance = random.Random(len(start.order))  # the same moves every time
    best = current = start
    for done in range(ROUNDS):
        threshold = bound * (ROUNDS - done) // ROUNDS // 50
        tried = _first_fit(field, _changed(field, current, chance))
        if tried.peak <= current.peak + threshold:
            current = tried
        if tried.peak < best.peak:
            best = current
        if best.peak <= bound:
            break
    return best


def _changed(field: Postures, current: Solution, chance: random.Random) -> list[int]:
    order, offset = current.order, current.offset
    changed = list(order)
    if chance.random() < 0.5:
        top = [block for block in order if offset[block] + field.size[block] == current.peak]
        block = chance.choice(top)
        if chance.random() < 0.5:
            block = chance.choice([other for other in order if field.distance[block, other] > APART] or top)
        changed.remove(block)
        changed.insert(chance.randrange(len(order)), block)
    else:
        one, two = chance.randrange(len(order)), chance.randrange(len(order))
        changed[one], changed[two] = changed[two], changed[one]
    return changed


class _Exact:
    """Depth-first search over all orders of placement, cut off at the best peak and after EXACT_NODES steps."""

    def __init__(self, field: Postures, bound: int, start: Solution) -> None:
        self.field, self.bound, self.best = field, bound, start
        self.offset = np.zeros(len(field.of), np.int64)
        self.posture = np.zeros(len(field.of), np.int64)
        self.order: list[int] = []
        self.left = EXACT_NODES

    def search(self) -> Solution:
        self._visit(0)
        return self.best

    def _visit(self, peak: int) -> None:
        if peak >= self.best.peak or self.best.peak <= self.bound or self.left == 0:
            return
        self.left -= 1
        if len(self.order) == len(self.field.of):
            self.best = Solution(list(self.order), self.offset.copy(), self.posture.copy(), peak)
            return
        for block in range(len(self.field.of)):
            if block not in self.order:
                placed = np.asarray(self.order, np.int64)
                offset, posture = _place(block, self.posture[placed], self.offset[placed], self.field)
                self.offset[block], self.posture[block] = offset, posture
                self.order.append(block)
                self._visit(max(peak, offset + int(self.field.size[block])))
                self.order.pop()


def _pack_banks(
    parts: Sequence[Block],
    field: Postures,
    order: Sequence[int],
    capacities: Sequence[int | None],
    input_bank: int,
    mirrored: bool,
) -> Placement | None:
    """First fit from the bottom, or (``mirrored``) from the top down, each block in the first bank that has room
    for it; None if one fits nowhere."""
    extent = field.size[: len(parts)]
    if mirrored:
        field = field.mirrored()
    offset, posture = np.zeros(len(parts), np.int64), np.zeros(len(parts), np.int64)
    held: list[list[int]] = [[] for _ in capacities]
    sizes = [0] * len(capacities)
    bank_of = np.zeros(len(parts), np.int64)
    # inputs are bound to a bank, so they choose first
    for block in sorted(order, key=lambda i: not parts[i].is_input):
        banks = [input_bank] if parts[block].is_input else range(len(capacities))
        for bank in banks:
            others = np.asarray(held[bank], np.int64)
            offset[block], posture[block] = _place(block, posture[others], offset[others], field)
            top = int(offset[block] + extent[block])
            capacity = capacities[bank]
            if capacity is None or top <= capacity:
                held[bank].append(block)
                sizes[bank] = max(sizes[bank], top)
                bank_of[block] = bank
                break
        else:
            return None
    if mirrored:
        offset = np.array(sizes, np.int64)[bank_of] - offset - extent
    return Placement(
        tuple(int(o) for o in offset),
        tuple(int(bank) for bank in bank_of),
        tuple(sizes),
        tuple(bool(number >= len(parts)) for number in posture),
    )
