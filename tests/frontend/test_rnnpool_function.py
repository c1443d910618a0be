"""The RNNPool function in onnxruntime against the operator's definition, patch by patch in numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from rnnc.diagnostics import CompileError
from rnnc.frontend.rnnpool_function import attach_rnnpool, make_rnnpool_node, rnnpool_functions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """FastGRNN: w [h, in], r [h, h], b [2, h], s [2] or None for (1, 0)."""

    w: Floats
    r: Floats
    b: Floats
    s: Floats | None = None

    def run(self, sequence: Floats, gate: str, update: str) -> Floats:
        """The last state [h] for a sequence [steps, in]."""
        zeta, nu = (1.0, 0.0) if self.s is None else self.s
        h = np.zeros(len(self.r))
        for x in sequence:
            pre = self.w @ x + self.r @ h
            z, u = pre + self.b[0], pre + self.b[1]
            z = np.clip((z + 1) / 2, 0, 1) if gate == "QuantSigmoid" else 1 / (1 + np.exp(-z))
            u = np.clip(u, -1, 1) if update == "QuantTanh" else np.tanh(u)
            h = z * h + (zeta * (1 - z) + nu) * u
        return h


def random_cell(rng: np.random.Generator, inputs: int, hidden: int, with_s: bool = True) -> Cell:
    return Cell(
        rng.normal(size=(hidden, inputs)),
        rng.normal(scale=0.5, size=(hidden, hidden)),
        rng.normal(size=(2, hidden)),
        rng.uniform(0.05, 0.95, size=2) if with_s else None,
    )


def rnnpool_reference(
    x: Floats,
    cells: tuple[Cell, Cell],
    kernel_shape: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    gate: str,
    update: str,
) -> Floats:
    """RNNPool of x [N, C, H, W] as the operator's definition reads: [N, 4*h2, OH, OW]."""
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (rows, columns), (down, across) = kernel_shape, strides
    out_h, out_w = (x.shape[2] - rows) // down + 1, (x.shape[3] - columns) // across + 1
    y = np.empty((len(x), 4 * len(cells[1].r), out_h, out_w))
    for n, i, j in np.ndindex(len(x), out_h, out_w):
        patch = x[n, :, i * down : i * down + rows, j * across : j * across + columns]
        row_summaries = np.array([cells[0].run(patch[:, k].T, gate, update) for k in range(rows)])
        column_summaries = np.array([cells[0].run(patch[:, :, k].T, gate, update) for k in range(columns)])
        sweeps = (row_summaries, row_summaries[::-1], column_summaries, column_summaries[::-1])
        y[n, :, i, j] = np.concatenate([cells[1].run(sweep, gate, update) for sweep in sweeps])
    return y


def rnnpool_model(
    nodes: list[onnx.NodeProto], parameters: dict[str, Floats], channels: int, opset: int = 17
) -> onnx.ModelProto:
    """A model X -> Y of these nodes, batch and map size symbolic, without the function."""
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["batch", channels, "h", "w"])],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, ["batch", "c", "oh", "ow"])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in parameters.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node_and_parameters(
    source: str, target: str, cells: tuple[Cell, Cell], **attributes: Any
) -> tuple[onnx.NodeProto, dict[str, Floats]]:
    names, parameters = [source], {}
    for part in ("w", "r", "b"):
        parameters.update({f"{target}.{part}{n}": getattr(cell, part) for n, cell in enumerate(cells)})
    names += [f"{target}.{part}{n}" for n in range(2) for part in ("w", "r", "b")]
    for n, cell in enumerate(cells):
        if cell.s is not None:
            parameters[f"{target}.s{n}"] = cell.s
        names.append("" if cell.s is None else f"{target}.s{n}")
    while not names[-1]:
        names.pop()
    return make_rnnpool_node(names, target, name=target, **attributes), parameters


def run(model: onnx.ModelProto, x: Floats) -> npt.NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"X": x.astype(np.float32)})
    return y  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("batch", "size", "kernel", "strides", "pads"),
    [
        (1, (6, 6), (6, 6), (6, 6), (0, 0, 0, 0)),
        (1, (12, 17), (8, 8), (4, 4), (0, 0, 0, 0)),
        (3, (9, 7), (4, 2), (1, 3), (1, 0, 2, 1)),
        (2, (3, 4), (5, 6), (2, 1), (2, 1, 3, 2)),
        (1, (7, 8), (2, 3), (4, 5), (0, 0, 0, 0)),
        (2, (4, 5), (1, 1), (1, 1), (0, 1, 1, 0)),
    ],
    ids=["one-patch", "overlap", "oblong-padded", "patch-exceeds-map", "gaps", "one-pixel"],
)
@pytest.mark.parametrize(("gate", "update"), [("Sigmoid", "Tanh"), ("QuantSigmoid", "QuantTanh")])
def test_onnxruntime_computes_the_definition(
    batch: int,
    size: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    gate: str,
    update: str,
) -> None:
    rng = np.random.default_rng(hash((batch, *size, *kernel)) % 2**32)
    cells = (random_cell(rng, 3, 5), random_cell(rng, 5, 4))
    x = rng.normal(size=(batch, 3, *size))
    node, parameters = node_and_parameters(
        "X",
        "Y",
        cells,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        gate_activation=gate,
        update_activation=update,
    )
    y = run(attach_rnnpool(rnnpool_model([node], parameters, 3)), x)
    expected = rnnpool_reference(x, cells, kernel, strides, pads, gate, update)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("opset", [14, 17, 18, 21])
