"""Where each block lies: offsets in one or two memory banks that keep the peak low.

The bytes of a block that are in use change over time (`lifetimes.Block`), so two blocks may overlap as long as no
byte is in use by both at the same step: an output can grow into the space that its input leaves (Claim 4).
All searches are bounded by counts, never by a clock, so that a plan is the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rnnc.scheduler.lifetimes import Block
from rnnc.scheduler.plan import ALIGN

Matrix = npt.NDArray[np.int64]

Solution = tuple[list[int], Matrix, int]
"""Order of placement, offsets, peak."""

APART = -(2**40)
"""Distance of two blocks that are never in use at the same time."""

EXACT_BLOCKS = 8
EXACT_NODES = 20_000
ROUNDS = 1200
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


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def pack(parts: Sequence[Block], capacities: Sequence[int | None], input_bank: int = 0) -> Placement:
    """Offsets for all blocks: in the first bank alone if they fit, else with blocks moved to the other banks.

    A capacity of None is unlimited. Graph inputs stay in ``input_bank``, which a peripheral can write to. If no
    placement is found that fits, the smallest one in a single bank is returned.
    """
    matrix = distances(parts)
    single = _pack_single(parts, matrix)
    alone = Placement(single.offset, single.bank, (single.total, *(0 for _ in capacities[1:])))
    reachable = input_bank == 0 or not any(part.is_input for part in parts)
    if (capacities[0] is None or alone.total <= capacities[0]) and reachable:
        return alone
    spilled = [
        placement
        for turned in (False, True)
        for order in (*_orders(parts), *_shuffles(parts))
        if (placement := _pack_banks(parts, matrix, order, capacities, input_bank, turned)) is not None
    ]
    return min(spilled, key=lambda placement: placement.total, default=alone)


def quick_size(parts: Sequence[Block], enough: int = 0) -> int:
    """Bytes of a single bank that first fit needs, in the best of its orders: an estimate of what `pack` reaches.

    Stops at the first order that needs at most ``enough``.
    """
    matrix, sizes = distances(parts), _aligned_sizes(parts)
    best = 2**62
    for turned in (False, True):
        chosen = _turned(matrix, sizes) if turned else matrix
        for order in _orders(parts):
            best = min(best, _first_fit(parts, chosen, order)[1])
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


def _lowest(block: int, placed: Sequence[int], offset: Matrix, matrix: Matrix) -> int:
    """The lowest offset at which a block is clear of all placed ones."""
    others = np.asarray(placed, np.int64)
    below = offset[others] - matrix[block, others]
    above = offset[others] + matrix[others, block]
    clash = (matrix[block, others] > APART) & (below < above) & (above > 0)
    position = 0
    for low, high in sorted(zip(below[clash].tolist(), above[clash].tolist(), strict=True)):
        if position <= low:
            break
        position = max(position, high)
    return position


def _first_fit(parts: Sequence[Block], matrix: Matrix, order: Sequence[int]) -> tuple[Matrix, int]:
    offset = np.zeros(len(parts), np.int64)
    peak = 0
    for count, block in enumerate(order):
        offset[block] = _lowest(block, order[:count], offset, matrix)
        peak = max(peak, int(offset[block]) + _aligned(parts[block].size))
    return offset, peak


def _pack_single(parts: Sequence[Block], matrix: Matrix) -> Placement:
    """The best placement found from the bottom up or, mirrored, from the top down."""
    sizes = _aligned_sizes(parts)
    bound = _bound(parts)
    upward = _search(parts, matrix, bound)
    if upward[2] <= bound:
        offset, peak = upward[1:]
    else:
        downward = _search(parts, _turned(matrix, sizes), bound)
        offset, peak = upward[1:]
        if downward[2] < peak:
            peak = downward[2]
            offset = peak - downward[1] - sizes
    return Placement(tuple(int(o) for o in offset), (0,) * len(parts), (peak,))


def _aligned_sizes(parts: Sequence[Block]) -> Matrix:
    return np.array([_aligned(part.size) for part in parts], np.int64)


def _turned(matrix: Matrix, sizes: Matrix) -> Matrix:
    """Distances for offsets counted from the top, top - offset - size: "b above a" becomes "a above b"."""
    return np.where(matrix.T > APART, matrix.T + sizes[:, None] - sizes[None, :], APART)


def _search(parts: Sequence[Block], matrix: Matrix, bound: int) -> Solution:
    """First fit in several orders, then exhaustively for few blocks, by local search for many."""
    tried = [(order, *_first_fit(parts, matrix, order)) for order in _orders(parts)]
    best = min(tried, key=lambda entry: entry[2])
    if best[2] <= bound:
        return best
    if len(parts) <= EXACT_BLOCKS:
        return _Exact(parts, matrix, bound, best).search()
    return _anneal(parts, matrix, bound, best)


def _bound(parts: Sequence[Block]) -> int:
    """Live bytes of the fullest step: no placement needs less."""
    end = max((part.last for part in parts), default=0) + 1
    total = np.zeros(end, np.int64)
    for part in parts:
        total[part.first : part.last + 1] += part.high - part.low
    return int(total.max(initial=0))


def _anneal(parts: Sequence[Block], matrix: Matrix, bound: int, start: Solution) -> Solution:
    """Threshold accepting over orders: move a block that reaches the peak or shares a step with one that does, or
    exchange two; changes that cost less than a shrinking threshold are kept."""
    chance = random.Random(len(parts))  # the same moves every time
    best = current = start
    for done in range(ROUNDS):
        threshold = bound * (ROUNDS - done) // ROUNDS // 50
        changed = _changed(parts, matrix, current, chance)
        offset, reached = _first_fit(parts, matrix, changed)
        if reached <= current[2] + threshold:
            current = changed, offset, reached
        if reached < best[2]:
            best = current
        if best[2] <= bound:
            break
    return best


def _changed(parts: Sequence[Block], matrix: Matrix, current: Solution, chance: random.Random) -> list[int]:
    order, offset, peak = current
    changed = list(order)
    if chance.random() < 0.5:
        top = [block for block in order if offset[block] + _aligned(parts[block].size) == peak]
        block = chance.choice(top)
        if chance.random() < 0.5:
            block = chance.choice([other for other in order if matrix[block, other] > APART] or top)
        changed.remove(block)
        changed.insert(chance.randrange(len(order)), block)
    else:
        one, two = chance.randrange(len(order)), chance.randrange(len(order))
        changed[one], changed[two] = changed[two], changed[one]
    return changed


class _Exact:
    """Depth-first search over all orders of placement, cut off at the best peak and after EXACT_NODES steps."""

    def __init__(self, parts: Sequence[Block], matrix: Matrix, bound: int, start: Solution) -> None:
        self.parts, self.matrix, self.bound, self.best = parts, matrix, bound, start
        self.offset = np.zeros(len(parts), np.int64)
        self.order: list[int] = []
        self.left = EXACT_NODES

    def search(self) -> Solution:
        self._visit(0)
        return self.best

    def _visit(self, peak: int) -> None:
        if peak >= self.best[2] or self.best[2] <= self.bound or self.left == 0:
            return
        self.left -= 1
        if len(self.order) == len(self.parts):
            self.best = list(self.order), self.offset.copy(), peak
            return
        for block in range(len(self.parts)):
            if block not in self.order:
                self.offset[block] = _lowest(block, self.order, self.offset, self.matrix)
                top = int(self.offset[block]) + _aligned(self.parts[block].size)
                self.order.append(block)
                self._visit(max(peak, top))
                self.order.pop()


def _pack_banks(
    parts: Sequence[Block],
    matrix: Matrix,
    order: Sequence[int],
    capacities: Sequence[int | None],
    input_bank: int,
    turned: bool,
) -> Placement | None:
    """First fit from the bottom, or (``turned``) from the top down, each block in the first bank that has room
    for it; None if one fits nowhere."""
    extent = _aligned_sizes(parts)
    if turned:
        matrix = _turned(matrix, extent)
    offset = np.zeros(len(parts), np.int64)
    held: list[list[int]] = [[] for _ in capacities]
    sizes = [0] * len(capacities)
    bank_of = np.zeros(len(parts), np.int64)
    # inputs are bound to a bank, so they choose first
    for block in sorted(order, key=lambda i: not parts[i].is_input):
        banks = [input_bank] if parts[block].is_input else range(len(capacities))
        for bank in banks:
            offset[block] = _lowest(block, held[bank], offset, matrix)
            top = int(offset[block] + extent[block])
            capacity = capacities[bank]
            if capacity is None or top <= capacity:
                held[bank].append(block)
                sizes[bank] = max(sizes[bank], top)
                bank_of[block] = bank
                break
        else:
            return None
    if turned:
        offset = np.array(sizes, np.int64)[bank_of] - offset - extent
    return Placement(tuple(int(o) for o in offset), tuple(int(bank) for bank in bank_of), tuple(sizes))
