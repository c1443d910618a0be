"""Constant-channel elimination: what goes, what must stay, and that no output byte changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.ir.fixedpoint import Arithmetic, Requant
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import IntOp, evaluate
from rnnc.ir.ops.activation import Lut
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.dense import DenseInt
from rnnc.ir.ops.elementwise import AddInt8
from rnnc.ir.ops.global_pool import GlobalAveragePool
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.ops.pad import PadRows
from rnnc.ir.ops.pool import MaxPool2D
from rnnc.ir.ops.shape import ConcatRows, SliceRows
from rnnc.ir.text import parse_graph, print_graph
from rnnc.ir.types import Array, Quant, TensorType
from rnnc.ir.verify import verify
from rnnc.passes.constant_channels import ConstantChannels, channel_ranges

ARITHMETICS: tuple[Arithmetic, ...] = ("fast", "tflite")
ADD = AddInt8((3000, 5000), 1 << 12, 13)


class Net:
    """A graph under construction, with the operators' parameters drawn at random."""

    def __init__(self, arithmetic: Arithmetic = "fast", seed: int = 0) -> None:
        self.graph = Graph("net", arithmetic=arithmetic)
        self.rng = np.random.default_rng(seed)

    def input(self, shape: tuple[int, int, int], zero_point: int = -3) -> Value:
        value = Value(f"x{len(self.graph.inputs)}", TensorType(shape, "int8", Quant(0.1, zero_point)))
        self.graph.inputs.append(Port(value.name, value, shape))
        return value

    def op(self, op: IntOp, *inputs: Value, name: str = "", zero_point: int = 0) -> Value:
        name = name or f"v{len(self.graph.nodes)}"
        value = Value(name, op.infer([x.type for x in inputs]).with_quant(Quant(0.1, zero_point)))
        self.graph.nodes.append(Node(name, op, list(inputs), value))
        return value

    def conv(
        self,
        x: Value,
        out: int,
        *,
        kernel: int = 1,
        pad: int = 0,
        constants: dict[int, int] | None = None,
        zero_point: int = 0,
        depthwise: bool = False,
        low: int = -128,
        name: str = "",
    ) -> Value:
        """A convolution whose output channels ``constants`` always hold the values given, by weights of zero."""
        depth = 1 if depthwise else x.type.channels
        group = x.type.channels if depthwise else 1
        weight = self.rng.integers(-127, 128, (out, kernel, kernel, depth)).astype(np.int8)
        weight[weight == 0] = 1
        bias = self.rng.integers(-5000, 5000, out).astype(np.int32)
        requant = random_requant(self.rng, self.graph.arithmetic, out, 4 * accumulator_bound(weight, bias))
        # each channel's multiplier is a good 2^-9 of its reach, so that no channel is constant by chance
        scale = 9 if self.graph.arithmetic == "fast" else 0
        requant = Requant(
            self.graph.arithmetic,
            np.full(out, 1 << (32 - scale) if scale else 1 << 30, np.int32),
            np.full(out, 0 if scale else -8, np.int8),
            zero_point,
            low,
        )
        for channel, value in (constants or {}).items():
            weight[channel] = 0
            bias[channel] = (value - zero_point) << 9
        assert x.type.quant is not None
        op = Conv2D(weight, bias, requant, x.type.quant.zero_point, pads=(pad, pad, pad, pad), group=group)
        return self.op(op, x, name=name, zero_point=zero_point)

    def output(self, *values: Value) -> Graph:
        for value in values:
            self.graph.outputs.append(Port(value.name, value, value.type.shape))
        verify(self.graph)
        return self.graph


def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    values = {port.value: array for port, array in zip(graph.inputs, inputs, strict=True)}
    for node in graph.nodes:
        arrays = [values[value] for value in node.inputs]
        assert isinstance(node.op, IntOp)
        values[node.output] = evaluate(node.op, arrays, node.input_types, node.output.type)
    return [values[port.value] for port in graph.outputs]


def stimuli(graph: Graph, seed: int = 7) -> list[list[Array]]:
    """Random, extreme and uniform inputs."""
    rng = np.random.default_rng(seed)
    shapes = [port.value.type.shape for port in graph.inputs]
    cases: list[list[npt.NDArray[np.int64]]] = [[np.full(shape, fill) for shape in shapes] for fill in (-128, 127, 0)]
    cases += [[rng.choice([-128, 127], shape) for shape in shapes] for _ in range(3)]
    cases += [[rng.integers(-128, 128, shape) for shape in shapes] for _ in range(3)]
    return [[array.astype(np.int8) for array in case] for case in cases]


