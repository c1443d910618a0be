"""Bounds of memory: by hand, against a search through everything that could be held, and against real plans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rnnc.ir.graph import Graph, Value
from rnnc.ir.op import Window
from rnnc.ir.ops.pad import PadRows
from rnnc.ir.types import TensorType
from rnnc.scheduler.assembly import draft
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.bounds import chain_bytes, frames_bytes, grown_bytes, layerwise, memory_bounds, one_job
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import InputMode, OutputMode
from rnnc.scheduler.row_cut import Held, RowGraph
from rnnc.scheduler.search import Effort, Search
from rnnc.scheduler.segments import Options
from tests.scheduler.builders import ROOMY, Builder, Join, Mix, Negate, Sum, Total, conv
from tests.scheduler.test_plans import INPUT_MODES, graphs, mobile_network


@dataclass(frozen=True, eq=False)
class Keep(Mix):
    """Remembers what a window of three rows shares with the next, in one row, so that a job reads only one."""

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.height + 1

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return super().windows(inputs)

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return inputs[0].row_bytes


STREAM = Options("stream", "stream")


def row_cut(graph: Graph, *, partial_sums: bool = False, keep_outputs: bool = False) -> int:
    return RowGraph(Network(graph), partial_sums=partial_sums).largest_cut(keep_outputs=keep_outputs).bytes


def chain(shape: tuple[int, int, int], *ops: Mix) -> Graph:
    b = Builder(shape)
    x = b.inputs[0]
    for op in ops:
        x = b.add(op, x)
    return b.done(x)


def test_one_convolution_carries_the_rows_that_its_window_keeps() -> None:
    """Of rows of 4 bytes, 3 in a window: the last two."""
    graph = chain((8, 4, 1), Mix(3))
    assert row_cut(graph) == 8
    cut = RowGraph(Network(graph), partial_sums=False).cut(5, keep_outputs=False)
    assert (cut.bytes, cut.after_rows, cut.through) == (8, 5, (Held("x0", 2, 8, False),))


def test_a_window_without_overlap_carries_what_is_short_of_it() -> None:
    assert row_cut(chain((9, 4, 1), Mix(3, 3, 0))) == 8
    assert row_cut(chain((8, 4, 1), Mix(1, 1, 0))) == 0
    assert row_cut(chain((8, 4, 1), Mix(1, 2, 0))) == 0


def test_rings_add_up_where_rows_get_narrower() -> None:
    """Two rows of 12 bytes and two of 4."""
    assert row_cut(chain((9, 4, 3), Mix(channels=1), Mix())) == 2 * 12 + 2 * 4


def test_wide_rows_are_better_computed_again() -> None:
    """Four rows of 4 bytes, of which two of 16 follow whenever they are needed."""
    graph = chain((9, 4, 1), Mix(channels=4), Mix(channels=1))
    assert row_cut(graph) == 16
    rings = schedule(graph, ROOMY, "rows", "stream", "stream").live_peak
    assert rings >= 2 * 4 + 3 * 16


def test_partial_sums_are_carried_instead_of_wide_input() -> None:
    """Sums of the two rows that have begun, 4 bytes each, instead of two input rows of 16."""
    graph = chain((9, 4, 4), Mix(channels=1))
    assert row_cut(graph) == 32
    assert row_cut(graph, partial_sums=True) == 8


def test_convolutions_have_accumulators_of_four_bytes() -> None:
    b = Builder((9, 5, 16))
    graph = b.done(b.add(conv(np.random.default_rng(0), b.inputs[0], 1, stride=2), b.inputs[0]))
    assert row_cut(graph) == 2 * 5 * 16
    assert row_cut(graph, partial_sums=True) == 3 * 4


def test_convolutions_that_can_be_scattered_are_bounded_by_their_sums() -> None:
    b = Builder((9, 5, 16))
    graph = b.done(b.add(conv(np.random.default_rng(0), b.inputs[0], 1), b.inputs[0]))
    assert row_cut(graph) == row_cut(graph, partial_sums=True) == 2 * 5 * 4


def test_an_accumulating_operator_carries_its_state() -> None:
    """Rows of 2 bytes, a state of 8: the state from the fourth row on; at the end nothing, or the output."""
    b = Builder((6, 2, 1))
    graph = b.done(b.add(Total(), b.inputs[0]))
    rows = RowGraph(Network(graph), partial_sums=False)
    assert [rows.cut(t, keep_outputs=False).bytes for t in range(1, 7)] == [2, 4, 6, 8, 8, 0]
    assert rows.cut(5, keep_outputs=False).through == (Held("t1", 1, 8, True),)
    assert rows.cut(6, keep_outputs=True).through == (Held("t1", 1, 2, False),)


def test_a_short_cut_waits_for_the_long_way() -> None:
    """The sum's row 1 needs two rows ahead of x: x is carried for all of them, nothing else is."""
    b = Builder((9, 4, 1))
    x = b.inputs[0]
    long = b.add(Mix(), b.add(Mix(), x))
    assert row_cut(b.done(b.add(Sum(), x, long))) == 4 * 4


