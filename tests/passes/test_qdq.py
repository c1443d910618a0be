"""AbsorbQdq: quantisation becomes a property of values."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import model_output, run_float
from rnnc.ir.ops.activation import Clamp, Sigmoid
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.elementwise import Add
from rnnc.ir.ops.quantize import Dequantize, Quantize
from rnnc.ir.ops.shape import Concat, Rearrange
from rnnc.ir.types import Quant
from rnnc.ir.verify import verify
from rnnc.passes.qdq import AbsorbQdq
from tests.graphs import Net, const, op_names, run_pass

RNG = np.random.default_rng(0)
A, B = Quant(0.5, 3), Quant(0.25, -128)


def q(quant: Quant) -> Quantize:
    return Quantize(quant.scale, quant.zero_point)


def dq(quant: Quant) -> Dequantize:
    return Dequantize(quant.scale, quant.zero_point)


def quants(graph: Graph) -> dict[str, Quant | None]:
    return {value.name: value.type.quant for value in graph.values()}


def absorb(graph: Graph) -> None:
    AbsorbQdq().run(graph, lambda text: None)
    verify(graph)


def test_pairs_disappear_and_annotate() -> None:
    net = Net()
    x = net.input("x", 4, 4, 3)
    a = net.op("a", dq(A), net.op("qx", q(A), x))
    r = net.op("r", Clamp(low=0.0), net.op("c", Conv(const(RNG, 2, 1, 1, 3)), a))
    graph = net.output(net.op("y", dq(B), net.op("qr", q(B), r)))
    absorb(graph)
    assert op_names(graph) == ["conv", "clamp"]
    assert quants(graph) == {"x": A, "c": None, "r": B}
    assert graph.outputs[0].value.name == "r" and graph.outputs[0].name == "y"


def test_integer_ports() -> None:
    """An int8 input that is transposed before it is dequantised; an int8 output that is reshaped after it."""
    net = Net()
    x = net.input("x", 3, 4, 4, dtype="int8")
    t = net.op("t", Rearrange((1, 2, 0), (4, 4, 3)), x)
    s = net.op("s", Sigmoid(), net.op("d", dq(A), t))
    graph = net.output(net.op("y", Rearrange((0, 1, 2), (48,)), net.op("qs", q(B), s)), dtype="int8")
    absorb(graph)
    assert op_names(graph) == ["rearrange", "sigmoid", "rearrange"]
    assert quants(graph) == {"x": A, "t": A, "s": B, "y": B}
    stored = np.arange(-24, 24, dtype=np.int8).reshape(3, 4, 4)
    values = run_float(graph, {"x": stored})
    real = (stored.astype(np.float32) - 3) * 0.5
    np.testing.assert_allclose(
        model_output(graph.outputs[0], values["y"]), 1 / (1 + np.exp(-real.transpose(1, 2, 0).ravel())), rtol=1e-5
    )


def test_uint8_is_shifted_to_int8() -> None:
    net = Net()
    x = net.input("x", 1, 1, 4, dtype="uint8")
    graph = net.output(net.op("y", Sigmoid(), net.op("d", Dequantize(0.5, 131, "uint8"), x)))
    absorb(graph)
    assert quants(graph) == {"x": Quant(0.5, 3), "y": None}
    values = run_float(graph, {"x": np.array([131, 133, 0, 255], np.uint8)})
    np.testing.assert_allclose(values["x"].ravel(), [0.0, 1.0, -65.5, 62.0])


def test_shared_quantize_and_several_dequantize() -> None:
    net = Net()
    x = net.input("x", 2, 2, 2)
    stored = net.op("qx", q(A), x)
    graph = net.output(net.op("y", Add(), net.op("d1", dq(A), stored), net.op("d2", dq(A), stored)))
    absorb(graph)
    assert op_names(graph) == ["add"]
    assert [value.name for value in graph.nodes[0].inputs] == ["x", "x"]


def test_two_quantisations_of_one_value() -> None:
    """The second one, also right behind the first, is a requantisation."""
    net = Net()
    x = net.input("x", 2, 2, 2)
    a = net.op("a", dq(A), net.op("qa", q(A), x))
    b = net.op("b", dq(B), net.op("qb", q(B), a))
    graph = net.output(net.op("y", Add(), a, b))
    absorb(graph)
    assert op_names(graph) == ["requantise", "add"]
    assert quants(graph) == {"x": A, "qb": B, "y": None}
    assert [value.name for value in graph.nodes[1].inputs] == ["x", "qb"]


def test_annotation_goes_to_the_value_behind_a_rearrangement() -> None:
    net = Net()
    x = net.input("x", 2, 3, 4)
    s = net.op("s", Sigmoid(), x)
    t = net.op("t", Rearrange((2, 0, 1), (4, 2, 3)), s)
    graph = net.output(net.op("y", Sigmoid(), net.op("d", dq(B), net.op("qt", q(B), t))))
    absorb(graph)
    assert quants(graph) == {"x": None, "s": B, "t": B, "y": None}


def test_integers_are_moved_as_reals() -> None:
    net = Net()
    x, z = net.input("x", 2, 2, 1), net.input("z", 2, 2, 3)
    joined = net.op("j", Concat(2), net.op("qx", q(A), x), net.op("qz", q(A), z))
    graph = net.output(net.op("y", dq(A), joined))
    absorb(graph)
    assert op_names(graph) == ["concat"]
    assert quants(graph) == {"x": A, "z": A, "j": A}


def test_a_graph_without_quantisation_is_left_alone() -> None:
    net = Net()
    graph = net.output(net.op("y", Sigmoid(), net.input("x", 2, 2, 2)))
    assert run_pass(AbsorbQdq(), graph) == []
    assert op_names(graph) == ["sigmoid"]


def refusal(graph: Graph) -> str:
    with pytest.raises(CompileError) as caught:
        absorb(graph)
    return str(caught.value)


def test_contradicting_scales() -> None:
    net = Net()
    graph = net.output(net.op("y", dq(B), net.op("qx", q(A), net.input("x", 2, 2, 2))))
    text = refusal(graph)
    assert "node 'y'" in text and "scale 0.25, zero point -128" in text and "scale 0.5, zero point 3" in text


def test_computing_on_integers() -> None:
    net = Net()
    graph = net.output(net.op("y", Sigmoid(), net.op("qx", q(A), net.input("x", 2, 2, 2))))
    text = refusal(graph)
    assert "node 'y': sigmoid computes on stored integers" in text and "DequantizeLinear in front" in text


def test_integer_input_without_scale() -> None:
    net = Net()
    t = net.op("t", Rearrange((1, 0), (3, 2)), net.input("x", 2, 3, dtype="int8"))
    assert "input 'x': it holds integers whose scale the model does not say" in refusal(net.output(t, dtype="int8"))
