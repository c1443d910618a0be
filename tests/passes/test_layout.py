"""ChannelsLast: transpositions disappear and the outputs stay."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Value
from rnnc.ir.op import Const, FloatOp
from rnnc.ir.ops.activation import Clamp
from rnnc.ir.ops.affine import Affine, constant
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.dense import Dense
from rnnc.ir.ops.elementwise import Add, Mul
from rnnc.ir.ops.pad import Pad
from rnnc.ir.ops.shape import Concat, Rearrange, Slice
from rnnc.ir.types import Quant
from rnnc.passes.layout import ChannelsLast
from tests.graphs import Net, const, op_names, run_pass

RNG = np.random.default_rng(0)


def to_hwc(net: Net, value: Value) -> Value:
    c, h, w = value.type.shape
    return net.op(f"{value.name}:hwc", Rearrange((1, 2, 0), (h, w, c), implied=True), value)


def to_chw(net: Net, value: Value) -> Value:
    h, w, c = value.type.shape
    return net.op(f"{value.name}:onnx", Rearrange((2, 0, 1), (c, h, w), implied=True), value)


def conv(net: Net, name: str, x: Value, channels: int) -> Value:
    """A 1x1 convolution as imported."""
    hwc = to_hwc(net, x)
    return to_chw(net, net.op(name, Conv(const(RNG, channels, 1, 1, hwc.type.channels)), hwc))


def layout(graph: Graph) -> list[str]:
    run_pass(ChannelsLast(), graph)
    assert all(len(value.type.shape) == 3 for value in graph.values())
    return op_names(graph)


def test_chain() -> None:
    net = Net()
    x = net.input("x", 3, 4, 5)
    r = net.op("r", Clamp(low=0.0), conv(net, "a", x, 2))
    graph = net.output(conv(net, "b", r, 6))
    assert layout(graph) == ["conv", "clamp", "conv"]
    assert graph.inputs[0].axes == (1, 2, 0) and graph.outputs[0].axes == (1, 2, 0)
    assert [node.output.type.shape for node in graph.nodes] == [(4, 5, 2), (4, 5, 2), (4, 5, 6)]


def test_input_is_channels_last_already() -> None:
    net = Net()
    x = net.input("x", 4, 5, 3)
    t = net.op("t", Rearrange((2, 0, 1), (3, 4, 5)), net.op("s", Clamp(low=0.0), x))
    graph = net.output(conv(net, "a", t, 2))
    assert layout(graph) == ["clamp", "conv"]
    assert graph.inputs[0].axes == ()


def test_quantisation_moves_to_the_value_behind_the_view() -> None:
    net = Net()
    x = net.input("x", 4, 5, 3)
    t = net.op("t", Rearrange((2, 0, 1), (3, 4, 5)), x, quant=Quant(0.5))
    graph = net.output(conv(net, "a", t, 2))
    layout(graph)
    assert graph.inputs[0].value.type.quant == Quant(0.5)


def test_residual() -> None:
    net = Net()
    x = net.input("x", 3, 4, 5)
    graph = net.output(net.op("y", Add(), conv(net, "a", x, 3), net.op("r", Clamp(low=0.0), x)))
    assert layout(graph) == ["conv", "clamp", "add"]


def test_gate_of_one_pixel_broadcasts() -> None:
    net = Net()
    x, gate = net.input("x", 3, 4, 5), net.input("gate", 3, 1, 1)
    graph = net.output(net.op("y", Mul(), conv(net, "a", x, 3), gate))
    assert layout(graph) == ["conv", "mul"]
    assert graph.inputs[1].value.type.shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("op", "field"),
    [
        (Concat(0), ("axis", 2)),
        (Concat(1), ("axis", 0)),
        (Concat(2), ("axis", 1)),
        (Slice(0, 1, 3), ("axis", 2)),
        (Slice(1, 0, 4, 2), ("axis", 0)),
        (Pad((0, 1, 2), (0, 3, 4)), ("before", (1, 2, 0))),
        (Pad((1, 0, 0), (2, 0, 0)), ("after", (0, 0, 2))),
    ],
)
def test_axes_are_renamed(op: FloatOp, field: tuple[str, object]) -> None:
    net = Net()
    x = net.input("x", 3, 4, 5)
    inputs = [conv(net, "a", x, 3)] + ([x] if isinstance(op, Concat) else [])
    graph = net.output(conv(net, "b", net.op("m", op, *inputs), 2))
    assert layout(graph) == ["conv", op.name, "conv"]
    assert getattr(graph.nodes[1].op, field[0]) == field[1]


def test_slice_of_a_channels_last_input_before_the_transposition() -> None:
    net = Net()
    x = net.input("x", 6, 5, 3)
    s = net.op("s", Slice(0, 1, 5), x)
    graph = net.output(conv(net, "a", net.op("t", Rearrange((2, 0, 1), (3, 4, 5)), s), 2))
    assert layout(graph) == ["slice", "conv"]
    assert graph.inputs[0].axes == () and graph.inputs[0].value.type.shape == (6, 5, 3)


def test_dense_behind_flatten_reads_channels_last() -> None:
    net = Net()
    a = conv(net, "a", net.input("x", 3, 4, 5), 2)
    flat = net.op("f", Rearrange((0, 1, 2), (40,)), a)
    vector = net.op("v", Rearrange((0,), (1, 1, 40)), flat)
    weight = const(RNG, 6, 40)
    stored = Const(weight.values, RNG.integers(-127, 128, (6, 40)), np.ones(6))
    y = net.op("y", Dense(stored), vector)
    graph = net.output(net.op("y:onnx", Rearrange((2, 0, 1), (6,)), y))
    assert layout(graph) == ["conv", "dense"]
    dense = graph.nodes[1].op
    assert isinstance(dense, Dense) and dense.weight.stored is not None
    order = np.arange(40).reshape(2, 4, 5).transpose(1, 2, 0).ravel()
    np.testing.assert_array_equal(dense.weight.values, weight.values[:, order])
    assert stored.stored is not None
    np.testing.assert_array_equal(dense.weight.stored, stored.stored[:, order])


def test_uniform_gain_is_elementwise_and_others_are_not() -> None:
    net = Net()
    x = net.input("x", 4, 5, 3)
    s = net.op("s", Affine(constant([2.0]), constant([0.5])), x)
    graph = net.output(conv(net, "a", net.op("t", Rearrange((2, 0, 1), (3, 4, 5)), s), 2))
    assert layout(graph) == ["affine", "conv"]


def test_sequence_and_vector_inputs() -> None:
    net = Net()
    a = net.op("a", Clamp(low=0.0), net.input("x", 3, 7))
    b = net.op("b", Clamp(low=0.0), net.input("v", 9))
    graph = net.output(a, b)
    layout(graph)
    assert [port.value.type.shape for port in graph.inputs] == [(7, 1, 3), (1, 1, 9)]


def refusal(graph: Graph) -> str:
    with pytest.raises(CompileError) as caught:
        ChannelsLast().run(graph, lambda text: None)
    return str(caught.value)


def test_swapped_rows_and_columns() -> None:
    net = Net()
    a = conv(net, "a", net.input("x", 3, 4, 5), 2)
    t = net.op("swap", Rearrange((0, 2, 1), (2, 5, 4)), a)
    text = refusal(net.output(conv(net, "b", t, 2)))
    assert "node 'swap': the transposition or reshape of 'a' cannot be removed" in text
    assert "'b' (conv) reads it as [5, 4, 2]" in text


def test_sum_of_different_orders() -> None:
    net = Net()
    a = conv(net, "a", net.input("x", 3, 4, 4), 2)
    t = net.op("swap", Rearrange((0, 2, 1), (2, 4, 4)), a)
    assert "node 'swap'" in refusal(net.output(net.op("y", Add(), a, t)))


def test_concatenation_of_maps_of_different_sizes() -> None:
    net = Net()
    a = net.op("fa", Rearrange((1, 2, 0), (20, 2)), conv(net, "a", net.input("x", 3, 4, 5), 2))
    b = net.op("fb", Rearrange((1, 2, 0), (6, 2)), conv(net, "b", net.input("z", 3, 2, 3), 2))
    assert "node 'fa'" in refusal(net.output(net.op("y", Concat(0), a, b)))


def test_flattened_output() -> None:
    net = Net()
    a = conv(net, "a", net.input("x", 3, 4, 5), 2)
    graph = net.output(net.op("f", Rearrange((0, 1, 2), (40,)), a))
    run_pass(ChannelsLast(), graph)
    port = graph.outputs[0]
    assert (port.shape, port.unmerged, port.axes) == ((40,), (2, 4, 5), (1, 2, 0))
    assert op_names(graph) == ["conv"]


def test_output_with_a_split_axis_moved() -> None:
    net = Net()
    a = conv(net, "a", net.input("x", 3, 4, 5), 6)
    split = net.op("s", Rearrange((0, 1, 2), (2, 3, 20)), a)
    text = refusal(net.output(net.op("f", Rearrange((1, 0, 2), (6, 20)), split)))
    assert "node 'f': the output 'f' [6, 20] is not a transposition of 'a' [4, 5, 6]" in text