def test_rows_of_padding_cost_nothing() -> None:
    """Seven rows, four of them constant, all read by one job: two of the three real rows are carried."""
    b = Builder((3, 4, 1))
    padded = b.add(PadRows((2, 0, 2, 0), (0, 0), 0), b.inputs[0])
    assert row_cut(b.done(b.add(Mix(7, 1, 0), padded))) == 8


def test_a_row_that_is_repeated_counts_once() -> None:
    b = Builder((5, 4, 1))
    graph = b.done(b.add(PadRows((0, 0, 1, 0), (0, 0), 0, edge=1), b.inputs[0]))
    # row 4 is copied twice, but both copies are made when it comes
    assert row_cut(graph) == 0


def test_rows_that_no_output_needs_do_not_count() -> None:
    b = Builder((8, 4, 1))
    b.add(Mix(5, 1, 2), b.inputs[0])
    assert row_cut(b.done(b.add(Mix(), b.inputs[0]))) == 8


def test_outputs_that_are_kept_count_from_when_they_are_known() -> None:
    """Input rows of 12 bytes, output rows of 4: two input rows and all but the newest output row, in the end all."""
    graph = chain((5, 4, 3), Mix(channels=1))
    rows = RowGraph(Network(graph), partial_sums=False)
    assert [rows.cut(t, keep_outputs=True).bytes for t in range(1, 6)] == [12, 24, 32, 36, 20]
    assert memory_bounds(Network(graph), Options("stream", "buffer")).bytes == 36


def test_frames_in_buffers_must_exist() -> None:
    network = Network(chain((8, 4, 1), Mix(channels=3)))
    assert frames_bytes(network, Options("buffer", "buffer")) == 96
    assert frames_bytes(network, Options("buffer", "stream")) == 32
    assert frames_bytes(network, STREAM) == 0
    bounds = memory_bounds(network, Options("buffer", "stream"))
    assert (bounds.bytes, bounds.row_cut, bounds.partial_sums) == (32, None, None)


def test_streams_have_one_input() -> None:
    b = Builder((4, 4, 1), (4, 4, 1))
    graph = b.done(b.add(Sum(), *b.inputs))
    with pytest.raises(ValueError, match="2 inputs is not streamed"):
        RowGraph(Network(graph))


def test_proposition_1_counts_whole_tensors() -> None:
    network = Network(chain((8, 4, 1), Mix(channels=4), Mix(3, 2, channels=2)))
    bound = layerwise(network, STREAM)
    assert (bound.bytes, bound.node) == (32 + 128, "n1")
    # beside the second layer waits the frame, if something reads it later
    b = Builder((8, 4, 1))
    wide = b.add(Mix(channels=4), b.inputs[0])
    narrow = b.add(Mix(channels=1), wide)
    bound = layerwise(Network(b.done(b.add(Sum(), b.inputs[0], narrow))), STREAM)
    assert (bound.bytes, bound.node) == (32 + 128 + 32, "n2")


def test_proposition_2_counts_one_window_and_one_row() -> None:
    bound = one_job(Network(chain((8, 4, 1), Mix(channels=4), Mix(5, 1, 2))), Options())
    assert (bound.bytes, bound.node) == (5 * 16 + 16, "n2")
    assert one_job(Network(chain((2, 4, 1), Mix(5, 1, 2))), Options()).bytes == 2 * 4 + 4
    b = Builder((6, 2, 1))
    assert one_job(Network(b.done(b.add(Total(), b.inputs[0]))), Options()).bytes == 2 + 8
    b = Builder((6, 2, 1))
    assert one_job(Network(b.done(b.add(Negate(), b.inputs[0]))), Options()).bytes == 2
    b = Builder((6, 2, 1))
    assert one_job(Network(b.done(b.add(Join(), b.inputs[0], b.inputs[0]))), Options()).bytes == 2 + 4


