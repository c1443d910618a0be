"""Fixed-point rules against exact rational arithmetic, and the C against the rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import (
    INT32_MAX,
    Arithmetic,
    Requant,
    doubling_high_multiply,
    high_multiply,
    left_shift_for,
    make_requant,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounding_shift_right,
)
from rnnc.ir.op import IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.linear import requant_members
from rnnc.ir.types import TensorType
from tests.kernels import DRIVER, Case, Place, Trial, disagreement, run_cases

INT32_MIN = -INT32_MAX - 1
EDGES = (INT32_MIN, INT32_MIN + 1, -(2**30) - 1, -(2**30), -3, -2, -1, 0, 1, 2, 3, 2**30 - 1, 2**30, INT32_MAX)
INT32 = st.one_of(st.sampled_from(EDGES), st.integers(INT32_MIN, INT32_MAX))
MULTIPLIERS = st.one_of(st.sampled_from((0, 2**30, INT32_MAX)), st.integers(2**30, INT32_MAX))


def of(value: int) -> npt.NDArray[np.int64]:
    return np.array([value], np.int64)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


@given(INT32, INT32)
def test_high_multiply_rounds_halves_up(a: int, b: int) -> None:
    assert high_multiply(of(a), of(b))[0] == half_up(Fraction(a * b, 2**32))


@given(INT32, INT32)
def test_doubling_high_multiply_rounds_halves_up_and_saturates(a: int, b: int) -> None:
    assert doubling_high_multiply(of(a), of(b))[0] == min(half_up(Fraction(a * b, 2**31)), INT32_MAX)


@given(INT32, st.integers(0, 31))
def test_rounding_shift_rounds_halves_away_from_zero(x: int, shift: int) -> None:
    assert rounding_shift_right(of(x), shift)[0] == half_away(Fraction(x, 2**shift))


@given(st.integers(-60, 60), st.integers(1, 30))
def test_rounding_shift_on_ties(odd: int, shift: int) -> None:
    tie = (2 * odd + 1) << (shift - 1)
    assume(abs(tie) <= INT32_MAX)
    assert rounding_shift_right(of(tie), shift)[0] == (odd + 1 if tie > 0 else odd)


@given(INT32, MULTIPLIERS, st.integers(-31, 30))
def test_multiply_by_quantized_multiplier_rounds_twice(x: int, multiplier: int, shift: int) -> None:
    assume(abs(x) << max(shift, 0) <= INT32_MAX)
    once = half_up(Fraction((x << max(shift, 0)) * multiplier, 2**31))
    expected = half_away(Fraction(once, 2 ** max(-shift, 0)))
    assert multiply_by_quantized_multiplier(of(x), of(multiplier), of(shift))[0] == expected


@given(st.floats(2.0**-30, 2.0**30))
def test_quantize_multiplier_is_within_half_a_step(real: float) -> None:
    multiplier, shift = quantize_multiplier(real)
    assert 2**30 <= multiplier <= INT32_MAX
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (shift - 32)


@pytest.mark.parametrize(
    ("real", "pair"),
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (math.nextafter(1.0, 0.0), (2**30, 1)),
        (2.0**-33, (0, 0)),
    ],
)
def test_quantize_multiplier_at_the_edges(real: float, pair: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == pair


@given(st.floats(2.0**-40, 2.0**8))
def test_left_shift_is_the_smallest_that_fits(real: float) -> None:
    shift = left_shift_for(real)
    assert round(real * 2.0 ** (32 - shift)) <= INT32_MAX
    assert shift == 0 or round(real * 2.0 ** (33 - shift)) > INT32_MAX


@given(
    st.lists(st.floats(2.0**-20, 4.0), min_size=1, max_size=5),
    st.integers(0, 2**26),
    st.integers(-128, 127),
    st.data(),
)
def test_requantisation_is_the_rounded_product(
    real: list[float], bound: int, zero_point: int, data: st.DataObject
) -> None:
    acc = np.array([data.draw(st.integers(-bound, bound)) for _ in real], np.int64)
    exact = np.array([float(a * Fraction(r)) + zero_point for a, r in zip(acc.tolist(), real, strict=True)])
    # one rounding: half a step; two: half a step each, the first one before the shift. Plus the multiplier's own.
    for arithmetic, steps in (("fast", 0.5), ("tflite", 1.0)):
        requant = make_requant(arithmetic, np.array(real), bound, zero_point)  # type: ignore[arg-type]
        slack = steps + bound * max(real) * 2.0**-29 + (bound * 2.0**-31 if arithmetic == "fast" else 0)
        got = requant.apply(acc)
        assert np.all(got <= 127) and np.all(got >= -128)
        assert np.all(np.abs(got - np.clip(exact, -128, 127)) <= slack)


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_clamps_hold(arithmetic: Arithmetic) -> None:
    requant = make_requant(arithmetic, np.array([0.25, 0.25]), 2**20, 3, low=3, high=90)
    acc = np.array([[-(2**20), 2**20], [0, 100]])
    assert requant.apply(acc).tolist() == [[3, 90], [3, 28]]


def test_refuses_a_multiplier_that_overflows() -> None:
    with pytest.raises(CompileError, match="accumulators of up to 1048576 are multiplied by up to") as caught:
        make_requant("fast", np.array([2.0**12]), 2**20, 0)
    assert caught.value.remedy is not None and "give this output a larger scale" in caught.value.remedy


# --- the C functions, where accumulators, multipliers and shifts meet their edges ---


@dataclass(frozen=True, eq=False)
class ScaleRow(IntOp):
    """Requantisation without clamps of one row of int32; runs kernel_driver/scale_row.c."""

    requant: Requant

    name: ClassVar[str] = "scale_row"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return inputs[0]

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return self.requant.apply(windows[0].values[:, 0])

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {key.split(".")[1]: value for key, value in requant_members(self.requant).items()}
        return Kernel("scale_row", "rnnc_requant", members | {"low": 0, "high": 0}, "requant")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from ()


WIDTH, CHANNELS = 400, 64


def accumulators(rng: np.random.Generator, limits: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Rows of every magnitude that the channels' limits allow, the edges first."""
    sizes = 2.0 ** rng.uniform(0, 31, (WIDTH, CHANNELS))
    acc = np.rint(rng.choice([-1, 1], sizes.shape) * sizes).astype(np.int64)
    acc[: len(EDGES)] = np.array(EDGES)[:, None]
    near = rng.integers(-3, 4, (40, CHANNELS)) + (np.int64(1) << rng.integers(0, 31, (40, CHANNELS)))
    acc[len(EDGES) : len(EDGES) + 40] = near * rng.choice([-1, 1], near.shape)
    return np.clip(acc, -limits, limits - 1).astype(np.int32)


