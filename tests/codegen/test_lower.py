"""What lower decides: names, tables, offsets; and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnc.codegen.lower import check_name, comment, identifier, lower, unique_identifiers, used_banks
from rnnc.codegen.report import build_report, static_bytes
from rnnc.diagnostics import CompileError
from rnnc.ir.ops import OPS
from rnnc.ir.text import parse_graph
from rnnc.scheduler.auto import schedule
from rnnc.scheduler.bounds import memory_bounds
from rnnc.scheduler.choose import Scheduled
from rnnc.scheduler.execution import Network
from rnnc.scheduler.segments import Options
from rnnc.target import load_target
from tests.codegen.graphs import graph_of, plan_of, program_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("KWS-small.v2", "kws_small_v2"),
        ("3d", "m_3d"),
        ("while", "m_while"),
        ("", "model"),
        ("äöü", "model"),
        ("a  b__", "a_b"),
        ("int8_t", "int8_t"),
    ],
)
def test_identifier(text: str, name: str) -> None:
    assert identifier(text) == name


@pytest.mark.parametrize("name", ["Face", "1st", "a-b", "", "for", "rnnc_x", "a" * 41, "ä", "a\n"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(CompileError, match="cannot name the generated functions"):
        check_name(name)


def test_port_names_stay_apart() -> None:
    assert unique_identifiers(["anything"], "input") == {"anything": "input"}
    names = unique_identifiers(["a/b", "a.b", "c"], "input")
    assert names == {"a/b": "input_a_b", "a.b": "input_a_b_1", "c": "input_c"}
    clash = unique_identifiers(["a_1", "a", "A"], "output")
    assert len(set(clash.values())) == 3


def test_comments_cannot_end_early() -> None:
    assert "*/" not in comment("a */ b **// c")
    assert "/*" not in comment("a /* b")
    assert comment("end\\") == "end/"
    assert comment("é\n\t") == "???"


def test_used_banks_keeps_the_first() -> None:
    assert used_banks((0, 0)) == (0,)
    assert used_banks((8, 0)) == (8,)
    assert used_banks((0, 8)) == (0, 8)


def test_tensors_windows_and_jobs() -> None:
    program = program_of("residual")
    assert [(t.row_bytes, t.height, t.producer) for t in program.tensors] == [
        (6, 4, "RNNC_NONE"),
        (6, 4, "0"),
        (12, 4, "1"),
    ]
    assert [(w.tensor, w.rows, w.stride, w.pad) for w in program.windows] == [(0, 3, 1, 1), (1, 1, 1, 0), (0, 1, 1, 0)]
    assert [(op.kernel, op.first_window, op.windows, op.output, op.jobs) for op in program.ops] == [
        ("rnnc_max_pool_s8", 0, 1, 1, 4),
        ("rnnc_concat", 1, 2, 2, 4),
    ]
    assert program.stream_input
    assert not program.stream_output
    assert program.runtime == ("engine", "pool", "shape")


def test_streamed_outputs_cost_three_pointers() -> None:
    held, streamed = program_of("two_outputs"), program_of("two_outputs_streamed")
    assert streamed.stream_output
    assert not held.stream_output
    assert static_bytes(streamed) == static_bytes(held) + 12
    assert streamed.output_bytes == 24


def test_equal_tables_are_stored_once() -> None:
    text = """
graph "g" arithmetic=fast macs=0 {
  input "x" %x: int8[2,2,1] q(0.5, 0) as int8(2, 2, 1) axes=() batched
  %a: int8[2,2,2] q(0.5, 0) = concat_rows(%x, %x) "one" {axis=2}
  %b: int8[2,2,2] q(0.5, 0) = concat_rows(%x, %x) "two" {axis=2}
  output "a" %a as int8(2, 2, 2) axes=() batched
  output "b" %b as int8(2, 2, 2) axes=() batched
}
"""
    graph = parse_graph(text, OPS)
    program = lower(graph, schedule(graph, load_target(), "layer"), "g")
    assert [array.name for array in program.arrays] == ["g_op00_sizes"]
    assert [dict(item.members)["sizes"] for item in program.params] == ["g_op00_sizes"] * 2


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of("residual")
    plan = plan_of("residual", graph)
    graph.nodes[0].op = replace(graph.nodes[0].op, kernel_shape=(65, 1), pads=(32, 0, 32, 0))  # type: ignore[call-arg]
    with pytest.raises(CompileError, match=r"node 'pool': needs 65 rows at once\n  why: .* at most 64") as caught:
        lower(graph, plan, "g")
    assert "try: " in str(caught.value)


def test_report_adds_up_without_a_compiler() -> None:
    graph = graph_of("two_outputs")
    plan = plan_of("two_outputs", graph)
    program = lower(graph, plan, "g")
    bounds = memory_bounds(Network(graph), Options())
    report = build_report(bounds, Scheduled(graph, plan), program, load_target().banks, None, [], "cortex-m4")
    assert report["ram"]["total"] == report["ram"]["arena"] + static_bytes(program)
    assert report["ram"]["stack"] is None
    assert report["flash"]["total"] is None
    assert static_bytes(program) % 4 == 0