def test_claim_3_is_what_a_stage_of_rows_takes() -> None:
    """Rings of 3, 5 and 3 rows and one row of output, in the plan as by the formula."""
    network = Network(chain((32, 8, 2), Mix(channels=4), Mix(5, 2, 2, channels=3), Mix(channels=1)))
    rings = 3 * 8 * 2 + 5 * 8 * 4 + 3 * 4 * 3 + 4
    assert chain_bytes(network, (0, 1, 2)) == rings
    made = draft(network, "rows", [(0, 1, 2)], STREAM)
    assert sum(part.size for part in made.parts) == rings
    with pytest.raises(ValueError, match="'n3' does not continue a chain"):
        chain_bytes(network, (0, 2))


@pytest.mark.parametrize("op", [Mix(), Mix(3, 2, channels=4), Mix(5, 1, 2, channels=2), Mix(3, 3, 0, channels=8)])
def test_claim_4_is_what_a_stage_of_one_layer_takes(op: Mix) -> None:
    network = Network(chain((24, 6, 2), op))
    made = draft(network, "layer", [(0,)], Options("buffer", "buffer"))
    assert made.live_peak == grown_bytes(network, 0)
    assert made.live_peak < layerwise(network, Options("buffer", "buffer")).bytes


def test_claim_4_by_hand() -> None:
    """Eight rows of 4 bytes shrink to four of 8: the first job has them all and a row, every next one two less."""
    network = Network(chain((8, 4, 1), Mix(2, 2, 0, channels=4)))
    assert grown_bytes(network, 0) == 32 + 8
    b = Builder((6, 2, 1))
    with pytest.raises(ValueError, match="'n1' is not a layer of one input"):
        grown_bytes(Network(b.done(b.add(Total(), b.inputs[0]))), 0)


@settings(max_examples=30, deadline=None)
@given(graphs(), st.sampled_from(["layer", "rows", "auto"]), st.sampled_from(INPUT_MODES), st.booleans())
def test_no_plan_is_below_the_bounds(graph: Graph, mode: Mode, input_mode: InputMode, stream_out: bool) -> None:
    output_mode: OutputMode = "stream" if stream_out else "buffer"
    plan = schedule(graph, ROOMY, mode, input_mode, output_mode)
    options = Options(input_mode, output_mode)
    bounds = memory_bounds(Network(graph), options)
    assert max(bounds.bytes, one_job(Network(graph), options).bytes) <= plan.live_peak
    if bounds.row_cut is not None and bounds.partial_sums is not None:
        assert bounds.partial_sums.bytes <= bounds.row_cut.bytes == sum(part.bytes for part in bounds.row_cut.through)


@pytest.mark.parametrize("mode", ["layer", "rows"])
def test_no_plan_of_bottlenecks_is_below_the_bound(mode: Mode) -> None:
    graph = mobile_network()
    bounds = memory_bounds(Network(graph), STREAM)
    assert 0 < bounds.bytes < schedule(graph, ROOMY, mode, "stream", "stream").live_peak


@pytest.mark.parametrize("effort", ["once", "ram"])
def test_no_choice_of_operators_is_below_the_bound_of_the_graph_before_it(effort: Effort) -> None:
    graph = mobile_network()
    chosen = Search(graph, STREAM).leanest(effort).graph
    assert len(chosen.nodes) < len(graph.nodes)
    plan = schedule(chosen, ROOMY, "rows", "stream", "stream")
    for bounded in (graph, chosen):
        bounds = memory_bounds(Network(bounded), STREAM)
        assert bounds.partial_sums is not None
        assert 0 < bounds.partial_sums.bytes <= bounds.bytes <= plan.live_peak
    assert one_job(Network(chosen), Options()).bytes <= plan.live_peak


def test_rows_that_one_state_stands_for_count_once() -> None:
    """After 4 of 9 rows two output rows have begun; one state of 24 bytes serves both."""
    b = Builder((9, 4, 6))
    graph = b.done(b.add(Keep(), b.inputs[0]))
    cut = RowGraph(Network(graph), partial_sums=False).cut(4, keep_outputs=False)
    assert (cut.bytes, cut.through) == (24, (Held("t1", 1, 24, True),))


