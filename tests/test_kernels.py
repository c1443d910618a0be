"""The harness itself: kernels that leave their buffers or compute something else are found, at every place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import pytest

from rnnc.ir.op import Field, Kernel
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.types import TensorType
from tests.kernels import Case, Place, Result, cases_of, disagreement, run_cases

PLACES: tuple[Place, ...] = ("host", "qemu", "qemu-portable")


class WrongMembers(Conv2D):
    """Tells its kernel something that is not so."""

    wrong: Mapping[str, Field]

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        kernel = super().kernel(inputs, output)
        return replace(kernel, members={**kernel.members, **self.wrong})


class WiderInput(WrongMembers):
    wrong = {"in_width": 7}  # noqa: RUF012


class WiderOutput(WrongMembers):
    wrong = {"out_width": 8}  # noqa: RUF012


class OtherPadding(WrongMembers):
    wrong = {"pad_left": 3}  # noqa: RUF012


class TooLittleScratch(Conv2D):
    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return super().scratch_bytes(inputs, output) // 2


def wrong_case(kind: type[Conv2D], kernel: str) -> Case:
    """A sample of 6 columns, padded, with the lie of ``kind``."""
    for case in cases_of(Conv2D, "fast"):
        op, shape = case.sample.op, case.sample.inputs[0].shape
        called = op.kernel(case.sample.inputs, case.sample.output).function
        if isinstance(op, Conv2D) and called == kernel and shape[1] == 6 and any(op.pads):
            lying = kind(*(getattr(op, field.name) for field in fields(op)))
            return Case(Conv2D, replace(case.sample, op=lying), case.trials)
    raise LookupError(f"no sample for {kernel}")


def complaint(kind: type[Conv2D], kernel: str, place: Place) -> str:
    case = wrong_case(kind, kernel)
    run = run_cases([case], place, "fast")
    return disagreement(case, run.results[0], run.failure)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kernel", ["rnnc_conv2d_s8", "rnnc_depthwise3x3_s8"])
def test_finds_reads_outside_a_row(kernel: str, place: Place) -> None:
    assert complaint(WiderInput, kernel, place).startswith("conv2d [fast ")


@pytest.mark.parametrize("place", PLACES)
def test_finds_writes_outside_a_row(place: Place) -> None:
    found = complaint(WiderOutput, "rnnc_conv2d_s8", place)
    assert "heap-buffer-overflow" in found if place == "host" else "wrote outside its buffers" in found


def test_finds_scratch_that_is_too_small() -> None:
    """The portable kernel needs none."""
    assert "wrote outside its buffers" in complaint(TooLittleScratch, "rnnc_conv2d_s8", "qemu")


@pytest.mark.parametrize("place", PLACES)
def test_finds_other_values(place: Place) -> None:
    found = complaint(OtherPadding, "rnnc_conv2d_s8", place)
    assert "elements differ, first at (0, 0, 0): numpy " in found


def test_says_what_differs() -> None:
    case = next(iter(cases_of(Conv2D, "fast")))
    results = [Result(np.zeros(case.sample.output.shape, np.int8), 0, True)]
    assert disagreement(case, results, "").endswith("lowest: wrote outside its buffers")
    assert disagreement(case, [], "the board burnt") == f"{case.label}: no result, the board burnt"
