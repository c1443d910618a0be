"""Variants and their search: fewer bytes, the same bytes, and no worse than without them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnc.diagnostics import BudgetError
from rnnc.ir.fixedpoint import make_requant
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import IntOp, evaluate
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.elementwise import Add
from rnnc.ir.ops.global_pool import quantise_global_average
from rnnc.ir.ops.inverted import InvertedBottleneck, Separable
from rnnc.ir.ops.linear import accumulator_bound
from rnnc.ir.ops.norm import LpNorm
from rnnc.ir.ops.normed import NormedConv
from rnnc.ir.ops.pooled import PooledPointwise
from rnnc.ir.ops.scattered import ScatteredConv
from rnnc.ir.types import Array, Quant, TensorType
from rnnc.scheduler import walk
from rnnc.scheduler.choose import Optimize, Wish, choose, front
from rnnc.scheduler.exchange import exchanged
from rnnc.scheduler.search import SLACK, Search
from rnnc.scheduler.segments import Options
from rnnc.scheduler.simulate import simulate
from rnnc.scheduler.validate import validate
from rnnc.scheduler.variants import Choice, Variants, all_cycles
from rnnc.target import load_target

STREAMED = Options("stream", "stream")
FAST = Wish(load_target(), "auto", "stream", "stream", "speed")
HEADS = (("n2",), ("n2", "n3"))


class Builder:
    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("net")
        self.last = Value("x", TensorType(shape, "int8", Quant(0.1, 3)))
        self.graph.inputs.append(Port("x", self.last, shape))

    def add(self, op: IntOp, *inputs: Value) -> Value:
        name = f"n{len(self.graph.nodes)}"
        output = Value(
            f"v{len(self.graph.nodes)}", op.infer([value.type for value in inputs]).with_quant(Quant(0.1, 3))
        )
        self.graph.nodes.append(Node(name, op, list(inputs), output))
        self.last = output
        return output

    def conv(self, out: int, kernel: int = 1, stride: int = 1, pad: int = 0, depthwise: bool = False) -> Value:
        channels = self.last.type.channels
        weight = self.rng.integers(-127, 128, (out, kernel, kernel, 1 if depthwise else channels)).astype(np.int8)
        bias = self.rng.integers(-999, 999, out).astype(np.int32)
        bound = accumulator_bound(weight, bias)
        requant = make_requant("fast", np.full(out, 200 / bound), bound, 3, -128, 127)
        pads = (pad, pad, pad, pad)
        op = Conv2D(weight, bias, requant, 3, (stride, stride), pads, (1, 1), channels if depthwise else 1)
        return self.add(op, self.last)

    def block(self, wide: int, out: int, kernel: int, stride: int, pad: int) -> None:
        x = self.last
        self.conv(wide)
        self.conv(wide, kernel, stride, pad, depthwise=True)
        y = self.conv(out)
        if y.type.shape == x.type.shape:
            self.add(_sum(x, y), x, y)

    def done(self) -> Graph:
        name = f"y{len(self.graph.outputs)}" if self.graph.outputs else "y"
        self.graph.outputs.append(Port(name, self.last, self.last.type.shape))
        return self.graph


def _sum(x: Value, y: Value) -> IntOp:
    return Add().quantise([x.type, y.type], TensorType(x.type.shape, "int8", Quant(0.1, 3)), "fast")


def network(seed: int = 0, width: int = 20) -> Graph:
    b = Builder((24, width, 3), seed)
    b.conv(6, 3, 2, 1)
    b.block(30, 6, 3, 1, 1)
    b.block(30, 8, 3, 2, 1)
    b.block(33, 8, 5, 1, 2)
    wide = b.conv(70)
    mean = quantise_global_average(wide.type, Quant(0.1, 3), "fast", (-128, 127), plain=False)
    b.add(mean, wide)
    return b.done()


def expected(graph: Graph, x: Array) -> Array:
    values = {graph.inputs[0].value: x}
    for node in graph.nodes:
        arrays = [values[value] for value in node.inputs]
        assert isinstance(node.op, IntOp)
        values[node.output] = evaluate(node.op, arrays, node.input_types, node.output.type)
    return values[graph.outputs[0].value]


def inputs(graph: Graph, seed: int = 1) -> Array:
    shape = graph.inputs[0].value.type.shape
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def test_chains_are_found() -> None:
    variants = Variants(network())
    kinds = {name: {type(option.op) for option in options[1:]} for name, options in variants.options.items()}
    assert [name for name, found in kinds.items() if InvertedBottleneck in found] == ["n3", "n7", "n10"]
    assert [name for name, found in kinds.items() if Separable in found] == ["n3", "n7", "n10"]
    assert PooledPointwise in kinds["n13"]


@pytest.mark.parametrize("looked_at", [1, 2])
def test_a_chain_whose_middle_is_read_elsewhere_stays(looked_at: int) -> None:
    graph = network()
    middle = graph.nodes[looked_at].output
    graph.outputs.append(Port("middle", middle, middle.type.shape))
    absorbed = {node.name for option in Variants(graph).options["n3"] for node in option.absorbs}
    assert absorbed == ({"n2"} if looked_at == 1 else set())


def test_what_was_chosen_for_an_absorbed_node_is_not_in_force() -> None:
    variants = Variants(network())
    last = len(variants.options["n3"]) - 1
    choice = {"n1": 1, "n3": last}
    assert variants.in_force(choice) == {"n3": variants.options["n3"][last]}
    assert [node.name for node in variants.apply(choice).nodes[:2]] == ["n0", "n3"]


def heads(channels: int = 8) -> Graph:
    """Two convolutions over the same normalised map, and one over the map as it is, which therefore stays too."""
    b = Builder((9, 12, 4))
    b.conv(channels, 7, 1, 3)
    x = b.last
    norm = LpNorm().quantise([x.type], TensorType(x.type.shape, "int8", Quant(0.1, 3)), "fast")
    normed = b.add(norm, x)
    for source in (normed, normed, x):
        b.last = source
        b.conv(4, 3, 1, 1)
        b.done()
    return b.graph


def test_what_costs_no_macs_is_absorbed_by_every_reader() -> None:
    variants = Variants(heads())
    fused = next(i for i, option in enumerate(variants.options["n2"]) if isinstance(option.op, NormedConv))
    names = {chosen: [node.name for node in variants.apply(dict.fromkeys(chosen, fused)).nodes] for chosen in HEADS}
    assert names[("n2",)] == ["n0", "n1", "n2", "n3", "n4"]
    assert names[("n2", "n3")] == ["n0", "n2", "n3", "n4"]


def test_kinds_are_exchanged_for_all_readers_of_a_value_where_neither_estimate_gets_worse() -> None:
    variants = Variants(heads(24))
    lean = variants.frugal(recompute=False)
    assert kinds(variants, lean) == [NormedConv, NormedConv]

    def judge(choice: Choice) -> tuple[int, int]:
        scattered = kinds(variants, choice).count(ScatteredConv)
        return 9 - scattered // 2, 5 + worse * scattered

    worse = 0
    assert kinds(variants, exchanged(variants, lean, judge)) == [ScatteredConv, ScatteredConv]
    worse = 1
    assert exchanged(variants, lean, judge) == lean


def kinds(variants: Variants, choice: Choice) -> list[type]:
    """Of the two heads that read the normalised map."""
    return [type(node.op) for node in variants.apply(choice).nodes if node.name in ("n2", "n3")]


def test_heads_that_normalise_for_themselves_hold_less_and_give_the_same_bytes() -> None:
    graph = heads()
    scheduled = next(choose(graph, Wish(load_target(), "auto", "stream", "stream")))
    assert [type(node.op) for node in scheduled.graph.nodes] == [Conv2D, NormedConv, NormedConv, Conv2D]
    x = inputs(graph)
    given, chosen = (
        simulate(g, p, {"x": x})
        for g, p in ((graph, next(choose(graph, FAST)).plan), (scheduled.graph, scheduled.plan))
    )
    for name in ("y", "y1", "y2"):
        np.testing.assert_array_equal(given[name], chosen[name])


def test_kept_rows_cost_no_macs_and_made_again_they_do() -> None:
    options = Variants(network()).options["n3"]
    kept = {option.op.keep: option.extra_macs for option in options if isinstance(option.op, InvertedBottleneck)}
    rows, width = 12, 10
    assert kept == {True: 0, False: (2 * rows - 2) * width * 6 * 30}  # three of every row but at the two edges


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_every_configuration_gives_the_same_bytes(data: st.DataObject) -> None:
    variants = Variants(network(data.draw(st.integers(0, 3))))
    choice = {name: data.draw(st.integers(0, len(found) - 1)) for name, found in variants.options.items()}
    graph = variants.apply(choice)
    modes = data.draw(st.sampled_from([("buffer", "buffer"), ("stream", "buffer"), ("stream", "stream")]))
    wish = Wish(load_target(), data.draw(st.sampled_from(["auto", "rows"])), *modes)
    plan = wish.plan(graph)
    validate(graph, plan)
    x = inputs(graph)
    np.testing.assert_array_equal(simulate(graph, plan, {"x": x})["y"], expected(variants.graph, x))


def test_leaner_options_of_a_kind_take_longer() -> None:
    for options in Variants(network()).options.values():
        for option, leaner in pairwise(options[1:]):
            if type(option.op) is type(leaner.op) and option.absorbs == leaner.absorbs:
                assert option.extra_cycles < leaner.extra_cycles or option.extra_macs < leaner.extra_macs


def test_candidates_are_priced_in_cycles() -> None:
    search = Search(network(), STREAMED)
    given, lean = search.candidate({}), search.candidate(search.variants.frugal(recompute=True))
    total = {
        item: sum(node.op.cycles(node.input_types, node.output.type) for node in item.graph.nodes)  # type: ignore[attr-defined]
        for item in (given, lean)
    }
    assert given.extra_cycles == 0 < lean.extra_cycles == total[lean] - total[given]


def test_making_rows_again_is_left_where_keeping_them_needs_less() -> None:
    search = Search(network(width=8), STREAMED)
    assert search.leanest("ram").peak <= search.leanest("once").peak


def test_the_more_may_be_paid_the_less_ram() -> None:
    search = Search(network(width=80), STREAMED)
    speed, once, ram = (search.leanest(effort) for effort in ("speed", "once", "ram"))
    assert ram.peak < once.peak < speed.peak
    assert (speed.extra_macs, once.extra_macs) == (0, 0) < (0, ram.extra_macs)


def test_what_fits_is_what_would_be_judged_so() -> None:
    asked, judged = Search(network(), STREAMED), Search(network(), STREAMED)
    lean = asked.variants.frugal(recompute=False)
    for name in lean:
        choice = {**lean, name: 0}
        peak, live = judged.sizes(choice)
        assert not asked.fits(choice, peak, live - 1)
        assert asked.fits(choice, peak, 2 * live) and not asked.fits(choice, peak - 1, 2 * live)
    assert asked.judged == judged.judged > 1


def test_ram_is_given_back_for_speed_but_little_of_it() -> None:
    search = Search(network(width=80), STREAMED)
    once, least = search.leanest("once"), search.peak(search.frugal("once").choice)
    assert once.peak <= least * (1 + SLACK["once"])
    assert once.extra_cycles < search.frugal("once").extra_cycles


def test_a_budget_is_kept_without_slower_kernels_than_it_takes() -> None:
    search = Search(network(), STREAMED)
    speed, once = search.leanest("speed"), search.leanest("once")
    assert search.within(speed.peak).choice == {}
    between = search.within((once.peak + speed.peak) // 2)
    assert once.peak <= between.peak <= (once.peak + speed.peak) // 2
    assert between.extra_macs == 0


def test_a_walk_pays_more_and_more_for_less_and_less() -> None:
    search = Search(network(), STREAMED)
    steps = list(walk.walk(search))
    peaks, macs = [step.peak for step in steps], [step.extra_macs for step in steps]
    assert peaks == sorted(set(peaks), reverse=True)
    assert macs == sorted(macs)
    assert peaks[-1] <= search.peak(search.variants.frugal(recompute=True))


def test_no_step_of_the_walk_beats_the_front() -> None:
    search = Search(network(), STREAMED)
    front = walk.front(search)
    for step in walk.walk(search):
        enough = step.peak * (1 + SLACK["once"])
        assert any(
            item.peak <= enough and (item.extra_macs <= step.extra_macs or item.extra_cycles <= step.extra_cycles)
            for item in front
        )


def test_a_budget_in_ram_finds_every_plan_of_the_front() -> None:
    graph, wish = network(), Wish(load_target(), "auto", "stream", "stream")
    for item in front(graph, wish):
        again = next(choose(graph, replace(wish, ram=item.plan.arena)))
        assert again.plan.arena <= item.plan.arena
        assert all_cycles(again.graph) <= all_cycles(item.graph)


@pytest.mark.parametrize("optimize", ["balanced", "ram", "speed"])
def test_what_is_asked_for(optimize: Optimize) -> None:
    graph = network()
    scheduled = next(choose(graph, Wish(load_target(), "auto", "stream", "stream", optimize)))
    fused = any(isinstance(node.op, InvertedBottleneck) for node in scheduled.graph.nodes)
    assert fused == (optimize != "speed")
    again = next(choose(graph, Wish(load_target(), "auto", "stream", "stream", optimize)))
    assert again.plan == scheduled.plan


def test_the_fastest_that_fits() -> None:
    graph = network()
    sizes = {o: next(choose(graph, Wish(load_target(), "auto", "stream", "stream", o))).plan for o in ("speed", "ram")}
    roomy = next(choose(graph, Wish(load_target(), "auto", "stream", "stream", ram=sizes["speed"].arena)))
    variants = Variants(graph)
    quickest = variants.apply(variants.fastest())
    assert [node.op for node in roomy.graph.nodes] == [node.op for node in quickest.nodes]
    tight = next(choose(graph, Wish(load_target(), "auto", "stream", "stream", ram=sizes["ram"].arena)))
    assert tight.plan.arena <= sizes["ram"].arena
    with pytest.raises(BudgetError, match="the activations need"):
        next(choose(graph, Wish(load_target(), "auto", "stream", "stream", ram=sizes["ram"].arena // 2)))


def test_the_front_falls_in_ram_and_rises_in_macs() -> None:
    plans = [item.plan for item in front(network(), Wish(load_target(), "auto", "stream", "stream"))]
    arenas, macs = [plan.arena for plan in plans], [plan.executed_macs for plan in plans]
    assert arenas == sorted(set(arenas), reverse=True)
    assert macs == sorted(macs)
    assert len(plans) >= 2
