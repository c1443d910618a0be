"""Whole plans: every schedule of random graphs gives the bytes of whole tensors, and the validator accepts it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnc.diagnostics import BudgetError, CompileError
from rnnc.ir.graph import Graph, Value
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.scheduler.simulate import simulate
from tests.scheduler.builders import (
    ROOMY,
    Builder,
    Join,
    Mix,
    Negate,
    Sum,
    Total,
    conv,
    random_inputs,
    target,
    whole_tensors,
)

INPUT_MODES: tuple[InputMode, ...] = ("buffer", "stream", "lent")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    b = Builder((draw(st.integers(1, 14)), draw(st.integers(1, 5)), draw(st.integers(1, 3))))
    values: list[Value] = list(b.inputs)
    for _ in range(draw(st.integers(1, 9))):
        x = draw(st.sampled_from(values[-3:]))
        kind = draw(st.sampled_from(["mix", "mix", "mix", "negate", "sum", "join", "total"]))
        peers = [v for v in values if v.type.shape == x.type.shape]
        if kind == "sum":
            values.append(b.add(Sum(), x, draw(st.sampled_from(peers))))
        elif kind == "join" and x.type.channels < 12:
            values.append(b.add(Join(), x, draw(st.sampled_from(peers))))
        elif kind == "negate":
            values.append(b.add(Negate(), x))
        elif kind == "total":
            values.append(b.add(Total(), x))
        else:
            rows, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 2))
            pad = draw(st.integers(0, (rows - 1) * dilation))
            stride = draw(st.integers(1, 3))
            op = Mix(rows, stride, pad, dilation, draw(st.integers(0, 4)), draw(st.sampled_from([0, 5, 24])))
            if x.type.height + 2 * pad > (rows - 1) * dilation:
                values.append(b.add(op, x))
    used = {value for node in b.graph.nodes for value in node.inputs}
    if not b.graph.nodes:
        values.append(b.add(Negate(), b.inputs[0]))
    ends = [value for value in values[1:] if value not in used]
    return b.done(*dict.fromkeys([*ends, draw(st.sampled_from(values[1:]))]))


def same_bytes(graph: Graph, plan: Plan) -> None:
    inputs = random_inputs(graph, np.random.default_rng(3))
    expected = whole_tensors(graph, inputs)
    rows: dict[int, list[bytes]] = {}
    result = simulate(graph, plan, inputs, lambda op, row, data: rows.setdefault(op, []).append(data))
    for port in graph.outputs:
        np.testing.assert_array_equal(result[port.name], expected[port.value.name])
    names = [name for stage in plan.stages for name in stage.nodes]
    made = {node.name: node.output for node in graph.nodes}
    for op, data in rows.items():
        value = made[names[op]]
        assert expected[value.name][: len(data)].tobytes() == b"".join(data)


@settings(max_examples=40, deadline=None)
@given(graphs(), st.sampled_from(["layer", "rows", "auto"]), st.sampled_from(INPUT_MODES), st.booleans(), st.booleans())
def test_random_graphs(graph: Graph, mode: Mode, input_mode: InputMode, stream_out: bool, sliding: bool) -> None:
    output_mode: OutputMode = "stream" if stream_out else "buffer"
    plan = schedule(graph, ROOMY, mode, input_mode, output_mode, sliding=sliding)
    assert plan.arena >= plan.live_peak >= plan.least_live
    same_bytes(graph, plan)


@settings(max_examples=15, deadline=None)
@given(graphs())
def test_random_graphs_over_two_banks(graph: Graph) -> None:
    """Half of what a single bank would need in the first, the same in the second."""
    alone = schedule(graph, ROOMY, "layer").arena
    half = (max(alone * 5 // 8, graph.inputs[0].value.type.bytes) + 7) // 8 * 8
    try:
        plan = schedule(graph, target(half, half), "layer")
    except BudgetError:
        return
    assert all(size <= half for size in plan.bank_sizes)
    assert plan.place_of("x0").bank == 0
    same_bytes(graph, plan)


def test_lent_inputs_take_no_memory_and_are_not_overwritten() -> None:
    b = Builder((8, 4, 2), (8, 4, 2))
    graph = b.done(b.add(Sum(), b.add(Negate(), b.inputs[0]), b.inputs[1]))
    plan = schedule(graph, ROOMY, "rows", "lent", "stream")
    assert {buffer.value for buffer in plan.buffers} == {"t1", "t2"}
    assert plan.arena == 8  # the one row that is negated, and then the sum
    same_bytes(graph, plan)
    assert schedule(graph, ROOMY, "rows", "buffer", "stream").arena == 2 * 64


def test_an_input_that_is_an_output_cannot_be_lent() -> None:
    b = Builder((8, 4, 2))
    graph = b.done(b.add(Negate(), b.inputs[0]), b.inputs[0])
    with pytest.raises(CompileError, match=r"'x0' is also an output, so it cannot be lent"):
        schedule(graph, ROOMY, "auto", "lent")


def bottleneck(b: Builder, rng: np.random.Generator, x: Value, channels: int, stride: int) -> Value:
    wide = b.add(conv(rng, x, 4 * x.type.channels, 1), x)
    deep = b.add(conv(rng, wide, wide.type.channels, 3, stride, depthwise=True), wide)
    y = b.add(conv(rng, deep, channels, 1), deep)
    return b.add(Sum(), x, y) if y.type.shape == x.type.shape else y


def mobile_network() -> Graph:
    rng = np.random.default_rng(0)
    b = Builder((32, 32, 3))
    x = b.add(conv(rng, b.inputs[0], 8, 3, 2), b.inputs[0])
    for channels, stride in [(8, 1), (8, 1), (16, 2), (16, 1), (24, 2), (24, 1)]:
        x = bottleneck(b, rng, x, channels, stride)
    head = b.add(conv(rng, x, 5, 3), x)
    return b.done(head, b.add(Total(), x))


@pytest.mark.parametrize("mode", ["layer", "rows"])
@pytest.mark.parametrize("streamed", [False, True])
def test_inverted_bottlenecks_with_convolutions(mode: Mode, streamed: bool) -> None:
    graph = mobile_network()
    plan = schedule(graph, ROOMY, mode, *(("stream", "stream") if streamed else ("buffer", "buffer")))
    same_bytes(graph, plan)


def test_rows_need_far_less_than_layers() -> None:
    graph = mobile_network()
    layer, rows = schedule(graph, ROOMY, "layer", "stream"), schedule(graph, ROOMY, "rows", "stream")
    assert rows.arena < layer.arena // 2
    assert schedule(graph, ROOMY, "auto", "stream") == rows
    assert any(len(stage.nodes) > 1 for stage in rows.stages)
    assert {stage.kind for stage in layer.stages} == {"layer"}


def test_all_macs_are_counted_once() -> None:
    graph = mobile_network()
    plan = schedule(graph, ROOMY)
    nominal = sum(node.op.macs(node.input_types, node.output.type) for node in graph.nodes)  # type: ignore[attr-defined]
    assert plan.executed_macs == nominal > 0


def test_plans_are_the_same_every_time() -> None:
    assert schedule(mobile_network(), ROOMY) == schedule(mobile_network(), ROOMY)


def test_branches_are_ordered_to_keep_the_peak_low() -> None:
    """The branch that shrinks must come before the one that stays wide."""
    b = Builder((8, 8, 4))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    wide = b.add(Mix(1, 1, 0, channels=8), x)
    big = b.add(Total(), b.add(Mix(channels=16), b.add(Mix(), wide)))
    small = b.add(Total(), b.add(Mix(3, 2, 1, channels=1), x))
    layer = schedule(b.done(b.add(Join(), big, small)), ROOMY, "layer")
    names = [stage.nodes[0] for stage in layer.stages]
    assert names.index("n6") < names.index("n2")


def test_the_peak_is_explained() -> None:
    plan = schedule(mobile_network(), ROOMY, "layer")
    sizes = {b.name: b.size for b in plan.buffers}
    assert sum(sizes[name] for name in plan.peak_buffers) >= plan.live_peak
    assert 0 <= plan.peak_step < plan.jobs
    assert plan.notes[0].endswith("0 of them row by row")


def test_over_budget_message() -> None:
    with pytest.raises(BudgetError) as caught:
        schedule(mobile_network(), target(4096, 1024), "layer")
    text = str(caught.value)
    assert caught.value.where is not None and caught.value.where.startswith("n")
    assert "4096 in bank0 + 1024 in bank1" in text
    assert "--schedule auto or rows, --input-mode stream" in text
    assert "most is in use at step" in text


def test_streamed_outputs_are_advised_where_an_output_is_in_the_way() -> None:
    b = Builder((8, 8, 2))
    graph = b.done(b.add(Mix(channels=16), b.inputs[0]))
    with pytest.raises(BudgetError, match="--input-mode stream or lent, --output-mode stream, a smaller"):
        schedule(graph, ROOMY, ram=100)


def test_ram_limit_message() -> None:
    with pytest.raises(BudgetError, match="but 1000 bytes were asked for"):
        schedule(mobile_network(), ROOMY, ram=1000)


def test_stack_takes_from_the_first_bank() -> None:
    arena = schedule(mobile_network(), ROOMY).arena
    schedule(mobile_network(), target(arena + 512), reserved=512)
    with pytest.raises(BudgetError, match=f"there are {arena - 8} in bank0"):
        schedule(mobile_network(), target(arena + 512), reserved=520)


def test_patches_are_refused() -> None:
    with pytest.raises(CompileError, match="the schedule 'patches' cannot be made"):
        schedule(mobile_network(), ROOMY, "patches")


def test_an_input_cannot_be_a_streamed_output() -> None:
    b = Builder((4, 4, 1))
    y = b.add(Negate(), b.inputs[0])
    with pytest.raises(CompileError, match="the output 'x0' is an input as it came") as caught:
        schedule(b.done(y, b.inputs[0]), ROOMY, "auto", "buffer", "stream")
    assert "--output-mode buffer" in str(caught.value)


def test_a_streamed_input_cannot_be_an_output() -> None:
    b = Builder((4, 4, 1))
    y = b.add(Negate(), b.inputs[0])
    with pytest.raises(CompileError, match="the input 'x0' is also an output"):
        schedule(b.done(y, b.inputs[0]), ROOMY, "auto", "stream")
