"""Every rule of the verifier, broken once: the message names the node and the fault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import IntOp
from rnnc.ir.ops.activation import Tanh
from rnnc.ir.ops.shape import ConcatRows, SliceRows
from rnnc.ir.text import parse_graph
from rnnc.ir.types import Quant, TensorType
from rnnc.ir.verify import verify

NET = """graph "net" arithmetic=fast macs=0 {
  input "x" %x: int8[2,2,3] q(0.1, 5) as float32(3, 2, 2) axes=(1, 2, 0) batched
  %a: int8[2,2,2] q(0.1, 5) = slice_rows(%x) "cut" {axis=2, start=0, stop=2}
  %b: int8[2,2,5] q(0.1, 5) = concat_rows(%a, %x) "join" {axis=2}
  output "y" %b as float32(5, 2, 2) axes=(1, 2, 0) batched
}
"""


def net() -> Graph:
    return parse_graph(NET, [SliceRows, ConcatRows])


def test_a_sound_graph_passes() -> None:
    verify(net())


def retype(index: int, type_: TensorType) -> Callable[[Graph], None]:
    def change(graph: Graph) -> None:
        list(graph.values())[index].type = type_

    return change


def same_node_name(graph: Graph) -> None:
    graph.nodes[1].name = "cut"


def same_value_name(graph: Graph) -> None:
    graph.nodes[1].output.name = "a"


def input_name_taken(graph: Graph) -> None:
    value = Value("x", graph.inputs[0].value.type)
    graph.inputs.append(Port("x2", value, value.type.shape))


def wrong_order(graph: Graph) -> None:
    graph.nodes.reverse()


def foreign_output(graph: Graph) -> None:
    graph.outputs[0].value = Value("elsewhere", TensorType((1, 1, 1), "int8"))


def too_many_inputs(graph: Graph) -> None:
    graph.nodes[0].inputs *= 2


def impossible_shapes(graph: Graph) -> None:
    graph.nodes[1].op = ConcatRows(2)
    graph.inputs[0].value.type = TensorType((3, 2, 3), "int8", Quant(0.1, 5))
    graph.nodes[0].op = SliceRows(0, 0, 2)
    graph.nodes[0].output.type = TensorType((2, 2, 3), "int8", Quant(0.1, 5))


def float_reads_integers(graph: Graph) -> None:
    graph.nodes[1] = Node("tanh", Tanh(), [graph.nodes[0].output], graph.nodes[1].output)
    graph.nodes[1].output.type = TensorType((2, 2, 2))


def integer_reads_floats(graph: Graph) -> None:
    graph.inputs[0].value.type = TensorType((2, 2, 3))
    graph.nodes[0].output.type = TensorType((2, 2, 2))


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (same_node_name, "node 'cut' (concat_rows): two nodes have this name"),
        (same_value_name, "node 'join' (concat_rows): the value name 'a' is taken"),
        (input_name_taken, "input 'x2': the value name 'x' is taken"),
        (wrong_order, "node 'join' (concat_rows): reads 'a' before it is computed"),
        (foreign_output, "graph 'net': the output 'y' is never computed"),
        (too_many_inputs, "node 'cut' (slice_rows): reads 2 values where the operator takes 1"),
        (retype(0, TensorType((0, 2, 3), "int8", Quant(0.1))), "input 'x': empty shape (0, 2, 3)"),
        (
            retype(0, TensorType((2, 2, 3), "int8", Quant(0.0))),
            "input 'x': the scale 0.0 is not positive",
        ),
        (
            retype(0, TensorType((2, 2, 3), "int8", Quant(float("nan")))),
            "input 'x': the scale nan is not positive",
        ),
        (
            retype(0, TensorType((2, 2, 3), "int8", Quant(0.1, 128))),
            "input 'x': the zero point 128 is out of range",
        ),
        (
            retype(0, TensorType((2, 2, 3), "float32", Quant(0.1, -129))),
            "input 'x': the zero point -129 is out of range",
        ),
        (
            retype(1, TensorType((2, 2, 3), "int8", Quant(0.1, 5))),
            "node 'cut' (slice_rows): computes int8[2, 2, 2] but its output says int8[2, 2, 3]",
        ),
        (
            retype(2, TensorType((2, 2, 5), "int16", Quant(0.1))),
            "node 'join' (concat_rows): computes int8[2, 2, 5] but its output says int16[2, 2, 5]",
        ),
        (impossible_shapes, "node 'join' (concat_rows): "),
        (float_reads_integers, "node 'tanh' (tanh): a float operator reads integers"),
        (integer_reads_floats, "node 'cut' (slice_rows): an integer operator reads floats"),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_a_broken_rule_names_its_node(breakage: Callable[[Graph], None], message: str) -> None:
    graph = net()
    breakage(graph)
    with pytest.raises(CompileError) as caught:
        verify(graph)
    assert str(caught.value).splitlines()[0].startswith(message)


def test_an_operator_s_own_refusal_keeps_its_reason_and_remedy() -> None:
    class Refusing(SliceRows):
        def infer(self, inputs: object) -> TensorType:
            raise CompileError("does not fit", why="it is too large", remedy="make it smaller")

    graph = net()
    graph.nodes[0].op = Refusing(2, 0, 2)
    with pytest.raises(CompileError) as caught:
        verify(graph)
    assert str(caught.value) == (
        "node 'cut' (slice_rows): does not fit\n  why: it is too large\n  try: make it smaller"
    )
    assert isinstance(graph.nodes[0].op, IntOp)
