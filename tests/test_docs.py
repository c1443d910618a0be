"""The pages of docs/: their links lead somewhere, and the generated ones are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.benchmark import BEGIN, END, HEAD, NETWORKS, SCHEDULES, replace_table
from scripts.operators_page import page

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (DOCS / link).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_files_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:rnnc|runtime|boards|tests|scripts)/[a-z0-9_./-]+\.\w+)`", text)
    assert [name for name in named if not (DOCS.parent / name).exists()] == []


def test_the_operators_page_is_up_to_date() -> None:
    assert (DOCS / "operators.md").read_text(encoding="utf-8") == page(), "make it anew: see scripts/operators_page.py"


def test_the_benchmark_table_has_every_network_in_every_schedule() -> None:
    table = (DOCS / "benchmarks.md").read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert table.startswith(HEAD)
    rows = [tuple(cell.strip() for cell in line.split("|")[1:3]) for line in table.splitlines()[2:]]
    assert rows == [(network, schedule) for network in NETWORKS for schedule in SCHEDULES]


def test_a_new_table_replaces_the_old_one_alone() -> None:
    text = f"before\n{BEGIN}old\n{END}after\n"
    assert replace_table(text, "new\n") == f"before\n{BEGIN}new\n{END}after\n"
    with pytest.raises(SystemExit, match="lacks the marks"):
        replace_table("a page", "new\n")
