"""Small ONNX models from text, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import ModelProto, helper, numpy_helper, parser

Arrays = Mapping[str, npt.NDArray[np.generic]]


def onnx_model(graph: str, weights: Arrays | None = None, opset: int = 17) -> ModelProto:
    """The model of ``graph``, in ONNX's text form, with initialisers ``weights``."""
    parsed = parser.parse_graph(graph)
    for name, array in (weights or {}).items():
        parsed.initializer.append(numpy_helper.from_array(array, name))
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(parsed, opset_imports=imports, ir_version=8)


def onnxruntime_outputs(model: ModelProto, inputs: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Outputs by name; ``inputs`` without the batch axis, outputs too."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    results = session.run(names, {name: array[None] for name, array in inputs.items()})
    return {name: result[0] for name, result in zip(names, results, strict=True)}


def random_inputs(model: ModelProto, rng: np.random.Generator) -> dict[str, npt.NDArray[np.generic]]:
    """A standard normal sample for every float32 input, without the batch axis."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {}
    for entry in model.graph.input:
        if entry.name not in constants:
            shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim[1:]]
            dtype = helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type)
            sample = rng.normal(size=shape) * (1 if dtype == onnx.TensorProto.FLOAT else 40)
            inputs[entry.name] = sample.astype(dtype)
    return inputs
