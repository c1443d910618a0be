"""The validator must catch every way in which a plan can be wrong, and say which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnc.diagnostics import VerificationError
from rnnc.ir.graph import Graph
from rnnc.scheduler.assembly import assemble, draft
from rnnc.scheduler.auto import schedule
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import Buffer, Plan
from rnnc.scheduler.segments import Options
from rnnc.scheduler.validate import validate
from tests.scheduler.builders import ROOMY, Builder, Mix, Negate, Sum, Total


def network() -> Graph:
    b = Builder((12, 8, 2))
    x = b.add(Mix(1, 1, 0, scratch=16), b.inputs[0])
    y = b.add(Sum(), x, b.add(Mix(), x))
    z = b.add(Mix(3, 2, 1), b.add(Negate(), y))
    return b.done(z, b.add(Total(), z))


def plan_of(graph: Graph) -> Plan:
    options = Options("stream", "buffer")
    return assemble(draft(Network(graph), "rows", [(0, 1, 2), (3, 4), (5,)], options), [None])


def change(plan: Plan, name: str, **fields: int | str) -> Plan:
    assert name in {buffer.name for buffer in plan.buffers}

    def changed(buffer: Buffer) -> Buffer:
        return replace(buffer, **fields) if buffer.name == name else buffer  # type: ignore[arg-type]

    return replace(plan, buffers=tuple(changed(buffer) for buffer in plan.buffers))


def without(plan: Plan, name: str) -> Plan:
    return replace(plan, buffers=tuple(buffer for buffer in plan.buffers if buffer.name != name))


def rejected(graph: Graph, plan: Plan, message: str, where: str, capacities: list[int] | None = None) -> None:
    with pytest.raises(VerificationError, match=message) as caught:
        validate(graph, plan, capacities)
    assert caught.value.where == where


def test_the_plan_itself_is_accepted() -> None:
    validate(network(), plan_of(network()), [plan_of(network()).arena])


def test_shifted_offset() -> None:
    graph, plan = network(), plan_of(network())
    caught = 0
    for buffer in plan.buffers:
        for offset in range(0, plan.arena - buffer.size + 1, 8):
            if offset != buffer.offset:
                try:
                    validate(graph, change(plan, buffer.name, offset=offset))
                except VerificationError as error:
                    assert "overwritten" in error.what
                    caught += 1
    assert caught > 20
    other = plan.place_of("t2").offset
    with pytest.raises(VerificationError, match="t1: row 0 is overwritten by job 0 of 'n2' as it"):
        validate(graph, change(plan, "t1", offset=other))


def test_ring_one_row_short() -> None:
    graph, plan = network(), plan_of(network())
    assert plan.place_of("t1").rows == 3
    shorter = change(plan, "t1", rows=2, size=32)
    rejected(graph, shorter, "row 0 was overwritten before job 1 of 'n2' reads it", "t1")


def test_swapped_stages() -> None:
    graph, plan = network(), plan_of(network())
    first, second, third = plan.stages
    rejected(graph, replace(plan, stages=(second, first, third)), "it comes before 'n3', whose output it reads", "n4")


def test_node_left_out() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, replace(plan, stages=plan.stages[:2]), "do not hold every node exactly once", "test")


def test_missing_sink() -> None:
    graph, plan = network(), plan_of(network())
    stage = replace(plan.stages[0], sinks=("n1",))
    stages = (stage, *plan.stages[1:])
    rejected(graph, replace(plan, stages=stages), "not a sink of its own", "n3")


def test_output_that_is_no_sink() -> None:
    b = Builder((4, 4, 1))
    y = b.add(Negate(), b.inputs[0])
    graph = b.done(y, b.add(Mix(), y))
    plan = assemble(draft(Network(graph), "rows", [(0, 1)], Options()), [None])
    stage = replace(plan.stages[0], sinks=("n2",))
    rejected(graph, replace(plan, stages=(stage,)), "makes an output of the graph, but is not a sink", "n1")


def test_no_ticks() -> None:
    graph, plan = network(), plan_of(network())
    stages = (replace(plan.stages[0], ticks=0), *plan.stages[1:])
    rejected(graph, replace(plan, stages=stages), "no ticks", "n1")


def test_bank_too_small() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, plan, "more than it has", "bank 0", [plan.arena - 8])
    top = max(plan.buffers, key=lambda buffer: buffer.offset + buffer.size)
    smaller = replace(plan, bank_sizes=(top.offset + top.size - 1,))
    rejected(graph, smaller, "ends beyond the", top.name)


def test_misaligned_buffer() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, change(plan, "t2", offset=12), "not a multiple of 8", "t2")


def test_unknown_bank() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, change(plan, "t2", bank=1), "there is no bank 1", "t2")


def test_missing_buffers() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, without(plan, "t2"), "the value has no buffer", "t2")
    rejected(graph, without(plan, "n1.scratch"), "needs 16 bytes of scratch", "n1")
    rejected(graph, change(plan, "n6.state", size=8), "needs 32 bytes of state", "n6")


def test_wrong_rows() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, change(plan, "t2", row_bytes=8, size=96), "do not fit", "t2")
    rejected(graph, change(plan, "t2", rows=13, size=208), "do not fit", "t2")
    rejected(graph, change(plan, "t2", size=24), "do not make 24 bytes", "t2")


@pytest.mark.parametrize("name", ["x0", "t1", "t2", "t6", "n1.scratch", "n6.state"])
def test_life_too_short(name: str) -> None:
    graph, plan = network(), plan_of(network())
    buffer = next(b for b in plan.buffers if b.name == name)
    rejected(graph, change(plan, name, last_step=buffer.last_step - 1), "is used at step", name)
    rejected(graph, change(plan, name, first_step=buffer.first_step + 1), "is used at step", name)


def test_scratch_and_state_in_the_way() -> None:
    graph, plan = network(), plan_of(network())
    out = plan.place_of("t1")
    rejected(graph, change(plan, "n1.scratch", offset=out.offset), "its scratch was overwritten", "n1")
    below = change(plan, "n1.scratch", offset=plan.place_of("x0").offset)
    rejected(graph, below, "was overwritten before job 0 of 'n1' reads it", "x0")
    z = plan.place_of("t5")
    rejected(graph, change(plan, "n6.state", offset=z.offset), "was overwritten before job 0 of 'n6' reads it", "t5")


def test_wrong_number_of_jobs() -> None:
    graph, plan = network(), plan_of(network())
    rejected(graph, replace(plan, jobs=plan.jobs + 1), "jobs, but", "test")


def test_output_in_the_way_of_an_output() -> None:
    graph, plan = network(), plan_of(network())
    moved = change(plan, "t6", offset=plan.place_of("t5").offset)
    rejected(graph, moved, "row 0 was overwritten before the caller gets it", "t5")


def test_too_many_rows_in_one_job() -> None:
    b = Builder((70, 1, 1))
    graph = b.done(b.add(Mix(65, 1, 0), b.inputs[0]))
    plan = assemble(draft(Network(graph), "layer", [(0,)], Options()), [None])
    rejected(graph, plan, "reads more than 64 rows", "n1")


def test_rows_of_an_output_may_be_overwritten_only_if_they_were_delivered() -> None:
    graph = network()
    options = Options("stream", "stream")
    plan = assemble(draft(Network(graph), "rows", [(0, 1, 2), (3, 4, 5)], options), [None])
    assert plan.place_of("t5").rows < graph.outputs[0].value.type.height
    validate(graph, plan)
    held = replace(plan, output_mode="buffer")
    rejected(graph, held, "row 0 was overwritten before the caller gets it", "t5")


def sliding_plan(graph: Graph) -> Plan:
    options = Options("stream", "buffer", sliding=True)
    return assemble(draft(Network(graph), "rows", [(0, 1, 2, 3), (4,), (5,)], options), [None])


def test_rings_that_slide() -> None:
    graph = network()
    plan = sliding_plan(graph)
    (ring,) = (buffer for buffer in plan.buffers if buffer.slides)
    landing = plan.landing_of(ring)
    assert ring.name == "t1" and landing is not None
    validate(graph, plan)
    rejected(graph, change(plan, "t1", rows=ring.rows - 1, size=ring.size - ring.row_bytes), "of its ring", "t1")
    rejected(graph, change(plan, landing.name, kind="ring"), "it slides in 2 rows, but has no landing", "t1")
    with pytest.raises(VerificationError, match=r"(was|is) overwritten"):
        validate(graph, change(plan, landing.name, offset=ring.offset))
    with pytest.raises(VerificationError, match=r"(was|is) overwritten"):
        validate(graph, change(plan, "t1", slides=False))


def test_what_cannot_slide() -> None:
    graph, plan = network(), sliding_plan(network())
    rejected(graph, change(plan, "t6", slides=True), "a buffer of kind 'output' cannot slide", "t6")
    rejected(graph, change(plan, "n1.scratch", slides=True), "a buffer of kind 'scratch' cannot slide", "n1.scratch")


def test_values_in_one_place_must_lie_alike() -> None:
    b = Builder((12, 8, 2))
    x = b.add(Mix(1, 1, 0), b.add(Mix(1, 1, 0), b.inputs[0]))
    graph = b.done(b.add(Mix(3, 1, 1), b.add(Negate(), x)))
    options = Options("stream", "stream", sliding=True)
    plan = assemble(draft(Network(graph), "rows", [(0, 1, 2, 3)], options), [None])
    validate(graph, plan)
    shared = next(buffer for buffer in plan.buffers if buffer.shares_with)
    assert shared.slides
    rejected(graph, change(plan, shared.name, slides=False), "does not lie as", shared.name)


def test_a_buffer_for_a_lent_input() -> None:
    b = Builder((8, 4, 2))
    graph = b.done(b.add(Mix(), b.inputs[0]))
    held = schedule(graph, ROOMY, "layer")
    validate(graph, held)
    rejected(graph, replace(held, input_mode="lent"), "the input is lent by the caller, but", "x0")
    rejected(graph, replace(schedule(graph, ROOMY, "layer", "lent"), input_mode="buffer"), "has no buffer", "x0")
