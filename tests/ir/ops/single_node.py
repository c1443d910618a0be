"""Models of one ONNX node: what onnxruntime says, what the imported operator says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from rnnc.frontend.importer import import_model
from rnnc.frontend.load import prepare_model
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import model_output, run_float
from rnnc.ir.op import FloatOp, IntOp, evaluate
from rnnc.ir.ops import FLOAT_OPS
from rnnc.ir.types import Array, Quant, TensorType

OPSET = 18


def model_of(
    op_type: str,
    shapes: Sequence[tuple[int, ...]],
    constants: Mapping[int, Array] | None = None,
    opset: int = OPSET,
    **attributes: Any,
) -> ModelProto:
    """Inputs of ``shapes`` named a, b, ...; ``constants`` are initialisers by input index."""
    stored = constants or {}
    places = iter(f"{chr(ord('a') + i)}" for i in range(len(shapes)))
    names = [f"const{i}" if i in stored else next(places) for i in range(len(shapes) + len(stored))]
    live = [name for name in names if not name.startswith("const")]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], name="the_node", **attributes)],
        "single",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(live, shapes, strict=True)],
        [],
        [numpy_helper.from_array(array, f"const{i}") for i, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model.graph.output.extend(shape_inference.infer_shapes(model, data_prop=True).graph.value_info)
    return model


def imported(model: ModelProto) -> Graph:
    return import_model(prepare_model(model, "the model"), FLOAT_OPS)


def only_op(model: ModelProto, kind: type[FloatOp]) -> FloatOp:
    """The one operator of that kind in the imported model."""
    found = [node.op for node in imported(model).nodes if isinstance(node.op, kind)]
    assert len(found) == 1
    return found[0]


def assert_as_onnxruntime(model: ModelProto, seed: int = 0) -> None:
    """The imported graph computes what onnxruntime does, on random inputs."""
    graph, rng = imported(model), np.random.default_rng(seed)
    inputs = {
        port.name: rng.normal(0, 2, port.shape if not port.batched else (1, *port.shape)).astype(np.float32)
        for port in graph.inputs
    }
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, inputs)
    values = run_float(graph, inputs)
    port = graph.outputs[0]
    result = model_output(port, values[port.value.name])
    assert np.squeeze(expected).shape == np.squeeze(result).shape
    np.testing.assert_allclose(result.ravel(), expected.ravel(), rtol=1e-5, atol=1e-6)


def stored(real: Array, quant: Quant) -> Array:
    """Real numbers as int8."""
    codes = np.floor(real.astype(np.float64) / quant.scale + 0.5) + quant.zero_point
    return np.clip(codes, -128, 127).astype(np.int8)


def real(codes: Array, quant: Quant) -> np.ndarray[Any, np.dtype[np.float64]]:
    return (codes.astype(np.float64) - quant.zero_point) * quant.scale


def quantised_error(
    op: FloatOp, inputs: Sequence[tuple[Array, Quant]], output: Quant, arithmetic: Any
) -> tuple[float, IntOp]:
    """The largest distance, in output steps, of the integer operator from the real one on given int8 inputs."""
    types = [TensorType(codes.shape, "int8", quant) for codes, quant in inputs]
    shape = op.infer([TensorType(t.shape) for t in types]).shape
    y = TensorType(shape, "int8", output)
    int_op = op.quantise(types, y, arithmetic)
    codes = evaluate(int_op, [codes for codes, _ in inputs], types, y)
    exact = op.evaluate([real(c, q).astype(np.float32) for c, q in inputs]).astype(np.float64)
    wanted = np.clip(exact / output.scale + output.zero_point, -128, 127)
    return float(np.abs(codes - wanted).max()), int_op
