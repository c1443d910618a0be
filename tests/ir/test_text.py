"""The text form: every operator prints and parses; a fault is told with its line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, cast

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import Const, IntOp, Sample
from rnnc.ir.ops import OPS
from rnnc.ir.ops.conv import Conv
from rnnc.ir.text import parse_graph, print_graph
from rnnc.ir.types import Array, Quant, TensorType
from rnnc.ir.verify import verify

INT_OPS = [op for op in OPS if issubclass(op, IntOp)]

NET = """graph "net" arithmetic=fast macs=7 {
  input "x" %x: int8[2,2,1] q(0.1, 5) as float32(1, 2, 2) axes=(1, 2, 0) batched
  %a: int8[2,2,1] q(0.1, 5) = slice_rows(%x) "first" {axis=0, start=0, stop=2}
  %"b/c d": int8[1,2,1] q(1e-05, -128) = slice_rows(%a) "it's \\"second\\"" {axis=0, start=1, stop=2}
  output "y" %"b/c d" as uint8(1, 1, 2) axes=()
}
"""


def equal(a: object, b: object) -> bool:
    """Deep equality of operators, arrays with their element types included."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a) and is_dataclass(b):
        names = [field.name for field in fields(cast(Any, a))]
        return type(a) is type(b) and all(equal(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(equal(*pair) for pair in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def one_node_graph(sample: Sample) -> Graph:
    inputs = [Value(f"x{index}", type_) for index, type_ in enumerate(sample.inputs)]
    y = Value("y", sample.output)
    ports = [Port(value.name, value, value.type.shape, "int8") for value in inputs]
    return Graph("one", ports, [Port("y", y, y.type.shape)], [Node("node", sample.op, inputs, y)])


def samples(kind: type[IntOp]) -> Iterator[Graph]:
    for sample in kind.samples(np.random.default_rng(1)):
        yield one_node_graph(sample)


@pytest.mark.parametrize("kind", INT_OPS, ids=lambda op: op.name)
def test_every_operator_prints_and_parses(kind: type[IntOp]) -> None:
    for graph in samples(kind):
        verify(graph)
        text = print_graph(graph)
        again = parse_graph(text, OPS)
        verify(again)
        assert equal(again.nodes[0].op, graph.nodes[0].op), text
        assert print_graph(again) == text


@pytest.mark.parametrize("kind", INT_OPS, ids=lambda op: op.name)
def test_large_arrays_travel_beside_the_text(kind: type[IntOp]) -> None:
    for graph in samples(kind):
        constants: dict[str, Array] = {}
        text = print_graph(graph, constants, inline=4)
        again = parse_graph(text, OPS, constants)
        assert equal(again.nodes[0].op, graph.nodes[0].op), text


def test_constants_of_float_operators_keep_their_stored_integers() -> None:
    stored = Const(
        np.array([[[[0.5]]], [[[-1.5]]]], np.float32),
        np.array([[[[1]]], [[[-3]]]], np.int64),
        np.array([0.5, 0.5]),
    )
    conv = Conv(stored, Const(np.array([1e-7, 3e38], np.float32)), low=float("-inf"), high=6.0)
    x, y = Value("x", TensorType((1, 1, 1))), Value("y", TensorType((1, 1, 2), quant=Quant(1 / 3, 4)))
    graph = Graph("float", [Port("x", x, (1, 1, 1))], [Port("y", y, (2, 1, 1))], [Node("conv", conv, [x], y)])
    again = parse_graph(print_graph(graph), [Conv])
    assert equal(again.nodes[0].op, conv)
    assert again.nodes[0].output.type == y.type


def test_names_ports_and_types_survive() -> None:
    graph = parse_graph(NET, OPS)
    verify(graph)
    assert print_graph(graph) == NET
    assert (graph.name, graph.arithmetic, graph.nominal_macs) == ("net", "fast", 7)
    assert [node.name for node in graph.nodes] == ["first", 'it\'s "second"']
    port, end = graph.inputs[0], graph.outputs[0]
    assert (port.shape, port.dtype, port.axes, port.batched) == ((1, 2, 2), "float32", (1, 2, 0), True)
    assert (end.value.name, end.value.type.quant, end.batched) == ("b/c d", Quant(1e-05, -128), False)


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("graph", "graf", 1, "expected graph, found 'graf'"),
        ("fast", "slow", 1, "arithmetic slow: expected one of fast, tflite"),
        ("macs=7", "macs=7.5", 1, "expected an integer, found '7.5'"),
        ("int8[2,2,1] q(0.1, 5) as", "int7[2,2,1] as", 2, "element type int7: expected one of float32, int8,"),
        ("uint8(", "uint16(", 5, "element type uint16: expected one of float32, int8, uint8"),
        ("(1, 2, 0)", '(1, "2", 0)', 2, "expected an integer, found '\"2\"'"),
        ("slice_rows(%x)", "slyce(%x)", 3, "there is no operator 'slyce'"),
        ("(%x)", "(%z)", 3, "the value %z is used before it is defined"),
        ("%a:", "%x:", 3, "the value %x is defined twice"),
        ("{axis=0, start=0,", "{axis=0, begin=0,", 3, "SliceRows has no field 'begin'"),
        ("start=0, ", "start=0, start=0, ", 3, "SliceRows has no field 'start', or has it twice"),
        ("start=0, ", "", 3, "SliceRows is incomplete: "),
        ("start=0,", "start=i1[2]{1 2 3},", 3, "not an array of i1[2]: "),
        ("start=0,", "start=i1[2]{1 x},", 3, "not an array of i1[2]: "),
        ("start=0,", "start=q1[2]{1 2},", 3, "not an array of q1[2]: "),
        ("start=0,", "start=i1[2]@00ff,", 3, "the constant @00ff is missing"),
        ('"net"', '"n\\et"', 1, 'not a string: "n\\et"'),
        ("  output", "  ?output", 5, "unexpected text '?output"),
        ("\n}\n", "\n} more\n", 6, "there is text behind the graph"),
    ],
)
def test_a_fault_is_told_with_its_line(old: str, new: str, line: int, what: str) -> None:
    assert old in NET
    with pytest.raises(CompileError) as caught:
        parse_graph(NET.replace(old, new, 1), OPS)
    assert caught.value.what.startswith(what)
    assert caught.value.where == f"line {line} of the graph text"


@pytest.mark.parametrize("end", range(0, len(NET) - 2, 7))
def test_a_truncated_text_is_refused(end: int) -> None:
    with pytest.raises(CompileError, match="of the graph text"):
        parse_graph(NET[:end], OPS)


def test_what_has_no_text_form_is_refused_at_once() -> None:
    graph = parse_graph(NET, OPS)
    object.__setattr__(graph.nodes[0].op, "start", {"a": 1})
    with pytest.raises(TypeError, match="holds a dict, which has no text form"):
        print_graph(graph)