def scale_case(arithmetic: Arithmetic, left_shift: int) -> Case:
    """One row; ``left_shift`` is that of all channels in fast arithmetic."""
    rng = np.random.default_rng(left_shift)
    multipliers = rng.integers(2**30 if arithmetic == "tflite" else 0, INT32_MAX, CHANNELS, endpoint=True)
    multipliers[:4] = (0, 2**30, INT32_MAX, 2**30 + 1)
    shifts = np.full(CHANNELS, left_shift)
    if arithmetic == "tflite":
        shifts = np.concatenate([np.arange(-31, 31), [0, -1]])
        multipliers = rng.permutation(multipliers)
    zero_point = -128 if arithmetic == "fast" else 0
    requant = Requant(
        arithmetic, multipliers.astype(np.int32), shifts.astype(np.int8), zero_point, INT32_MIN, INT32_MAX
    )
    type_ = TensorType((1, WIDTH, CHANNELS), "int32")
    acc = accumulators(rng, np.int64(1) << (31 - np.maximum(shifts, 0)))
    sample = Sample(ScaleRow(requant), (type_,), type_, f"{arithmetic}, shift {left_shift}")
    return Case(ScaleRow, sample, (Trial("edges", (acc.reshape(type_.shape),)),))


@pytest.mark.parametrize("place", ["host", "qemu", "qemu-portable"])
@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_c_scales_as_python(arithmetic: Arithmetic, place: Place, tmp_path: Path) -> None:
    cases = [scale_case(arithmetic, shift) for shift in ((0, 1, 5, 17) if arithmetic == "fast" else range(4))]
    sizes = f"#define SCALE_ROW_SIZE {WIDTH * CHANNELS}\n#define SCALE_ROW_CHANNELS {CHANNELS}\n"
    source = tmp_path / "scale_row.c"
    source.write_text(sizes + (DRIVER / "scale_row.c").read_text())
    run = run_cases(cases, place, arithmetic, extra=[source])
    for case, results in zip(cases, run.results, strict=True):
        assert not disagreement(case, results, run.failure)
