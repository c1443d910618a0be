"""RoundWeights: the outputs of layers, not their weights, come closest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rnnc.ir.graph import Graph
from rnnc.ir.interpret import run_float
from rnnc.ir.op import Const, LinearFloatOp
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.dense import Dense
from rnnc.ir.ops.linear import stored_weights
from rnnc.passes.base import Calibration
from rnnc.passes.round_weights import RoundWeights
from tests.graphs import Net, const

FloatArray = npt.NDArray[np.float32]


def conv_net(rng: np.random.Generator, group: int = 1) -> Graph:
    net = Net()
    x = net.input("x", 8, 8, 8)
    y = net.op("y", Conv(const(rng, 8, 3, 3, 8 // group), const(rng, 8), (1, 1), (1, 1, 1, 1), (1, 1), group), x)
    return net.output(y)


def smooth_samples(rng: np.random.Generator, count: int) -> list[dict[str, FloatArray]]:
    """Correlated, with a mean: what there is to gain."""
    noise = rng.normal(size=(count, 10, 10, 8))
    near = noise[:, 1:-1, 1:-1] + noise[:, :-2, 1:-1] + noise[:, 1:-1, :-2]
    return [{"x": (sample + 1.5).astype(np.float32)} for sample in near]


def error_of(graph: Graph, exact: list[FloatArray], samples: list[dict[str, FloatArray]], nearest: bool) -> float:
    """Mean square error of the output with the layer's weights as stored, or rounded to nearest."""
    op = graph.nodes[0].op
    assert isinstance(op, LinearFloatOp)
    stored, scale = stored_weights(Const(op.weight.values) if nearest else op.weight)
    weights = stored * scale.reshape(-1, *(1,) * (stored.ndim - 1))
    rounded = type(op)(**{**vars(op), "weight": Const(weights.astype(np.float32))})
    found = [rounded.evaluate([sample["x"]]) for sample in samples]
    return float(np.mean([(a - b) ** 2 for a, b in zip(found, exact, strict=True)]))


@pytest.mark.parametrize("group", [1, 2, 8])
def test_the_error_on_new_samples_falls(group: int) -> None:
    rng = np.random.default_rng(group)
    graph, fresh = conv_net(rng, group), smooth_samples(rng, 20)
    exact = [run_float(graph, sample)["y"] for sample in fresh]
    before = error_of(graph, exact, fresh, nearest=True)
    notes: list[str] = []
    RoundWeights(Calibration(smooth_samples(rng, 20))).run(graph, notes.append)
    assert error_of(graph, exact, fresh, nearest=False) < 0.8 * before
    assert notes == ["weights of 1 layers rounded for the outputs on 20 samples"]


def test_the_mean_error_goes_into_the_bias() -> None:
    rng = np.random.default_rng(5)
    net = Net()
    graph = net.output(net.op("y", Dense(const(rng, 4, 6)), net.input("x", 1, 1, 6)))
    sample = {"x": np.full((1, 1, 6), 3.0, np.float32)}
    exact = run_float(graph, sample)["y"]
    RoundWeights(Calibration([sample])).run(graph, lambda text: None)
    op = graph.nodes[0].op
    assert isinstance(op, Dense) and op.bias is not None
    stored, scale = stored_weights(op.weight)
    rounded = Dense(Const((stored * scale[:, None]).astype(np.float32)), op.bias)
    np.testing.assert_allclose(rounded.evaluate([sample["x"]]), exact, rtol=1e-5)


def test_weights_of_a_quantised_model_are_left_alone() -> None:
    rng = np.random.default_rng(6)
    net = Net()
    weight = Const(rng.normal(size=(2, 3)).astype(np.float32), rng.integers(-127, 128, (2, 3)), np.full(2, 0.1))
    graph = net.output(net.op("y", Dense(weight), net.input("x", 1, 1, 3)))
    op = graph.nodes[0].op
    RoundWeights(Calibration([{"x": np.ones((1, 1, 3), np.float32)}])).run(graph, lambda text: None)
    assert graph.nodes[0].op is op


def test_an_input_that_never_varies_does_no_harm() -> None:
    rng = np.random.default_rng(7)
    graph = conv_net(rng)
    RoundWeights(Calibration([{"x": np.zeros((8, 8, 8), np.float32)}])).run(graph, lambda text: None)
    op = graph.nodes[0].op
    assert isinstance(op, Conv) and op.weight.stored is not None
    nearest, _ = stored_weights(Const(op.weight.values))
    np.testing.assert_array_equal(op.weight.stored, nearest)
