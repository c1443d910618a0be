"""Which of many ways to run an operator the scheduler looks at."""

from __future__ import annotations

from itertools import pairwise

from rnnc.ir.op import IntOp
from rnnc.ir.ops.frontier import LEAST_STEP, frontier
from rnnc.ir.types import TensorType
from tests.scheduler.builders import Mix

X = TensorType((8, 8, 4), "int8")


class Way(Mix):
    """A mix that takes as many cycles as its channels say."""

    def cycles(self, inputs: object, output: object) -> int:
        return self.channels

    def scratch_bytes(self, inputs: object, output: object) -> int:
        return self.scratch


def found(*ways: tuple[int, int]) -> list[tuple[int, int]]:
    """(cycles, scratch) of the ways that are left."""
    kept: tuple[IntOp, ...] = frontier([Way(channels=c, scratch=s) for c, s in ways], [X], X)
    return [(op.cycles([X], X), op.scratch_bytes([X], X)) for op in kept]


def test_what_takes_longer_needs_less() -> None:
    ways = [(90, 100), (10, 900), (20, 900), (30, 1000), (40, 500), (50, 501), (90, 300)]
    kept = found(*ways)
    assert kept == [(10, 900), (40, 500), (90, 100)]
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(kept))


def test_steps_of_a_few_bytes_are_left_out_but_for_the_last() -> None:
    assert found((1, 400), (2, 400 - LEAST_STEP + 1), (3, 400 - LEAST_STEP)) == [(1, 400), (3, 400 - LEAST_STEP)]
    assert found((1, 400), (2, 399)) == [(1, 400), (2, 399)]
    assert found((1, 64_000), (2, 63_000), (3, 32_000)) == [(1, 64_000), (3, 32_000)]


def test_nothing_of_nothing() -> None:
    assert found() == []
