"""An output row depends on no input row but those that its operator names, which is what bounds of memory rest on."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from rnnc.ir.op import IntOp, evaluate
from rnnc.ir.ops import INT_OPS
from rnnc.ir.ops.pad import PadRows
from rnnc.ir.types import Array, TensorType

SAMPLES, ROWS = 12, 16
"""Samples of each operator, and the highest input looked at."""


def named(op: IntOp, inputs: tuple[TensorType, ...], output: TensorType) -> set[tuple[int, int, int]]:
    """(input, input row, output row)."""
    return {
        (part.input, int(read), int(row))
        for part in op.dependencies(inputs, output)
        for read, row in zip(part.input_rows, part.output_rows, strict=True)
    }


def random_array(rng: np.random.Generator, kind: TensorType, rows: int) -> Array:
    limits = np.iinfo(kind.dtype)
    return rng.integers(limits.min, limits.max, (rows, *kind.shape[1:]), dtype=kind.dtype, endpoint=True)


@pytest.mark.parametrize("op", INT_OPS, ids=lambda op: op.name)
def test_rows_that_are_not_named_change_nothing(op: type[IntOp]) -> None:
    rng = np.random.default_rng(1)
    for sample in islice(op.samples(rng), SAMPLES):
        if any(kind.height > ROWS for kind in sample.inputs):
            continue
        arrays = [random_array(rng, kind, kind.height) for kind in sample.inputs]
        before = evaluate(sample.op, arrays, sample.inputs, sample.output)
        dependent = named(sample.op, sample.inputs, sample.output)
        for index, kind in enumerate(sample.inputs):
            for row in range(kind.height):
                others = [array.copy() for array in arrays]
                others[index][row] = random_array(rng, kind, 1)[0]
                after = evaluate(sample.op, others, sample.inputs, sample.output)
                changed = np.flatnonzero(np.any(before != after, axis=(1, 2)))
                assert {(index, row, int(y)) for y in changed} <= dependent, sample.label


def test_padding_by_repetition_needs_the_nearest_row_alone() -> None:
    op, x = PadRows((2, 0, 1, 0), (0, 0), 0, edge=1), TensorType((3, 1, 1), "int8")
    output = op.infer([x])
    assert named(op, (x,), output) == {(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 3), (0, 2, 4), (0, 2, 5)}
    assert op.windows([x])[0].rows == 1


@pytest.mark.parametrize("op", INT_OPS, ids=lambda op: op.name)
def test_partial_sums_have_a_size(op: type[IntOp]) -> None:
    """Nothing that lacks input is free, and no operator forgets the state that it accumulates in."""
    for sample in islice(op.samples(np.random.default_rng(1)), SAMPLES):
        partial = sample.op.partial_bytes(sample.inputs, sample.output)
        assert partial > 0
        if sample.op.jobs(sample.inputs, sample.output) != sample.output.height:
            assert partial == sample.op.state_bytes(sample.inputs, sample.output)
