"""The pages of docs/: their links lead somewhere, and the generated ones are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.benchmark import KERNEL_TABLE, NETWORK_TABLE, NETWORKS, SCHEDULES, Table
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


TABLES = pytest.mark.parametrize("table", [NETWORK_TABLE, KERNEL_TABLE], ids=lambda table: table.mark)


@TABLES
def test_the_benchmark_tables_have_known_rows_and_the_columns_of_the_script(
    table: Table,
) -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    rows = table.old(page)
    assert rows.keys() <= {(network, schedule) for network in NETWORKS for schedule in SCHEDULES}
    head = table.text([], {}).splitlines()[0]
    assert not rows or head in page
    assert all(row[column] for row in rows.values() for column in ("network", *table.compared))


@TABLES
def test_a_new_table_replaces_the_old_one_alone(table: Table) -> None:
    begin, end = table.ends
    text = f"before\n{begin}old\n{end}after\n"
    assert table.replaced(text, "new\n") == f"before\n{begin}new\n{end}after\n"
    with pytest.raises(SystemExit, match="lacks the lines"):
        table.replaced("a page", "new\n")


def test_old_figures_are_found_again() -> None:
    begin, end = NETWORK_TABLE.ends
    page = f"{begin}| network | schedule | RAM | before |\n|---|---|--:|--:|\n| a | ram | 1,234 | 2,345 |\n{end}"
    assert NETWORK_TABLE.old(page)["a", "ram"]["RAM"] == "1,234"
