"""FoldAffine, FuseClamp, FusePad and RemoveDead: fewer nodes, the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnc.ir.graph import Graph
from rnnc.ir.op import Const
from rnnc.ir.ops.activation import Clamp, Sigmoid
from rnnc.ir.ops.affine import Affine, constant
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.dense import Dense
from rnnc.ir.ops.elementwise import Add
from rnnc.ir.ops.norm import LpNorm
from rnnc.ir.ops.pad import Pad
from rnnc.ir.ops.pool import AveragePool, MaxPool
from rnnc.ir.types import Quant
from rnnc.passes.batchnorm import FoldAffine
from rnnc.passes.clamp import FuseClamp
from rnnc.passes.dead import RemoveDead
from rnnc.passes.padding import FusePad
from tests.graphs import Net, const, op_names, run_pass

RNG = np.random.default_rng(0)
PADDED = (1, 1, 1, 1)


def affine(channels: int) -> Affine:
    return Affine(const(RNG, channels), const(RNG, channels))


def stored_weight(*shape: int) -> Const:
    stored = RNG.integers(-127, 128, shape)
    scale = RNG.uniform(0.01, 0.1, shape[0])
    return Const((stored * scale.reshape(-1, *(1,) * (len(shape) - 1))).astype(np.float32), stored, scale)


def test_behind_a_convolution() -> None:
    net = Net()
    c = net.op("c", Conv(const(RNG, 4, 3, 3, 3), const(RNG, 4), pads=PADDED), net.input("x", 5, 5, 3))
    graph = net.output(net.op("y", replace(affine(4), low=0.0), c))
    run_pass(FoldAffine(), graph)
    assert [(node.op.name, node.name, node.output.name) for node in graph.nodes] == [("conv", "c", "y")]


def test_behind_a_dense_layer_with_one_number() -> None:
    net = Net()
    d = net.op("d", Dense(const(RNG, 4, 12)), net.input("x", 2, 2, 3))
    graph = net.output(net.op("y", Affine(constant([2.0]), constant([0.5])), d))
    run_pass(FoldAffine(), graph)
    assert op_names(graph) == ["dense"]


@pytest.mark.parametrize("group", [1, 2, 4])
def test_before_a_convolution_without_padding(group: int) -> None:
    net = Net()
    a = net.op("a", affine(4), net.input("x", 5, 5, 4))
    graph = net.output(net.op("y", Conv(const(RNG, 8, 3, 3, 4 // group), const(RNG, 8), group=group), a))
    run_pass(FoldAffine(), graph, 1e-4)
    assert op_names(graph) == ["conv"]


def test_before_a_dense_layer() -> None:
    net = Net()
    a = net.op("a", affine(3), net.input("x", 2, 2, 3))
    graph = net.output(net.op("y", Dense(const(RNG, 5, 12)), a))
    run_pass(FoldAffine(), graph, 1e-4)
    assert op_names(graph) == ["dense"]


def test_before_padding_only_the_gain_folds() -> None:
    for offset, left in ((const(RNG, 3), ["affine", "conv"]), (constant(np.zeros(3)), ["conv"])):
        net = Net()
        a = net.op("a", Affine(const(RNG, 3), offset), net.input("x", 5, 5, 3))
        graph = net.output(net.op("y", Conv(const(RNG, 4, 3, 3, 3), pads=PADDED), a))
        run_pass(FoldAffine(), graph)
        assert op_names(graph) == left


def test_chain_and_neutral() -> None:
    net = Net()
    x = net.input("x", 2, 2, 3)
    a = net.op("a", Affine(constant([1.0]), constant([0.0])), net.op("s", Sigmoid(), x))
    graph = net.output(net.op("y", replace(affine(3), high=0.5), net.op("b", affine(3), a)))
    run_pass(FoldAffine(), graph)
    assert op_names(graph) == ["sigmoid", "affine"]


def test_behind_a_norm() -> None:
    net = Net()
    n = net.op("n", LpNorm(), net.input("x", 2, 2, 3))
    graph = net.output(net.op("y", Affine(const(RNG, 3), constant([0.0])), n))
    run_pass(FoldAffine(), graph)
    assert op_names(graph) == ["lp_norm"]


def test_not_across_a_clamp_a_quantisation_an_output_or_a_second_reader() -> None:
    def layers(graph: Graph) -> list[str]:
        run_pass(FoldAffine(), graph)
        return op_names(graph)

    def start(low: float | None = None, quant: Quant | None = None) -> Net:
        net = Net()
        net.op("c", Conv(const(RNG, 3, 1, 1, 3), low=low), net.input("x", 2, 2, 3), quant=quant)
        return net

    net = start(low=0.0)
    assert layers(net.output(net.op("y", affine(3), net.value("c")))) == ["conv", "affine"]
    net = start(quant=Quant(0.1))
    assert layers(net.output(net.op("y", affine(3), net.value("c")))) == ["conv", "affine"]
    net = start()
    assert layers(net.output(net.op("y", affine(3), net.value("c")), net.value("c"))) == ["conv", "affine"]
    net = start()
    net.op("a", affine(3), net.value("c"))
    assert layers(net.output(net.op("y", Add(), net.value("c"), net.value("a")))) == ["conv", "affine", "add"]


def test_stored_integers_survive() -> None:
    """A bias keeps its integers; a gain changes the scales of the weights only, and the sign where negative."""
    weight = stored_weight(3, 1, 1, 2)
    bias = Const(np.ones(3, np.float32), np.array([10, 20, 30]), np.full(3, 0.1))
    net = Net()
    c = net.op("c", Conv(weight), net.input("x", 2, 2, 2))
    graph = net.output(net.op("y", Affine(constant([1.0]), bias), c))
    run_pass(FoldAffine(), graph)
    conv = graph.nodes[0].op
    assert isinstance(conv, Conv) and conv.bias is bias
    np.testing.assert_array_equal(conv.weight.stored, weight.stored)

    net = Net()
    c = net.op("c", Conv(weight), net.input("x", 2, 2, 2))
    graph = net.output(net.op("y", Affine(constant([2.0, -1.0, 0.5]), constant([0.0])), c))
    run_pass(FoldAffine(), graph)
    conv = graph.nodes[0].op
    assert isinstance(conv, Conv) and weight.stored is not None and weight.scale is not None
    np.testing.assert_array_equal(conv.weight.stored, weight.stored * np.array([1, -1, 1]).reshape(3, 1, 1, 1))
    np.testing.assert_allclose(conv.weight.scale, weight.scale * [2.0, 1.0, 0.5])


def test_clamps_fuse_with_name_and_quantisation() -> None:
    net = Net()
    c = net.op("c", Conv(const(RNG, 3, 1, 1, 3)), net.input("x", 4, 4, 3))
    r = net.op("r", Clamp(low=0.0), c)
    graph = net.output(net.op("y", Clamp(high=0.7), r, quant=Quant(0.1)))
    run_pass(FuseClamp(), graph)
    assert [(node.op.name, node.name, node.output.name) for node in graph.nodes] == [("conv", "c", "y")]
    assert graph.nodes[0].output.type.quant == Quant(0.1)


def test_clamps_that_stay() -> None:
    net = Net()
    x = net.input("x", 4, 4, 3)
    shared = net.op("shared", Conv(const(RNG, 3, 1, 1, 3)), x)
    other = net.op("other", Conv(const(RNG, 3, 1, 1, 3)), x, quant=Quant(0.5))
    pooled = net.op("pooled", MaxPool((2, 2)), x)
    graph = net.output(
        net.op("a", Clamp(low=0.0), shared),
        net.op("b", Sigmoid(), shared),
        net.op("d", Clamp(low=0.0), other, quant=Quant(0.1)),
        net.op("e", Clamp(low=0.0), pooled),
    )
    run_pass(FuseClamp(), graph)
    assert op_names(graph).count("clamp") == 3


def test_a_clamp_with_the_same_quantisation_as_the_value_before_fuses() -> None:
    net = Net()
    c = net.op("c", Conv(const(RNG, 3, 1, 1, 3)), net.input("x", 4, 4, 3), quant=Quant(0.1))
    graph = net.output(net.op("y", Clamp(low=0.0), c, quant=Quant(0.1)))
    run_pass(FuseClamp(), graph)
    assert op_names(graph) == ["conv"]


def test_pads_fuse() -> None:
    pad = Pad((1, 2, 0), (3, 0, 0))
    net = Net()
    p = net.op("p", pad, net.input("x", 4, 4, 3))
    graph = net.output(
        net.op("a", Conv(const(RNG, 2, 3, 3, 3), pads=(0, 1, 2, 0)), p),
        net.op("b", AveragePool((2, 2)), p),
    )
    assert run_pass(FusePad(), graph) == ["2 pads fused"]
    assert op_names(graph) == ["conv", "average_pool"]
    conv = graph.nodes[0].op
    assert isinstance(conv, Conv) and conv.pads == (1, 3, 5, 0)


@pytest.mark.parametrize(
    ("pad", "quant"),
    [
        (Pad((1, 1, 0), (1, 1, 0), "edge"), None),
        (Pad((1, 1, 1), (1, 1, 0)), None),
        (Pad((1, 1, 0), (1, 1, 0)), Quant(0.1)),
    ],
)
def test_pads_that_stay(pad: Pad, quant: Quant | None) -> None:
    net = Net()
    p = net.op("p", pad, net.input("x", 4, 4, 3), quant=quant)
    graph = net.output(net.op("a", Conv(const(RNG, 2, 3, 3, p.type.channels)), p))
    run_pass(FusePad(), graph)
    assert op_names(graph) == ["pad", "conv"]


def test_pad_stays_for_max_pooling() -> None:
    net = Net()
    p = net.op("p", Pad((1, 1, 0), (1, 1, 0)), net.input("x", 4, 4, 3))
    graph = net.output(net.op("a", MaxPool((2, 2)), p), net.op("b", Conv(const(RNG, 2, 3, 3, 3)), p))
    run_pass(FusePad(), graph)
    assert op_names(graph) == ["pad", "max_pool", "conv"]


def test_dead_nodes_go() -> None:
    net = Net()
    x = net.input("x", 4, 4, 3)
    net.op("unused", Sigmoid(), net.op("also", Sigmoid(), x))
    graph = net.output(net.op("y", Clamp(low=0.0), x))
    assert run_pass(RemoveDead(), graph) == ["2 nodes removed that no output depends on"]
    assert op_names(graph) == ["clamp"]
