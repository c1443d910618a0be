"""CorrectBias: the mean output of a quantised layer becomes that of the float layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import run_float, run_integer
from rnnc.ir.ops.conv import Conv, Conv2D
from rnnc.ir.types import Array
from rnnc.ir.verify import verify
from rnnc.passes.assign_quant import AssignQuant
from rnnc.passes.base import Calibration
from rnnc.passes.correct_bias import CorrectBias
from rnnc.passes.quantise import Quantise
from tests.graphs import Net, const


def two_layers(arithmetic: Arithmetic) -> Graph:
    rng = np.random.default_rng(1)
    net = Net()
    x = net.input("x", 6, 6, 4)
    a = net.op("a", Conv(const(rng, 8, 3, 3, 4), const(rng, 8), (1, 1), (1, 1, 1, 1)), x)
    graph = net.output(net.op("b", Conv(const(rng, 5, 1, 1, 8), const(rng, 5)), a))
    graph.arithmetic = arithmetic
    return graph


def mean_error(graph: Graph, wanted: np.ndarray, samples: list[dict[str, Array]]) -> float:
    """The largest difference of the mean output of a channel, in steps of the output."""
    quant = graph.outputs[0].value.type.required_quant
    found = np.mean([run_integer(graph, sample)["b"] for sample in samples], axis=(0, 1, 2)) - quant.zero_point
    return float(np.abs(found - wanted / quant.scale).max())


@pytest.mark.parametrize("arithmetic", ["fast", "tflite"])
def test_mean_outputs_become_those_of_the_float_model(arithmetic: Arithmetic) -> None:
    rng = np.random.default_rng(2)
    samples: list[dict[str, Array]] = [{"x": rng.uniform(0, 1, (6, 6, 4)).astype(np.float32)} for _ in range(24)]
    graph = two_layers(arithmetic)
    means = {name: np.mean([run_float(graph, s)[name] for s in samples], axis=(0, 1, 2)) for name in ("a", "b")}
    AssignQuant({"x": (0.0, 1.0), "a": (-12.0, 12.0), "b": (-40.0, 40.0)}).run(graph, lambda text: None)
    Quantise().run(graph, lambda text: None)
    first = graph.nodes[0].op
    assert isinstance(first, Conv2D)
    # an error such as clipped weights would leave
    graph.nodes[0].op = replace(first, bias=first.bias + np.int32(900))
    before = mean_error(graph, means["b"], samples)
    notes: list[str] = []
    CorrectBias(Calibration(samples, means)).run(graph, notes.append)
    verify(graph)
    assert before > 0.5
    assert mean_error(graph, means["b"], samples) < 0.1
    assert notes == ["biases of 2 layers corrected by the mean error on 24 samples"]


def test_without_samples_nothing_changes() -> None:
    graph = two_layers("fast")
    AssignQuant({"x": (0.0, 1.0), "a": (-12.0, 12.0), "b": (-40.0, 40.0)}).run(graph, lambda text: None)
    Quantise().run(graph, lambda text: None)
    ops = [node.op for node in graph.nodes]
    CorrectBias(Calibration()).run(graph, lambda text: None)
    assert [node.op for node in graph.nodes] == ops
