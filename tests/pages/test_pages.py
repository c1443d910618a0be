"""The HTML pages: whole, self-contained, and drawing what the plan says."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, get_args

import numpy as np
import pytest

from rnnc.codegen.lower import lower
from rnnc.codegen.optimality import optimality
from rnnc.codegen.report import build_report
from rnnc.ir.graph import Graph
from rnnc.pages.arena import COLOURS, columns
from rnnc.pages.front import front_page
from rnnc.pages.html import Html, html, name, table
from rnnc.pages.report import report_page
from rnnc.pages.svg import Scale, shortened
from rnnc.scheduler.auto import schedule
from rnnc.scheduler.bounds import memory_bounds
from rnnc.scheduler.choose import Scheduled
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import BufferKind, Plan
from rnnc.scheduler.segments import Options
from rnnc.scheduler.usage import Place, most_in_use, usage
from rnnc.target import load_target
from tests.codegen.graphs import GRAPHS, graph_of, plan_of
from tests.scheduler.builders import target
from tests.scheduler.test_plans import mobile_network

VOID = {"meta", "br", "path", "rect", "circle"}


class Checker(HTMLParser):
    """Raises where tags do not match; collects the rest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attributes if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def report_of(graph: Graph, plan: Plan, model: str = "net") -> dict[str, Any]:
    bounds = memory_bounds(Network(graph), Options(plan.input_mode, plan.output_mode))
    program = lower(graph, plan, model)
    return build_report(bounds, Scheduled(graph, plan), program, load_target().banks, None, [], "cortex-m4")


@pytest.mark.parametrize("case", GRAPHS)
def test_a_report_is_whole_and_needs_no_other_file(case: str) -> None:
    graph = graph_of(case)
    plan = plan_of(case, graph)
    page = report_page(report_of(graph, plan), graph, plan)
    checked = Checker(page)
    assert checked.links == []
    assert not {"script", "link", "img"} & set(checked.tags)
    assert not re.search(r"https?://|url\(|@import", page)
    for node in graph.nodes:
        assert html(node.name) in page, "names are escaped"
    for buffer in plan.buffers:
        assert f"{buffer.size:,} bytes at {buffer.offset:,}" in page or buffer.shares_with


@pytest.mark.parametrize("sliding", [False, True])
def test_every_place_of_every_bank_is_drawn(sliding: bool) -> None:
    graph = mobile_network()
    alone = schedule(graph, target(1 << 20), "rows", sliding=sliding).arena
    size = max(alone * 3 // 4, graph.inputs[0].value.type.bytes) // 8 * 8
    plan = schedule(graph, target(size, size), "rows", sliding=sliding)
    assert min(plan.bank_sizes) > 0
    assert sliding == any(buffer.slides for buffer in plan.buffers)
    report_page(report_of(graph, plan), graph, plan)
    used = usage(graph, plan)
    assert {place.bank for place in used.places} == {0, 1}
    for place in used.places:
        assert place.offset <= place.low[place.low < place.high].min(initial=1 << 30)
        assert place.high.max() <= place.offset + place.size <= plan.bank_sizes[place.bank]
    assert int(used.live.max()) == plan.live_peak == int(used.live[plan.peak_step])
    total = np.zeros(plan.jobs, np.int64)
    for place in used.places:
        total[place.first : place.first + len(place.low)] += place.high - place.low
    np.testing.assert_array_equal(total, used.live)
    assert used.stage_ends[-1] == plan.jobs == len(used.node)
    assert max(most_in_use(graph, plan).values()) == plan.live_peak


def test_every_kind_of_buffer_has_a_colour() -> None:
    assert COLOURS.keys() == set(get_args(BufferKind))
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_a_column_shows_all_that_its_steps_use() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 50, 700)
    high = low + rng.integers(0, 30, 700)  # a few steps use nothing
    edges, lowest, highest = columns(Place(("x",), "ring", 0, 0, 80, 123, low, high), 1000)
    assert (edges[0], edges[-1]) == (123, 823)
    assert (np.diff(edges) > 0).all()
    for begin, end, bottom, top in zip(edges[:-1] - 123, edges[1:] - 123, lowest, highest, strict=True):
        used = low[begin:end] < high[begin:end]
        assert bottom == (low[begin:end][used].min() if used.any() else 0)
        assert top == (high[begin:end][used].max() if used.any() else 0)


def test_the_front_is_drawn_and_listed() -> None:
    graph = graph_of("residual")
    report = report_of(graph, plan_of("residual", graph))
    smaller = {**report, "ram": {**report["ram"], "total": 7}, "macs": {"nominal": 96, "executed": 200}}
    page = front_page("a<b", [(report, "rnnc compile 'a<b.onnx' --ram 99"), (smaller, "rnnc compile x --ram 7")])
    checked = Checker(page)
    assert checked.tags.count("circle") == 2
    assert checked.links == []
    assert "a&lt;b.onnx" in page
    assert "plan 1: 7 bytes of RAM, 200 MACs" in page


def test_text_is_escaped_and_html_is_not() -> None:
    assert html("a<b & c") == "a&lt;b &amp; c"
    assert html(Html("<b>x</b>")) == "<b>x</b>"
    assert html(1234567) == "1,234,567"
    assert name("<" + "x" * 99).startswith('<span title="&lt;xxx')
    assert '<td class="text">&lt;i&gt;</td><td class="">1,000</td>' in table(("<what", "bytes"), [("<i>", 1000)])


@pytest.mark.parametrize(("high", "ticks"), [(10, [0, 2, 4, 6, 8, 10]), (41232, [0, 10000, 20000, 30000, 40000])])
def test_ticks_are_round(high: int, ticks: list[int]) -> None:
    assert Scale(0, high, 0, 100).ticks() == ticks
    assert Scale(0, 0, 5, 5)(0) == 5


def test_labels_are_cut_or_left_out() -> None:
    assert shortened("conv1", 60) == "conv1"
    assert shortened("a_very_long_name", 60) == "a_very_lo…"
    assert shortened("a_very_long_name", 20) == ""


def test_a_report_says_what_is_known_about_its_plan() -> None:
    graph = graph_of("residual")
    plan = plan_of("residual", graph)
    scheduled = Scheduled(graph, plan, judged=5, possible=10**9)
    loose = replace(plan, bank_sizes=(plan.live_peak + 8,), least_live=plan.live_peak)
    said = "\n".join(optimality(replace(scheduled, plan=loose), 10)["statements"])
    assert "along the only order they can run in" in said
    assert f"has 8 bytes ({100 * 8 / plan.live_peak:.1f} %) more than the fullest step uses" in said
    assert "5 of about 10^9 configurations were judged, by a heuristic" in said
    tight = replace(loose, bank_sizes=(plan.live_peak,))
    said = "\n".join(optimality(Scheduled(graph, tight), plan.live_peak)["statements"])
    for claim in ("Placement: optimal", "Together: optimal with", "no others to choose from", "Any schedule: optimal"):
        assert claim in said