def eliminate(graph: Graph) -> list[str]:
    """Run the pass, checking that the graph stays valid and every output the same."""
    cases = stimuli(graph)
    before = [run(graph, case) for case in cases]
    notes: list[str] = []
    ConstantChannels().run(graph, notes.append)
    verify(graph)
    for case, expected in zip(cases, before, strict=True):
        for actual, wanted in zip(run(graph, case), expected, strict=True):
            np.testing.assert_array_equal(actual, wanted)
    return notes


def channels(graph: Graph) -> dict[str, int]:
    return {node.name: node.output.type.channels for node in graph.nodes}


BEFORE = """graph "net" arithmetic=fast macs=0 {
  input "x" %x: int8[1,2,2] q(0.1, 5) as float32(1, 2, 2) axes=() batched
  %h: int8[1,2,3] q(0.1, -128) = conv2d(%x) "hidden" {weight=i1[3,1,1,2]{10 20 1 1 30 40}, \
bias=i4[3]{100 -1000 0}, requant=Requant(arithmetic="fast", multipliers=i4[3]{1073741824 1073741824 1073741824}, \
shifts=i1[3]{0 0 0}, zero_point=-128), zero_point=5}
  %y: int8[1,2,1] q(0.1, 0) = conv2d(%h) "out" {weight=i1[1,1,1,3]{1 2 3}, bias=i4[1]{1000}, \
requant=Requant(arithmetic="fast", multipliers=i4[1]{1073741824}, shifts=i1[1]{0}, zero_point=0), zero_point=-128}
  output "y" %y as float32(1, 2, 1) axes=() batched
}
"""
AFTER = """graph "net" arithmetic=fast macs=0 {
  input "x" %x: int8[1,2,2] q(0.1, 5) as float32(1, 2, 2) axes=() batched
  %h: int8[1,2,2] q(0.1, -128) = conv2d(%x) "hidden" {weight=i1[2,1,1,2]{10 20 30 40}, \
bias=i4[2]{100 0}, requant=Requant(arithmetic="fast", multipliers=i4[2]{1073741824 1073741824}, \
shifts=i1[2]{0 0}, zero_point=-128), zero_point=5}
  %y: int8[1,2,1] q(0.1, 0) = conv2d(%h) "out" {weight=i1[1,1,1,2]{1 3}, bias=i4[1]{744}, \
requant=Requant(arithmetic="fast", multipliers=i4[1]{1073741824}, shifts=i1[1]{0}, zero_point=0), zero_point=-128}
  output "y" %y as float32(1, 2, 1) axes=() batched
}
"""


def test_a_relu_that_is_never_positive_folds_into_the_next_bias() -> None:
    """Channel 1 of `hidden` is x0 + x1 - 1000 <= -746, so it holds the zero point -128; 1000 - 2 * 128 = 744."""
    graph = parse_graph(BEFORE, [Conv2D])
    before = sum(node.op.weight_bytes() for node in graph.nodes if isinstance(node.op, IntOp))
    notes = eliminate(graph)
    assert print_graph(graph) == AFTER
    after = sum(node.op.weight_bytes() for node in graph.nodes if isinstance(node.op, IntOp))
    assert notes == [
        "conv2d 'hidden', 3 channels: removed 1 (always -128)",
        f"{before - after} bytes of constants fewer, of {before}",
    ]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_under_padding_only_the_zero_point_folds(arithmetic: Arithmetic) -> None:
    """At the border a channel that is not there reads as the zero point, here 4; a constant 9 differs from that."""
    net = Net(arithmetic)
    h = net.conv(net.input((5, 4, 3)), 6, constants={1: 4, 3: 9}, zero_point=4, name="h")
    graph = net.output(net.conv(h, 3, kernel=3, pad=1))
    notes = eliminate(graph)
    assert channels(graph)["h"] == 5
    assert notes[0] == "conv2d 'h', 6 channels: removed 1 (always 4); kept 1 (always 9, but needed as it is)"


