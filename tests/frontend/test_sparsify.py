"""--sparsity: which weights go, and that calibration and compilation see the sparse network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from onnx import ModelProto, TensorProto, helper, numpy_helper

from rnnc.cli import cli
from rnnc.compile import Compilation, Options, integer_graph
from rnnc.diagnostics import CompileError
from rnnc.frontend.load import prepare_model
from rnnc.frontend.rnnpool_function import attach_rnnpool, make_rnnpool_node
from rnnc.frontend.sparsify import parse_sparsity, sparsify
from rnnc.ir.ops.rnnpool_int import RnnPoolInt

SHAPES = {"W1": (6, 4), "R1": (6, 6), "B1": (2, 6), "W2": (5, 6), "R2": (5, 5), "B2": (2, 5)}


def pooling_model() -> ModelProto:
    rng = np.random.default_rng(1)
    node = make_rnnpool_node(["X", *SHAPES], "Y", kernel_shape=(4, 4), strides=(2, 2))
    constants = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in SHAPES.items()]
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 4, 8, 8])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [1, 20, 3, 3])
    graph = helper.make_graph([node], "g", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return prepare_model(attach_rnnpool(model), "test")


def weights_of(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_largest_weights_stay() -> None:
    model = pooling_model()
    before = weights_of(model)
    said = sparsify(model, {"W": 0.5, "R": 0.3})
    after = weights_of(model)
    for name, kept in (("W1", 12), ("R1", 11), ("W2", 15), ("R2", 8)):
        stays = after[name] != 0
        assert stays.sum() == kept
        assert np.array_equal(after[name][stays], before[name][stays])
        assert np.abs(before[name][~stays]).max() < np.abs(before[name][stays]).min()
    assert np.array_equal(after["B1"], before["B1"]) and np.array_equal(after["B2"], before["B2"])
    assert "27 of 54 weights of W" in said and "19 of 61 weights of R" in said


def test_sparse_weights_stay_sparse_in_integers() -> None:
    options = Options(Path("x.onnx"), Path("x"), sparsity={"R": 0.25})
    result = Compilation()
    graph = integer_graph(pooling_model(), options, result, lambda *progress: None)
    (op,) = [node.op for node in graph.nodes if isinstance(node.op, RnnPoolInt)]
    assert np.count_nonzero(op.r1) == 9 and np.count_nonzero(op.r2) == 6
    assert np.count_nonzero(op.w1) > 12
    assert [note["text"][:17] for note in result.notes if note["pass"] == "sparsify"] == ["15 of 61 weights "]


def test_models_without_float_cells_are_refused() -> None:
    model = pooling_model()
    del model.graph.initializer[1]
    with pytest.raises(CompileError, match="'R1' cannot be made sparse"):
        sparsify(model, {"R": 0.5})
    del model.graph.node[:]
    with pytest.raises(CompileError, match="no RNNPool layer"):
        sparsify(model, {"R": 0.5})


@pytest.mark.parametrize("text", ["", "W", "W=", "Q=0.5", "W=0", "W=1.5", "R=nan", "W=0.5,W=0.5"])
def test_bad_fractions_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_sparsity(text)


def test_the_command_line_refuses_them_too() -> None:
    result = CliRunner().invoke(cli, ["compile", "x.onnx", "-o", "x", "--sparsity", "W=2"])
    assert result.exit_code == 2
    assert "at most 1" in result.output


def test_fractions_are_read() -> None:
    assert parse_sparsity("W=0.5, R=0.3") == {"W": 0.5, "R": 0.3}
