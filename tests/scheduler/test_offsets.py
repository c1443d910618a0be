"""Placing blocks in banks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnc.scheduler.lifetimes import Block
from rnnc.scheduler.offsets import Placement, distances, pack, quick_size


def block(size: int, first: int, last: int, is_input: bool = False) -> Block:
    length = last - first + 1
    return Block((), size, first, np.zeros(length, np.int64), np.full(length, size, np.int64), is_input)


def check(parts: list[Block], placement: Placement) -> None:
    """Dumb: no byte in use twice at any step, everything inside its bank."""
    ends = [0] * len(placement.sizes)
    for step in range(max(part.last for part in parts) + 1):
        used: list[tuple[int, int, int]] = []
        for part, offset, bank in zip(parts, placement.offset, placement.bank, strict=True):
            assert offset >= 0 and offset % 8 == 0
            if part.first <= step <= part.last:
                low, high = int(part.low[step - part.first]), int(part.high[step - part.first])
                if low < high:
                    used.append((bank, offset + low, offset + high))
                    ends[bank] = max(ends[bank], offset + high)
        used.sort()
        for one, two in pairwise(used):
            assert one[0] != two[0] or one[2] <= two[1]
    assert all(end <= size for end, size in zip(ends, placement.sizes, strict=True))


def test_disjoint_lives_share_a_place() -> None:
    assert pack([block(64, 0, 3), block(64, 4, 7)], [None]).sizes == (64,)


def test_greedy_by_size_is_not_enough_here() -> None:
    """The optimum is the bound: 8 + 16 + 8 at every step, for a chain of lives that overlap pairwise."""
    parts = [block(16, 0, 1), block(16, 1, 2), block(24, 2, 3), block(8, 0, 3), block(8, 3, 4), block(32, 4, 5)]
    placement = pack(parts, [None])
    check(parts, placement)
    assert placement.sizes == (48,)


def test_growing_into_a_shrinking_block() -> None:
    steps = np.arange(10)
    shrinking = Block((), 80, 0, steps * 8, np.full(10, 80))
    growing = Block((), 80, 0, np.zeros(10, np.int64), (steps + 1) * 8)
    assert distances([growing, shrinking])[0, 1] == 8
    placement = pack([shrinking, growing], [None])
    check([shrinking, growing], placement)
    assert placement.sizes == (88,)


def test_the_second_bank_takes_what_does_not_fit_but_never_an_input() -> None:
    parts = [block(96, 0, 5), block(64, 0, 5, is_input=True), block(40, 2, 3)]
    placement = pack(parts, [112, 128])
    check(parts, placement)
    assert placement.bank == (1, 0, 0)
    assert pack(parts, [200, 128]).bank == (0, 0, 0)


def test_what_fits_nowhere_is_returned_as_one_bank() -> None:
    placement = pack([block(96, 0, 5), block(96, 0, 5)], [100, 50])
    assert placement.sizes == (192, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.integers(0, 12), st.integers(1, 8), st.integers(-3, 3)),
        min_size=1,
        max_size=14,
    )
)
def test_random_blocks(cases: list[tuple[int, int, int, int]]) -> None:
    parts = []
    for size, first, length, slope in cases:
        ramp = np.abs(slope) * np.arange(length) * size // (4 * length)
        low = ramp if slope > 0 else np.zeros(length, np.int64)
        high = np.minimum(size, size // 2 + ramp) if slope < 0 else np.full(length, size)
        parts.append(Block((), size, first, low, high))
    single = pack(parts, [None])
    check(parts, single)
    assert single.total <= quick_size(parts) <= sum(part.size + 8 for part in parts)
    limit = (single.total * 2 // 3 + 7) // 8 * 8
    check(parts, pack(parts, [limit, limit]))