def test_two_different_nodes_in_one_model(opset: int) -> None:
    rng = np.random.default_rng(7)
    first = (random_cell(rng, 2, 3), random_cell(rng, 3, 2))
    second = (random_cell(rng, 8, 4), random_cell(rng, 4, 5))
    node1, parameters1 = node_and_parameters("X", "T", first, kernel_shape=(4, 5), strides=(2, 1), pads=(0, 1, 0, 1))
    node2, parameters2 = node_and_parameters(
        "T", "Y", second, kernel_shape=(2, 3), strides=(1, 2), gate_activation="QuantSigmoid"
    )
    x = rng.normal(size=(2, 2, 9, 10))
    model = attach_rnnpool(rnnpool_model([node1, node2], parameters1 | parameters2, 2, opset))
    assert len(model.functions) == 1
    middle = rnnpool_reference(x, first, (4, 5), (2, 1), (0, 1, 0, 1), "Sigmoid", "Tanh")
    expected = rnnpool_reference(middle, second, (2, 3), (1, 2), (0, 0, 0, 0), "QuantSigmoid", "Tanh")
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


@pytest.mark.parametrize("given", [(False, False), (True, False), (False, True)])
def test_absent_s_means_one_and_zero(given: tuple[bool, bool]) -> None:
    rng = np.random.default_rng(3)
    cells = (random_cell(rng, 2, 3, given[0]), random_cell(rng, 3, 3, given[1]))
    node, parameters = node_and_parameters("X", "Y", cells, kernel_shape=(3, 3), strides=(2, 2))
    x = rng.normal(size=(1, 2, 7, 7))
    expected = rnnpool_reference(x, cells, (3, 3), (2, 2), (0, 0, 0, 0), "Sigmoid", "Tanh")
    np.testing.assert_allclose(run(attach_rnnpool(rnnpool_model([node], parameters, 2)), x), expected, atol=1e-5)


def test_left_out_attributes_have_their_defaults() -> None:
    rng = np.random.default_rng(4)
    cells = (random_cell(rng, 1, 2), random_cell(rng, 2, 2))
    node, parameters = node_and_parameters("X", "Y", cells, kernel_shape=(2, 3), strides=(1, 1))
    kept = [a for a in node.attribute if a.name == "kernel_shape"]
    del node.attribute[:]
    node.attribute.extend(kept)
    x = rng.normal(size=(1, 1, 4, 5))
    expected = rnnpool_reference(x, cells, (2, 3), (1, 1), (0, 0, 0, 0), "Sigmoid", "Tanh")
    np.testing.assert_allclose(run(attach_rnnpool(rnnpool_model([node], parameters, 1)), x), expected, atol=1e-5)


def test_attaching_changes_only_what_lacks_something() -> None:
    rng = np.random.default_rng(5)
    cells = (random_cell(rng, 1, 2), random_cell(rng, 2, 2))
    node, parameters = node_and_parameters("X", "Y", cells, kernel_shape=(2, 2), strides=(2, 2))
    bare = rnnpool_model([node], parameters, 1)
    before = bare.SerializeToString()
    whole = attach_rnnpool(bare)
    assert bare.SerializeToString() == before
    assert [(f.domain, f.name) for f in whole.functions] == [("rnnc", "RNNPool")]
    assert {entry.domain: entry.version for entry in whole.opset_import} == {"": 17, "rnnc": 1}
    assert attach_rnnpool(whole) is whole
    relu = helper.make_node("Relu", ["X"], ["Y"])
    plain = rnnpool_model([relu], {}, 1)
    assert attach_rnnpool(plain) is plain
    assert rnnpool_functions([]) == []


@pytest.mark.parametrize(
    ("attribute", "value", "supported"),
    [
        ("cell", "GRU", "FastGRNN"),
        ("gate_activation", "Tanh", "Sigmoid, QuantSigmoid"),
        ("update_activation", "Relu", "Tanh, QuantTanh"),
    ],
)
def test_unsupported_choices_are_named(attribute: str, value: str, supported: str) -> None:
    node = make_rnnpool_node(
        ["X", "w1", "r1", "b1", "w2", "r2", "b2"], "Y", kernel_shape=(2, 2), strides=(1, 1), name="pool"
    )
    for entry in node.attribute:
        if entry.name == attribute:
            entry.s = value.encode()
    with pytest.raises(CompileError) as error:
        rnnpool_functions([node])
    assert f"pool: RNNPool with {attribute} '{value}' is not supported" in str(error.value)
    assert f"supported: {supported}" in str(error.value)


def test_an_opset_that_is_too_old_is_refused() -> None:
    node = make_rnnpool_node(["X", "w1", "r1", "b1", "w2", "r2", "b2"], "Y", kernel_shape=(2, 2), strides=(1, 1))
    with pytest.raises(CompileError, match="imports opset 11, the RNNPool function needs 14 or later"):
        rnnpool_functions([node], opset=11)
