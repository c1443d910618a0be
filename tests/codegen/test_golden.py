"""The generated C of small graphs, to be read: `pytest tests/codegen --update-golden` rewrites it."""

from __future__ import annotations

import pytest

from rnnc.codegen.render import render
from tests.codegen.graphs import GOLDEN, GRAPHS, program_of

FILES = ("model.h", "model.c", "weights.c")


@pytest.mark.parametrize("name", GRAPHS)
def test_generated_files_are_as_reviewed(name: str, request: pytest.FixtureRequest) -> None:
    files = render(program_of(name))
    folder = GOLDEN / name
    if request.config.getoption("--update-golden"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            (folder / file).write_text(files[file], encoding="utf-8")
    for file in FILES:
        assert files[file] == (folder / file).read_text(encoding="utf-8"), f"{name}/{file}"


@pytest.mark.parametrize("name", GRAPHS)
def test_generating_twice_gives_the_same(name: str) -> None:
    assert render(program_of(name)) == render(program_of(name))
