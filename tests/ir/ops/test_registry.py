"""Every operator of the registry: numpy, portable C and DSP C agree bit for bit on its samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import IntOp, evaluate, gather
from tests.kernels import Case, Place, Run, cases_of, disagreement, int_ops, random_input, rng_for, run_cases

OPERATORS = {op.name: op for op in int_ops()}

Runner = Callable[[Place, Arithmetic], tuple[list[Case], Run]]


@pytest.fixture(scope="session")
def run_all(request: pytest.FixtureRequest) -> Runner:
    """Builds and runs the samples of all operators that were selected, once by place and arithmetic."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    chosen = {item.callspec.params.get("name") for item in items if hasattr(item, "callspec")}
    done: dict[tuple[Place, Arithmetic], tuple[list[Case], Run]] = {}

    def run(place: Place, arithmetic: Arithmetic) -> tuple[list[Case], Run]:
        if (place, arithmetic) not in done:
            selected = [op for name, op in OPERATORS.items() if name in chosen]
            cases = [case for op in selected for case in cases_of(op, arithmetic)]
            try:
                done[place, arithmetic] = (cases, run_cases(cases, place, arithmetic))
            except CompileError as error:
                done[place, arithmetic] = (cases, Run([[] for _ in cases], str(error)))
        return done[place, arithmetic]

    return run


@pytest.mark.parametrize("place", ["host", "qemu", "qemu-portable"])
@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
@pytest.mark.parametrize("name", OPERATORS)
def test_c_equals_numpy(name: str, arithmetic: Arithmetic, place: Place, run_all: Runner) -> None:
    cases, run = run_all(place, arithmetic)
    own = [(case, results) for case, results in zip(cases, run.results, strict=True) if case.op.name == name]
    assert own, f"{name} has no samples for {arithmetic} arithmetic"
    problems = [disagreement(case, results, run.failure) for case, results in own]
    found = [problem for problem in problems if problem]
    assert not found, f"{len(found)} of {len(own)} samples:\n" + "\n".join(found)


@pytest.mark.parametrize("name", OPERATORS)
def test_samples_are_consistent(name: str) -> None:
    """Sample types are what `infer` says, and an operator that remembers nothing reads what a row depends on."""
    op = OPERATORS[name]
    for sample in op.samples(rng_for(op)):
        inferred = sample.op.infer(sample.inputs)
        assert (inferred.shape, inferred.dtype) == (sample.output.shape, sample.output.dtype), sample.label
        if sample.op.state_bytes(sample.inputs, sample.output) == 0:
            assert sample.op.jobs(sample.inputs, sample.output) == sample.output.height, sample.label
            assert sample.op.windows(sample.inputs) == sample.op.output_windows(sample.inputs), sample.label


@pytest.mark.parametrize("name", OPERATORS)
def test_row_honesty(name: str) -> None:
    """Scrambling the rows that an output row does not depend on leaves it as it is."""
    op: type[IntOp] = OPERATORS[name]
    rng = rng_for(op)
    for sample in list(op.samples(rng)):
        arrays = [random_input(rng, type_) for type_ in sample.inputs]
        whole = evaluate(sample.op, arrays, sample.inputs, sample.output)
        for row in range(sample.output.height):
            scrambled = [random_input(rng, type_) for type_ in sample.inputs]
            for window in sample.op.output_windows(sample.inputs):
                taps, there = window.taps([row], sample.inputs[window.input].height)
                inside = taps[there]
                scrambled[window.input][inside] = arrays[window.input][inside]
            alone = sample.op.compute(gather(sample.op, scrambled, sample.inputs, [row]))
            assert np.array_equal(alone.reshape(whole[row].shape), whole[row]), f"{sample.label}, row {row}"
