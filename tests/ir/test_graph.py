"""Graph: users, producers, replacing and pruning; Port: the model's array order and the value's."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.ops.shape import ConcatRows, SliceRows
from rnnc.ir.types import TensorType


def port(shape: tuple[int, ...], value_shape: tuple[int, int, int], axes: tuple[int, ...]) -> Port:
    return Port("x", Value("x", TensorType(value_shape, "int8")), shape, axes=axes)


def test_channels_first_image_becomes_rows_of_pixels() -> None:
    model = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # C H W
    image = port((2, 3, 4), (3, 4, 2), (1, 2, 0))
    value = image.to_value(model)
    assert value.shape == (3, 4, 2)
    assert value[1, 2].tolist() == [model[0, 1, 2], model[1, 1, 2]]
    assert value.flags.c_contiguous
    np.testing.assert_array_equal(image.from_value(value), model)


def test_channels_last_image_stays() -> None:
    model = np.arange(2 * 3 * 4).reshape(3, 4, 2)
    image = port((3, 4, 2), (3, 4, 2), ())
    np.testing.assert_array_equal(image.to_value(model), model)
    np.testing.assert_array_equal(image.from_value(model), model)


def test_a_vector_is_one_pixel() -> None:
    model = np.arange(5)
    vector = port((5,), (1, 1, 5), ())
    assert vector.to_value(model).shape == (1, 1, 5)
    np.testing.assert_array_equal(vector.from_value(model.reshape(1, 1, 5)), model)


def test_a_sequence_is_a_column_of_rows() -> None:
    model = np.arange(12).reshape(3, 4)  # C L
    sequence = port((3, 4), (4, 1, 3), (1, 0))
    value = sequence.to_value(model)
    assert value.shape == (4, 1, 3)
    assert value[2, 0].tolist() == model[:, 2].tolist()
    np.testing.assert_array_equal(sequence.from_value(value), model)


@pytest.mark.parametrize("flat", [True, False])
def test_a_batch_axis_of_one_may_be_there_or_not(flat: bool) -> None:
    model = np.arange(24).reshape((24,) if flat else (1, 2, 3, 4))
    assert port((2, 3, 4), (3, 4, 2), (1, 2, 0)).to_value(model).shape == (3, 4, 2)


@given(st.data())
def test_there_and_back_for_every_order_of_axes(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    axes = data.draw(st.sampled_from([(), *permutations(range(len(shape)))]))
    model = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    permuted = tuple(shape[axis] for axis in axes or range(len(shape)))
    padded = (1, *permuted) if len(permuted) < 3 else permuted
    example = port(shape, (padded[0], int(np.prod(padded[1:-1])), padded[-1]), axes)
    value = example.to_value(model)
    assert value.shape == example.value.type.shape
    assert value.dtype == model.dtype
    np.testing.assert_array_equal(example.from_value(value), model)


def small_graph() -> tuple[Graph, list[Value]]:
    """x -> cut -> join(cut, x, cut) -> y, and a dead slice beside."""
    kind = TensorType((1, 1, 2), "int8")
    x, cut, dead = (Value(name, kind) for name in ("x", "cut", "dead"))
    y = Value("y", TensorType((1, 1, 6), "int8"))
    nodes = [
        Node("cut", SliceRows(2, 0, 2), [x], cut),
        Node("dead", SliceRows(2, 0, 2), [cut], dead),
        Node("join", ConcatRows(2), [cut, x, cut], y),
    ]
    graph = Graph("g", [Port("x", x, (2,))], [Port("y", y, (6,))], nodes)
    return graph, [x, cut, dead, y]


def test_values_producers_and_users() -> None:
    graph, (x, cut, dead, y) = small_graph()
    assert list(graph.values()) == [x, cut, dead, y]
    assert {value.name: node.name for value, node in graph.producers().items()} == {
        "cut": "cut",
        "dead": "dead",
        "y": "join",
    }
    users = {value.name: [node.name for node in nodes] for value, nodes in graph.users().items()}
    assert users == {"x": ["cut", "join"], "cut": ["dead", "join"], "dead": [], "y": []}
    assert graph.is_output(y)
    assert not graph.is_output(dead)


def test_prune_removes_what_no_output_needs() -> None:
    graph, _ = small_graph()
    assert graph.prune() == 1
    assert [node.name for node in graph.nodes] == ["cut", "join"]
    assert graph.prune() == 0


def test_replace_value_reaches_every_reader() -> None:
    graph, (x, cut, _, y) = small_graph()
    graph.replace_value(cut, x)
    assert graph.nodes[2].inputs == [x, x, x]
    graph.replace_value(y, cut)
    assert graph.outputs[0].value is cut


def test_fresh_names_are_free() -> None:
    graph, _ = small_graph()
    assert graph.fresh_name("new") == "new"
    assert graph.fresh_name("cut") == "cut.1"
    graph.nodes[0].output.name = "cut.1"
    graph.nodes[1].output.name = "cut"
    assert graph.fresh_name("cut") == "cut.2"
