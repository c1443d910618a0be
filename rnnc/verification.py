"""Proves on examples that the C of a bundle computes what Python says, bit for bit, and finds where it does not."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnc.bundle import Bundle
from rnnc.execute import Execution, Place, execute
from rnnc.ir.graph import Node
from rnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Difference:
    """The first element that differs: which layer (None: only an output differs), where, and both values."""

    run: int
    layer: str
    op: str
    index: tuple[int, ...]
    python: int
    c: int

    def __str__(self) -> str:
        return (
            f"run {self.run}: the first layer that differs is '{self.layer}' ({self.op}), element {self.index}: "
            f"Python {self.python}, C {self.c}"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the C fared at one place: ``compared`` bytes of output, and the first difference, if any."""

    place: Place
    runs: int
    compared: int
    difference: Difference | None
    cycles: int | None


def test_inputs(bundle: Bundle, runs: int, seed: int = 0) -> dict[str, Array]:
    """Inputs in device form: the two extremes first, then noise of growing smoothness."""
    rng = np.random.default_rng(seed)
    result: dict[str, Array] = {}
    for port in bundle.graph.inputs:
        shape = port.value.type.shape
        items = [np.full(shape, 127), np.full(shape, -128)][: max(0, runs - 1)]
        while len(items) < runs:
            noise = rng.integers(-128, 128, shape)
            if len(items) % 2:
                noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) // 3
            items.append(noise)
        result[port.name] = np.stack(items).astype(np.int8)
    return result


def verify_bundle(
    bundle: Bundle, places: Sequence[Place], runs: int, progress: Callable[[str], None] = lambda text: None
) -> list[Verdict]:
    """Compare Python with C at each place on ``runs`` inputs; a difference is traced to its first layer."""
    inputs = test_inputs(bundle, runs)
    progress(f"Python: {runs} runs")
    expected = execute(bundle, inputs, "python", progress=lambda done: progress(f"Python: {done} of {runs} runs"))
    verdicts = []
    for place in places:
        progress(f"{place}: build and run")
        actual = execute(bundle, inputs, place)
        run = _first_bad_run(expected, actual)
        difference = None
        if run is not None:
            progress(f"{place}: looking for the first layer that differs")
            one = {name: array[run : run + 1] for name, array in inputs.items()}
            difference = _locate(bundle, place, one, run) or _output_difference(bundle, expected, actual, run)
        compared = sum(array.nbytes for array in actual.outputs.values())
        cycles = round(float(np.median(actual.cycles))) if actual.cycles else None
        verdicts.append(Verdict(place, runs, compared, difference, cycles))
    return verdicts


def _first_bad_run(expected: Execution, actual: Execution) -> int | None:
    bad = [
        int(np.flatnonzero((array != actual.outputs[name]).reshape(len(array), -1).any(axis=1))[0])
        for name, array in expected.outputs.items()
        if not np.array_equal(array, actual.outputs[name])
    ]
    return min(bad, default=None)


def _locate(bundle: Bundle, place: Place, one: dict[str, Array], run: int) -> Difference | None:
    """The first row, in order of execution, that differs between the traces of one run."""
    expected = execute(bundle, one, "python", trace=True)
    actual = execute(bundle, one, place, trace=True)
    by_name = {node.name: node for node in bundle.graph.nodes}
    nodes: list[Node] = [by_name[name] for stage in bundle.plan.stages for name in stage.nodes]
    for (op, row, mine), (_, _, theirs) in zip(_records(expected.trace), _records(actual.trace), strict=False):
        if mine == theirs:
            continue
        node = nodes[op]
        dtype = np.dtype(node.output.type.dtype)
        a, b = np.frombuffer(mine, dtype), np.frombuffer(theirs, dtype)
        at = int(np.flatnonzero(a != b)[0])
        place_in_row = np.unravel_index(at, node.output.type.shape[1:])
        index = (row, *(int(i) for i in place_in_row))
        return Difference(run, node.name, node.op.name, index, int(a[at]), int(b[at]))
    return None


def _output_difference(bundle: Bundle, expected: Execution, actual: Execution, run: int) -> Difference:
    """A difference that no layer shows: the rows were right when made, and were lost afterwards."""
    for port in bundle.graph.outputs:
        mine, theirs = expected.outputs[port.name][run], actual.outputs[port.name][run]
        if not np.array_equal(mine, theirs):
            index = tuple(int(axis[0]) for axis in np.nonzero(mine != theirs))
            return Difference(run, port.name, "output", index, int(mine[index]), int(theirs[index]))
    raise ValueError("the outputs are equal")


def _records(trace: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(operator, row, data) of each record of a trace."""
    at = 0
    while at + 8 <= len(trace):
        op, row, size = struct.unpack_from("<HHI", trace, at)
        yield op, row, trace[at + 8 : at + 8 + size]
        at += 8 + size
