"""Which files a bundle gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnc.codegen.render import closure, included, render, runtime_files
from rnnc.resources import runtime_dir, templates_dir
from tests.codegen.graphs import GRAPHS, program_of

FAMILIES = sorted(path.stem for path in (runtime_dir() / "src").glob("*.c"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_header_that_a_family_needs_comes_with_it(family: str) -> None:
    """A bundle of that family alone, as a model with one operator is."""
    header = f"rnnc_{family}.h"
    headers = (header,) if (runtime_dir() / "include" / header).exists() else ()
    files = runtime_files(replace(program_of("residual"), runtime=("engine", family), headers=headers))
    named = included(files.values())
    assert named <= files.keys() | {"rnnc_config.h"}
    assert f"rnnc_{family}.c" in files
    assert "rnnc_config.h" not in files


def test_closure_follows_includes() -> None:
    headers = {"a.h": '#include "b.h"\n', "b.h": '#include "c.h"\n#include "a.h"\n', "c.h": "", "d.h": ""}
    assert closure({"a.h"}, headers) == {"a.h", "b.h", "c.h"}


@pytest.mark.parametrize("name", GRAPHS)
def test_generated_text_is_tidy(name: str) -> None:
    for file, text in render(program_of(name)).items():
        assert text.endswith("\n"), file
        assert "\t" not in text, file
        assert not [line for line in text.splitlines() if line != line.rstrip()], file
        assert all(ord(char) < 127 for char in text), file


def test_templates_decide_nothing() -> None:
    """No size, kernel or offset is computed in a template: arithmetic belongs in lower.py."""
    for path in templates_dir().glob("*.j2"):
        for piece in path.read_text(encoding="utf-8").split("{{")[1:]:
            expression = piece.partition("}}")[0]
            assert not set("*/%<>") & set(expression.replace('"', "")), f"{path.name}: {expression}"
