"""Of many ways to run the same operator those that the scheduler should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rnnc.ir.op import IntOp
from rnnc.ir.types import TensorType

Way = TypeVar("Way", bound=IntOp)

LEAST_STEP, STEP = 64, 1 / 32
"""Bytes, and part of the memory of the next faster one, by which a way has to be leaner to be worth looking at."""


def frontier(ways: Iterable[Way], inputs: Sequence[TensorType], output: TensorType) -> tuple[Way, ...]:
    """Those with more cycles the less scratch and state they need, the fastest first. The leanest is among them."""
    priced = sorted(
        ((way.cycles(inputs, output), way.scratch_bytes(inputs, output) + way.state_bytes(inputs, output), way)
         for way in ways),
        key=lambda item: item[:2],
    )  # fmt: skip
    least = min((size for _, size, _ in priced), default=0)
    found: list[Way] = []
    last: int | None = None
    for _, size, way in priced:
        step = 0 if last is None else max(LEAST_STEP, last * STEP)
        if last is None or size <= last - step or least == size < last:
            found.append(way)
            last = size
    return tuple(found)