def test_a_padded_constant_folds_where_its_taps_never_reach_the_border() -> None:
    net = Net()
    h = net.conv(net.input((5, 4, 3)), 3, constants={0: 9}, zero_point=4, name="h")
    y = net.conv(h, 3, kernel=3, pad=1)
    op = net.graph.nodes[-1].op
    assert isinstance(op, Conv2D)
    op.weight[:, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2], 0] = 0
    graph = net.output(y)
    eliminate(graph)
    assert channels(graph)["h"] == 2


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("stride", [1, 2])
def test_without_padding_every_constant_folds(arithmetic: Arithmetic, stride: int) -> None:
    net = Net(arithmetic)
    h = net.conv(net.input((5, 6, 3)), 6, constants={0: -128, 1: 4, 3: 9, 5: 127}, zero_point=4, name="h")
    graph = net.output(net.conv(h, 3, kernel=3))
    eliminate(graph)
    assert channels(graph)["h"] == 2


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_depthwise_chain_loses_its_channels_from_end_to_end(arithmetic: Arithmetic) -> None:
    net = Net(arithmetic)
    h = net.conv(net.input((6, 5, 3)), 6, constants={2: 7}, zero_point=7, name="expand")
    d = net.conv(h, 6, kernel=3, pad=1, depthwise=True, zero_point=-5, name="depthwise")
    e = net.conv(d, 6, kernel=3, depthwise=True, name="again")
    graph = net.output(net.conv(e, 4, name="project"))
    eliminate(graph)
    assert channels(graph) == {"expand": 5, "depthwise": 5, "again": 5, "project": 4}
    op = graph.nodes[1].op
    assert isinstance(op, Conv2D) and op.depthwise and op.group == 5


def test_a_channel_that_becomes_constant_in_the_depthwise_takes_its_source_along() -> None:
    net = Net()
    h = net.conv(net.input((6, 5, 3)), 4, name="expand")
    d = net.conv(h, 4, kernel=3, depthwise=True, constants={1: 22}, name="depthwise")
    graph = net.output(net.conv(d, 4, name="project"))
    notes = eliminate(graph)
    assert channels(graph) == {"expand": 3, "depthwise": 3, "project": 4}
    assert notes[0] == "conv2d 'expand', 4 channels: removed 1 (without effect)"


def test_depthwise_padding_makes_a_constant_vary_at_the_border() -> None:
    net = Net()
    h = net.conv(net.input((6, 5, 3)), 4, constants={2: 90}, zero_point=7, name="expand")
    d = net.conv(h, 4, kernel=3, pad=1, depthwise=True, name="depthwise")
    graph = net.output(net.conv(d, 4, name="project"))
    ranges = channel_ranges(graph)
    assert not ranges[d].constant[2]
    eliminate(graph)
    assert channels(graph)["depthwise"] == 4


def test_residual_channel_goes_only_if_it_is_constant_on_both_paths() -> None:
    net = Net()
    x = net.input((4, 4, 3))
    a = net.conv(x, 5, constants={1: 3, 2: 8}, name="a")
    b = net.conv(x, 5, constants={1: -20, 4: 8}, name="b")
    graph = net.output(net.conv(net.op(ADD, a, b, name="sum"), 2, name="out"))
    notes = eliminate(graph)
    assert channels(graph) == {"a": 4, "b": 4, "sum": 4, "out": 2}
    assert notes[:2] == [
        "conv2d 'a', 5 channels: removed 1 (always 3); kept 1 (always 8, but needed as it is)",
        "conv2d 'b', 5 channels: removed 1 (always -20); kept 1 (always 8, but needed as it is)",
    ]


def test_residual_channel_stays_for_another_reader_that_needs_it() -> None:
    """`border` cannot fold 3 under its padding, so channel 1 stays on every path."""
    net = Net()
    x = net.input((4, 4, 3))
    a = net.conv(x, 5, constants={1: 3}, name="a")
    b = net.conv(x, 5, constants={1: -20}, name="b")
    total = net.op(ADD, a, b, name="sum")
    graph = net.output(net.conv(total, 2, name="out"), net.conv(a, 2, kernel=3, pad=1, name="border"))
    eliminate(graph)
    assert channels(graph) == {"a": 5, "b": 5, "sum": 5, "out": 2, "border": 2}


