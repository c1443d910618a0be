"""Rings, lives and in-place sharing, against examples worked out by hand."""

from __future__ import annotations

import pytest

from rnnc.ir.graph import Graph
from rnnc.scheduler.assembly import assemble, draft
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import OutputMode, Plan
from rnnc.scheduler.segments import Options
from tests.scheduler.builders import Builder, Mix, Negate, Sum, Total, buffer


def one_stage(graph: Graph, streamed: bool = True) -> Plan:
    network = Network(graph)
    options = Options("stream", "stream") if streamed else Options()
    return assemble(draft(network, "rows", [tuple(range(len(network.tasks)))], options), [None])


def layers(graph: Graph) -> Plan:
    network = Network(graph)
    stages = [(task,) for task in range(len(network.tasks))]
    return assemble(draft(network, "layer", stages, Options()), [None])


def test_a_chain_of_3x3_kernels_holds_three_rows_of_each() -> None:
    b = Builder((20, 8, 2))
    x = b.inputs[0]
    for _ in range(3):
        x = b.add(Mix(), x)
    plan = one_stage(b.done(x))
    assert [plan.place_of(name).rows for name in ("x0", "t1", "t2", "t3")] == [3, 3, 3, 1]
    assert plan.arena == 10 * 16


@pytest.mark.parametrize(
    ("op", "rows"),
    [
        (Mix(1, 1, 0), 1),
        (Mix(1, 2, 0), 1),  # the row between two is made, and overwritten unread
        (Mix(2, 2, 0), 2),
        (Mix(3, 2, 1), 3),
        (Mix(5, 1, 2), 5),
        (Mix(3, 1, 2, dilation=2), 5),
        (Mix(7, 4, 3), 7),
    ],
)
def test_a_ring_is_as_long_as_the_reach_of_the_kernel(op: Mix, rows: int) -> None:
    b = Builder((24, 4, 1))
    plan = one_stage(b.done(b.add(op, b.add(Mix(1, 1, 0), b.inputs[0]))))
    assert plan.place_of("t1").rows == rows


def test_a_residual_is_a_delay_line() -> None:
    b = Builder((20, 4, 2))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    wide = b.add(Mix(1, 1, 0, channels=12), x)
    narrow = b.add(Mix(1, 1, 0, channels=2), b.add(Mix(), wide))
    plan = one_stage(b.done(b.add(Sum(), x, narrow)))
    # row y of the sum needs row y of x, made with row y + 1 because the 3x3 kernel looks one row ahead
    assert plan.place_of("t1").rows == 2
    assert plan.place_of("t2").rows == 3
    assert plan.place_of("t3").rows == 1


def test_two_residuals_deep_delay() -> None:
    b = Builder((20, 4, 2))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    plan = one_stage(b.done(b.add(Sum(), x, b.add(Mix(5, 1, 2), b.add(Mix(), x)))))
    assert plan.place_of("t1").rows == 4


def test_whole_tensors_between_stages() -> None:
    b = Builder((6, 4, 1))
    plan = layers(b.done(b.add(Mix(), b.add(Mix(), b.inputs[0]))))
    assert [plan.place_of(name).rows for name in ("x0", "t1", "t2")] == [6, 6, 6]
    assert (plan.place_of("t1").first_step, plan.place_of("t1").last_step) == (0, 11)
    assert (plan.place_of("x0").first_step, plan.place_of("x0").last_step) == (0, 5)


def test_an_output_grows_into_the_space_its_input_leaves() -> None:
    b = Builder((16, 8, 1))
    plan = layers(b.done(b.add(Mix(), b.inputs[0])))
    # 3x3: output row y is written while input rows y - 1 .. are needed, so two rows more than the tensor
    assert plan.arena == (16 + 2) * 8
    assert plan.place_of("t1").offset == 0
    assert plan.place_of("x0").offset == 16


def test_an_in_place_operator_takes_over_its_input() -> None:
    b = Builder((6, 8, 1))
    plan = layers(b.done(b.add(Negate(), b.add(Negate(), b.inputs[0]))))
    assert [buffer(plan, name) for name in ("x0", "t1", "t2")] == [(6, 48, ""), (6, 48, "x0"), (6, 48, "x0")]
    assert plan.arena == 48


def test_not_in_place_where_the_input_is_read_later() -> None:
    b = Builder((6, 8, 1))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    flipped = b.add(Negate(), x)
    plan = layers(b.done(b.add(Sum(), flipped, b.add(Mix(), x))))
    assert buffer(plan, "t2") == (6, 48, "")
    assert buffer(plan, "t4")[2] in ("t2", "t3")


def test_in_place_within_rings() -> None:
    b = Builder((12, 8, 1))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    plan = one_stage(b.done(b.add(Mix(), b.add(Negate(), x))))
    # one place of three rows instead of three and one
    assert buffer(plan, "t1") == (3, 24, "")
    assert buffer(plan, "t2") == (3, 24, "t1")


@pytest.mark.parametrize("output_mode", ["buffer", "stream"])
def test_outputs_are_whole_only_if_they_are_held(output_mode: OutputMode) -> None:
    b = Builder((12, 8, 1))
    network = Network(b.done(b.add(Mix(), b.inputs[0])))
    plan = assemble(draft(network, "rows", [(0,)], Options("stream", output_mode)), [None])
    place = plan.place_of("t1")
    assert (place.rows, place.last_step) == (12 if output_mode == "buffer" else 1, 11)


def test_scratch_and_state() -> None:
    b = Builder((6, 8, 1))
    x = b.add(Mix(1, 1, 0, scratch=40), b.inputs[0])
    plan = one_stage(b.done(b.add(Total(), b.add(Mix(1, 1, 0, scratch=24), x))))
    scratch, other, state = (
        plan.buffer_of("n1", "scratch"), plan.buffer_of("n2", "scratch"), plan.buffer_of("n3", "state"),
    )  # fmt: skip
    assert scratch is not None and other is not None and state is not None
    # never at the same step, so in the same place
    assert scratch.offset < other.offset + other.size and other.offset < scratch.offset + scratch.size
    assert (state.size, state.first_step, state.last_step) == (32, 2, 17)


def test_a_graph_input_read_by_two_stages_is_held_whole_even_if_streamed() -> None:
    b = Builder((6, 8, 1))
    one = b.add(Mix(), b.inputs[0])
    two = b.add(Mix(), b.inputs[0])
    network = Network(b.done(b.add(Sum(), one, two)))
    plan = assemble(draft(network, "layer", [(0,), (1,), (2,)], Options("stream")), [None])
    assert plan.place_of("x0").rows == 6
