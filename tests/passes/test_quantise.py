"""AssignQuant and Quantise: every value gets the scale it should, every operator its integers."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import run_float, run_integer
from rnnc.ir.op import IntOp
from rnnc.ir.ops.activation import Sigmoid
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.pool import MaxPool
from rnnc.ir.ops.shape import Concat
from rnnc.ir.ops.softmax import Softmax
from rnnc.ir.types import Quant
from rnnc.ir.verify import verify
from rnnc.passes.assign_quant import AssignQuant, quant_for
from rnnc.passes.quantise import Quantise
from tests.graphs import Net, const, op_names


def conv(rng: np.random.Generator, channels: int = 3) -> Conv:
    return Conv(const(rng, channels, 1, 1, channels))


def assign(graph: Graph, **ranges: tuple[float, float]) -> None:
    AssignQuant(ranges).run(graph, lambda text: None)
    verify(graph)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [
        (0.0, 2.55, 0.01, -128),
        (-1.28, 1.27, 0.01, 0),
        (-2.55, 0.0, 0.01, 127),
        (1.0, 2.55, 0.01, -128),
        (-2.55, -1.0, 0.01, 127),
        (0.0, 0.0, 1 / 256, 0),
    ],
)
def test_a_range_holds_zero_exactly(low: float, high: float, scale: float, zero_point: int) -> None:
    found = quant_for(low, high)
    assert found.zero_point == zero_point
    assert found.scale == pytest.approx(scale, rel=1e-6)


def test_ranges_come_from_calibration_and_from_the_operator() -> None:
    net = Net()
    y = net.op("y", conv(np.random.default_rng(0)), net.input("x", 2, 2, 3))
    graph = net.output(net.op("p", Softmax(), y), net.op("s", Sigmoid(), y))
    assign(graph, x=(0.0, 2.55), y=(-1.28, 1.27), p=(0.0, 0.3))
    assert net.value("y").type.quant == quant_for(-1.28, 1.27)
    assert net.value("p").type.required_quant == Quant(1 / 256, -128)
    assert net.value("s").type.required_quant == Quant(1 / 256, -128)


def test_a_value_without_a_range_is_refused() -> None:
    net = Net()
    graph = net.output(net.op("y", conv(np.random.default_rng(0)), net.input("x", 2, 2, 3)))
    with pytest.raises(CompileError, match=r"node 'y': there is no calibrated range for 'y'(.|\n)*--calibration"):
        assign(graph, x=(0.0, 1.0))


def test_max_pooling_keeps_the_scale_of_its_input() -> None:
    net = Net()
    graph = net.output(net.op("m", MaxPool((2, 2)), net.input("x", 4, 4, 3)))
    assign(graph, x=(-1.0, 3.0), m=(0.0, 9.0))
    assert net.value("m").type.quant == quant_for(-1.0, 3.0)


def test_a_quantised_model_may_rescale_behind_max_pooling() -> None:
    net = Net()
    own = Quant(0.5, 7)
    graph = net.output(net.op("m", MaxPool((2, 2)), net.input("x", 4, 4, 3), quant=own))
    assign(graph, x=(-1.0, 3.0))
    assert op_names(graph) == ["max_pool", "requantise"]
    assert graph.outputs[0].value.type.quant == own
    assert graph.nodes[0].output.type.quant == quant_for(-1.0, 3.0)


def test_concat_gives_its_scale_to_inputs_of_its_own_and_requantises_shared_ones() -> None:
    rng = np.random.default_rng(1)
    net = Net()
    x = net.input("x", 2, 2, 3)
    own, shared = net.op("own", conv(rng), x), net.op("shared", conv(rng), x)
    joined = net.op("joined", Concat(2), own, shared)
    graph = net.output(joined, shared)
    assign(graph, x=(0.0, 1.0), own=(-1.0, 1.0), shared=(-2.0, 2.0), joined=(-3.0, 3.0))
    assert net.value("own").type.quant == quant_for(-3.0, 3.0)
    assert net.value("shared").type.quant == quant_for(-2.0, 2.0)
    assert op_names(graph) == ["conv", "conv", "requantise", "concat"]


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_integers_stay_within_a_step_of_the_real_numbers(arithmetic: str) -> None:
    rng = np.random.default_rng(2)
    net = Net()
    y = net.op("y", Conv(const(rng, 4, 3, 3, 3), const(rng, 4), pads=(1, 1, 1, 1), low=0.0), net.input("x", 5, 5, 3))
    graph = net.output(y)
    graph.arithmetic = "tflite" if arithmetic == "tflite" else "fast"
    sample = {"x": rng.uniform(-1, 1, (5, 5, 3)).astype(np.float32)}
    real = run_float(graph, sample)["y"]
    assign(graph, x=(-1.0, 1.0), y=(0.0, float(real.max())))
    Quantise().run(graph, lambda text: None)
    verify(graph)
    assert all(isinstance(node.op, IntOp) for node in graph.nodes)
    quant = y.type.required_quant
    found = (run_integer(graph, sample)["y"].astype(np.float64) - quant.zero_point) * quant.scale
    # input rounded to 1/127 and weights to 1/127 of the largest: 27 products of random sign
    assert np.abs(found - real).max() < 0.5 * quant.scale + 27**0.5 * 3 * 2 / 127


def test_an_impossible_scale_names_the_node() -> None:
    net = Net()
    graph = net.output(net.op("y", conv(np.random.default_rng(3)), net.input("x", 2, 2, 3)))
    assign(graph, x=(-1e9, 1e9), y=(0.0, 1e-9))
    with pytest.raises(CompileError, match=r"node 'y': accumulators of up to .* does not fit 32 bits"):
        Quantise().run(graph, lambda text: None)