def test_a_doubled_value_and_a_table_in_between() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 5, constants={1: 3}, name="a")
    table = net.op(Lut(np.arange(127, -129, -1).astype(np.int8)), a, name="table")
    graph = net.output(net.conv(net.op(ADD, table, table, name="sum"), 2, name="out"))
    assert channel_ranges(graph)[table].low[1] == -4
    eliminate(graph)
    assert channels(graph) == {"a": 4, "table": 4, "sum": 4, "out": 2}


def test_concatenated_channels_keep_their_places() -> None:
    net = Net()
    x = net.input((4, 4, 3))
    a = net.conv(x, 3, constants={0: 3}, name="a")
    b = net.conv(x, 4, constants={0: 5, 3: 8}, name="b")
    joined = net.op(ConcatRows(2), a, x, b, name="joined")
    graph = net.output(net.conv(joined, 2, name="out"))
    eliminate(graph)
    assert channels(graph) == {"a": 2, "b": 2, "joined": 7, "out": 2}


@pytest.mark.parametrize("axis", [0, 1])
def test_concatenation_of_positions_needs_the_same_constant_everywhere(axis: int) -> None:
    net = Net()
    x = net.input((4, 4, 3))
    a = net.conv(x, 4, constants={0: 3, 1: 5}, name="a")
    b = net.conv(x, 4, constants={0: 3, 1: 6}, name="b")
    graph = net.output(net.conv(net.op(ConcatRows(axis), a, b, name="joined"), 2, name="out"))
    eliminate(graph)
    assert channels(graph) == {"a": 3, "b": 3, "joined": 3, "out": 2}


def test_channels_beside_a_slice_are_dead() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 9, constants={4: 3}, name="a")
    graph = net.output(net.conv(net.op(SliceRows(2, 2, 7), a, name="cut"), 2, name="out"))
    notes = eliminate(graph)
    assert channels(graph) == {"a": 4, "cut": 4, "out": 2}
    assert notes[0] == "conv2d 'a', 9 channels: removed 1 (always 3) and 4 (without effect)"
    op = graph.nodes[1].op
    assert isinstance(op, SliceRows) and (op.start, op.stop) == (0, 4)


def test_a_slice_with_steps_keeps_its_channels() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 9, constants={4: 3}, name="a")
    graph = net.output(net.conv(net.op(SliceRows(2, 0, 9, 2), a, name="cut"), 2))
    eliminate(graph)
    assert channels(graph)["a"] == 9


def test_padding_channels_are_constants_too() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 4, constants={1: 6, 2: 9}, zero_point=6, name="a")
    padded = net.op(PadRows((1, 0, 2, 0), (2, 3), 6), a, name="padded", zero_point=6)
    graph = net.output(net.conv(padded, 2, kernel=2, name="out"))
    eliminate(graph)
    assert channels(graph) == {"a": 3, "padded": 3, "out": 2}


def test_outputs_keep_their_channels_and_nobody_loses_the_last_one() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 3, constants={0: 1, 1: 2, 2: 3}, name="a")
    b = net.conv(a, 3, constants={0: 1, 1: 2, 2: 3}, name="b")
    graph = net.output(b)
    eliminate(graph)
    assert channels(graph) == {"a": 1, "b": 3}


def test_a_grouped_convolution_keeps_its_channels() -> None:
    """Groups must stay of one size."""
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 4, constants={0: 5}, name="a")
    weight = np.ones((4, 1, 1, 2), np.int8)
    requant = random_requant(net.rng, "fast", 4, 1 << 14)
    grouped = net.op(Conv2D(weight, np.zeros(4, np.int32), requant, 0, group=2), a, name="grouped")
    graph = net.output(net.conv(grouped, 2))
    eliminate(graph)
    assert channels(graph)["a"] == 4


def test_a_depth_multiplier_takes_all_its_outputs_along() -> None:
    net = Net()
    a = net.conv(net.input((4, 4, 3)), 3, constants={1: 5}, name="a")
    weight = net.rng.integers(1, 100, (6, 3, 3, 1)).astype(np.int8)
    requant = Requant("fast", np.full(6, 1 << 22, np.int32), np.zeros(6, np.int8), 0)
    d = net.op(Conv2D(weight, np.zeros(6, np.int32), requant, 0, group=3), a, name="d")
    graph = net.output(net.conv(d, 2, name="out"))
    eliminate(graph)
    assert channels(graph) == {"a": 2, "d": 4, "out": 2}


