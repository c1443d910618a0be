"""One message says what, where, why and what to do; the exit codes are those of the command line."""

from __future__ import annotations

import pytest

from rnnc.diagnostics import BudgetError, CompileError, VerificationError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CompileError("the file is empty"), "the file is empty"),
        (CompileError("the file is empty", where="model.onnx"), "model.onnx: the file is empty"),
        (CompileError("too big", why="64 KiB is the limit"), "too big\n  why: 64 KiB is the limit"),
        (CompileError("too big", remedy="use --ram"), "too big\n  try: use --ram"),
        (
            CompileError("too big", where="node 'a'", why="it has 9 rows", remedy="use --ram"),
            "node 'a': too big\n  why: it has 9 rows\n  try: use --ram",
        ),
        (CompileError("too big", where="", why="", remedy=""), "too big"),
    ],
)
def test_a_message_has_its_parts_in_order(error: CompileError, text: str) -> None:
    assert str(error) == text


def test_the_parts_stay_apart_for_those_who_tell_it_again() -> None:
    error = CompileError("what", where="where", why="why", remedy="remedy")
    assert (error.what, error.where, error.why, error.remedy) == ("what", "where", "why", "remedy")


@pytest.mark.parametrize(("kind", "code"), [(CompileError, 2), (BudgetError, 1), (VerificationError, 1)])
def test_exit_codes(kind: type[CompileError], code: int) -> None:
    assert kind.exit_code == code
    assert issubclass(kind, CompileError)