@settings(max_examples=30, deadline=None)
@given(graphs(), st.booleans(), st.booleans())
def test_moments_that_are_passed_over_are_no_larger(graph: Graph, partial_sums: bool, keep_outputs: bool) -> None:
    rows = RowGraph(Network(graph), partial_sums=partial_sums)
    moments = range(1, graph.inputs[0].value.type.height + 1)
    largest = max(rows.cut_bytes(t, keep_outputs=keep_outputs) for t in moments)
    assert rows.largest_cut(keep_outputs=keep_outputs).bytes == largest


@st.composite
def tiny_graphs(draw: st.DrawFn) -> Graph:
    b = Builder((draw(st.integers(2, 5)), 1, draw(st.integers(1, 3))))
    values: list[Value] = list(b.inputs)
    for _ in range(draw(st.integers(1, 4))):
        x = draw(st.sampled_from(values[-2:]))
        peers = [v for v in values if v.type.shape == x.type.shape]
        kind = draw(st.sampled_from(["mix", "mix", "sum", "total"]))
        if kind == "sum":
            values.append(b.add(Sum(), x, draw(st.sampled_from(peers))))
        elif kind == "total":
            values.append(b.add(Total(), x))
        else:
            rows = draw(st.integers(1, 3))
            op = Mix(rows, draw(st.integers(1, 2)), draw(st.integers(0, rows - 1)), 1, draw(st.integers(1, 5)))
            if op.infer([x.type]).height > 0:
                values.append(b.add(op, x))
    assume(len(values) > 1)
    return b.done(*{values[-1], draw(st.sampled_from(values[1:]))})


Row = tuple[int, int]


def read_by(network: Network) -> dict[Row, set[Row]]:
    """The rows that each row is computed from."""
    result: dict[Row, set[Row]] = {(0, y): set() for y in range(network.values[0].type.height)}
    for task in network.tasks:
        for y in range(task.height):
            result[task.output, y] = {
                (task.inputs[w.input], w.first(y) + k * w.dilation)
                for w in task.op.output_windows(task.node.input_types)
                for k in range(w.rows)
                if 0 <= w.first(y) + k * w.dilation < network.values[task.inputs[w.input]].type.height
            }
    return result


def least_by_search(network: Network, after_rows: int, keep_outputs: bool) -> int | None:
    """The least bytes from which, with the input rows to come, every output that is not there yet follows; by
    trying every set of rows and states. None if there are too many."""
    reads = read_by(network)

    def follow(held: set[Row], future: bool) -> set[Row]:
        rows, states = {row for row in held if row[0] >= 0}, {-row[0] - 1 for row in held if row[0] < 0}
        for row in reads:  # in topological order
            if row[0] == 0:
                if future and row[1] >= after_rows:
                    rows.add(row)
            elif all(source in rows or (row[0] in states and source in known) for source in reads[row]):
                rows.add(row)
        return rows

    known = {(0, y) for y in range(after_rows)}
    for row, sources in reads.items():
        if row[0] and sources <= known:
            known.add(row)
    outputs = {row for row in reads if row[0] in network.outputs}
    wanted = outputs if keep_outputs else outputs - known
    weights = {row: network.values[row[0]].type.row_bytes for row in known}
    for task in network.tasks:
        if task.warm_up and (task.output, 0) not in known:
            weights[-task.output - 1, 0] = task.op.state_bytes(task.node.input_types, task.node.output.type)
    if len(weights) > 12:
        return None
    sets = (set(chosen) for size in range(len(weights) + 1) for chosen in combinations(weights, size))
    return min(sum(weights[row] for row in held) for held in sets if wanted <= follow(held, True))


@settings(max_examples=150, deadline=None)
@given(tiny_graphs(), st.data(), st.booleans())
def test_the_cut_is_the_least_that_can_be_held(graph: Graph, data: st.DataObject, keep_outputs: bool) -> None:
    network = Network(graph)
    after_rows = data.draw(st.integers(1, network.values[0].type.height))
    least = least_by_search(network, after_rows, keep_outputs)
    assume(least is not None)
    assert RowGraph(network, partial_sums=False).cut_bytes(after_rows, keep_outputs=keep_outputs) == least