def test_a_dense_layer_folds_a_constant_of_all_its_pixels() -> None:
    net = Net()
    a = net.conv(net.input((2, 3, 3)), 4, constants={1: 5, 3: -9}, name="a")
    weight = net.rng.integers(-127, 128, (5, 2, 3, 4)).astype(np.int8)
    requant = Requant("fast", np.full(5, 1 << 22, np.int32), np.zeros(5, np.int8), 0)
    graph = net.output(net.op(DenseInt(weight, np.zeros(5, np.int32), requant), a, name="dense"))
    eliminate(graph)
    assert channels(graph) == {"a": 2, "dense": 5}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_pooling_in_between_hands_constants_on(arithmetic: Arithmetic) -> None:
    """A maximum of constants and a mean of constants are constants, whatever the rounding."""
    net = Net(arithmetic)
    a = net.conv(net.input((6, 6, 3)), 4, constants={0: 5, 2: -9}, name="a")
    pooled = net.op(MaxPool2D((2, 2), (2, 2)), a, name="pooled")
    op = GlobalAveragePool().quantise([pooled.type], TensorType((1, 1, 4), quant=Quant(0.07, 11)), arithmetic)
    graph = net.output(net.conv(net.op(op, pooled, name="mean", zero_point=11), 3, name="out"))
    eliminate(graph)
    assert channels(graph) == {"a": 2, "pooled": 2, "mean": 2, "out": 3}


def test_nothing_to_remove_says_nothing() -> None:
    net = Net()
    graph = net.output(net.conv(net.conv(net.input((4, 4, 3)), 3, kernel=3, pad=1), 2))
    text = print_graph(graph)
    assert eliminate(graph) == []
    assert print_graph(graph) == text


SHAPES = list(product((1, 4), (1, 5)))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A dozen random nodes over values of one map size, with constants and dead channels in all places."""
    net = Net(draw(st.sampled_from(ARITHMETICS)), draw(st.integers(0, 2**16)))
    height, width = draw(st.sampled_from(SHAPES))
    values = [net.input((height, width, draw(st.integers(1, 4))), draw(st.sampled_from([-128, 0, 11])))]
    for _ in range(draw(st.integers(2, 10))):
        x = draw(st.sampled_from(values[-4:]))
        kind = draw(st.sampled_from(["conv", "conv3", "depthwise", "add", "concat", "slice", "lut"]))
        out = x.type.channels if kind == "depthwise" else draw(st.integers(1, 6))
        zero_point = draw(st.sampled_from([-128, -7, 0, 90]))
        held = draw(st.dictionaries(st.integers(0, out - 1), st.sampled_from([zero_point, -100, 31]), max_size=3))
        if kind in ("conv", "conv3", "depthwise"):
            size = 1 if kind == "conv" else 3
            y = net.conv(
                x,
                out,
                kernel=size,
                pad=size // 2,
                constants=held,
                zero_point=zero_point,
                depthwise=kind == "depthwise",
            )
        elif kind == "lut":
            y = net.op(Lut(net.rng.integers(-128, 128, 256).astype(np.int8)), x)
        elif kind == "slice":
            first = draw(st.integers(0, x.type.channels - 1))
            y = net.op(SliceRows(2, first, draw(st.integers(first + 1, x.type.channels))), x)
        elif kind == "concat":
            y = net.op(ConcatRows(2), *draw(st.lists(st.sampled_from(values), min_size=1, max_size=3)))
        else:
            same = [value for value in values if value.type.shape == x.type.shape]
            y = net.op(ADD, x, draw(st.sampled_from(same)))
        values.append(y)
    read = {value for node in net.graph.nodes for value in node.inputs}
    ends = [value for value in values[1:] if value not in read]
    return net.output(*ends)


@given(graphs())
def test_random_graphs_compute_the_same_afterwards(graph: Graph) -> None:
    sizes = channels(graph)
    eliminate(graph)
    assert all(1 <= count <= sizes[name] for name, count in channels(graph).items())
    for port in graph.outputs:
        assert port.value.type.shape == port.shape
    again = print_graph(graph)
    ConstantChannels().run(graph, lambda text: None)
    assert print_graph(graph) == again, "a second run finds nothing more"
