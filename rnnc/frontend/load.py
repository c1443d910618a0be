"""Reading an ONNX file that may be anything: size, form, external data, versions, weights and shapes are checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import (
    GraphProto,
    ModelProto,
    TensorProto,
    ValueInfoProto,
    checker,
    external_data_helper,
    inliner,
    numpy_helper,
    shape_inference,
)

from rnnc.diagnostics import CompileError
from rnnc.frontend.rnnpool_function import DOMAIN, OP_TYPE, attach_rnnpool
from rnnc.ir.graph import PortDType

MAX_BYTES = 512 << 20
"""Size limit of a model file and of its external data; far above what a microcontroller's flash holds."""
OPSETS = range(11, 26)
"""Versions of the default operator set whose operators are known to mean what the import takes them to mean."""
INPUT_TYPES: dict[int, PortDType] = {
    TensorProto.FLOAT: "float32",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "uint8",
}

_Owner = tuple[str, TensorProto]


def load_model(path: Path) -> ModelProto:
    """The checked model of an ONNX file, with shapes inferred and the RNNPool function attached.

    Raises CompileError, naming the file, for anything that is not a model that the import can go on with.
    """
    model = parse_model(_read(path), str(path))
    _load_external_data(model, path)
    return prepare_model(model, str(path))


def parse_model(data: bytes, where: str) -> ModelProto:
    """The model in ``data``; raises CompileError if it is something else or cut off."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise CompileError(
            "this is not an ONNX model, or it is cut off",
            where=where,
            why=str(error),
            remedy="check that the file was copied in full and that it was exported as ONNX",
        ) from error
    if not model.HasField("graph") or not model.graph.output:
        raise CompileError(
            "this is not an ONNX model, or it is cut off", where=where, why="it holds no graph with outputs"
        )
    return model


def prepare_model(model: ModelProto, where: str) -> ModelProto:
    """Check a model in memory, inline its functions (RNNPool's stays), infer its shapes.

    ``where`` names the model in errors. Raises CompileError as `load_model` does.
    """
    _check_opset(model, where)
    model = _inlined(attach_rnnpool(model), where)
    try:
        checker.check_model(model)
        model = shape_inference.infer_shapes(model, strict_mode=False, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError, ValueError) as error:
        raise CompileError(
            "the file is not valid ONNX", where=where, why=_first_line(error), remedy="export the model again"
        ) from error
    _check_weights(model)
    for entry in graph_inputs(model.graph):
        _check_input(entry)
    return model


def graph_inputs(graph: GraphProto) -> list[ValueInfoProto]:
    """The inputs that a caller gives; older files list the initialisers as inputs too."""
    constants = {tensor.name for tensor in graph.initializer}
    return [entry for entry in graph.input if entry.name not in constants]


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise CompileError("this is a folder, not an ONNX file", where=str(path))
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CompileError(f"the file has {size} bytes", where=str(path), why=f"the limit is {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise CompileError("the file cannot be read", where=str(path), why=error.strerror) from error


def _load_external_data(model: ModelProto, path: Path) -> None:
    """Read tensors that the file keeps beside itself; nothing outside the model's folder is ever opened."""
    folder = path.resolve().parent
    total = 0
    for name, tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        target = (folder / location).resolve()
        if not target.is_relative_to(folder) or target == folder:
            raise CompileError(
                f"its data lie in '{location}'",
                where=f"tensor '{name}'",
                why="external data must lie in the model's own folder",
                remedy="save the model as one file",
            )
        if not target.is_file():
            raise CompileError(
                f"its data are missing: there is no file '{location}' beside the model",
                where=f"tensor '{name}'",
                remedy="copy the data file too, or save the model as one file",
            )
        total += target.stat().st_size
        if total > MAX_BYTES:
            raise CompileError(
                f"its external data have {total} bytes", where=str(path), why=f"the limit is {MAX_BYTES} bytes"
            )
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except (checker.ValidationError, ValueError, OSError) as error:
            raise CompileError(
                "its external data cannot be read", where=f"tensor '{name}'", why=_first_line(error)
            ) from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_opset(model: ModelProto, where: str) -> None:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if version is None:
        raise CompileError("the model names no version of the ONNX operators", where=where, remedy="export it again")
    if version not in OPSETS:
        raise CompileError(
            f"the model uses opset {version}",
            where=where,
            why=f"opsets {OPSETS[0]} to {OPSETS[-1]} are supported",
            remedy=f"convert it: onnx.version_converter.convert_version(model, {min(max(version, 17), OPSETS[-1])})",
        )


def _inlined(model: ModelProto, where: str) -> ModelProto:
    if all((function.domain, function.name) == (DOMAIN, OP_TYPE) for function in model.functions):
        return model
    try:
        return inliner.inline_selected_functions(model, [(DOMAIN, OP_TYPE)], exclude=True)
    except Exception as error:
        raise CompileError(
            "the functions of the model cannot be inlined", where=where, why=_first_line(error)
        ) from error


def _check_weights(model: ModelProto) -> None:
    """Refuse NaN and infinity in constants; the bounds of Clip may be infinite."""
    bounds = {name for node in model.graph.node if node.op_type == "Clip" for name in node.input[1:]}
    for name, tensor in _tensors(model.graph):
        try:
            values = numpy_helper.to_array(tensor)
        except ValueError as error:
            raise CompileError(
                "its data do not fit its shape", where=f"tensor '{name}'", why=_first_line(error)
            ) from error
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16):
            continue
        bad = np.isnan(values) if name in bounds else ~np.isfinite(values)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise CompileError(
                f"{int(bad.sum())} of its {values.size} values are NaN or infinite, the first at {list(index)}",
                where=f"tensor '{name}'",
                why="such weights cannot be quantised, and the model's outputs would be NaN too",
                remedy="check the training run or the export that made this tensor",
            )


def _tensors(graph: GraphProto) -> Iterator[_Owner]:
    """Initialisers and the tensors of Constant nodes, by the name of their value."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0] if node.output else node.name, attribute.t


def _check_input(entry: ValueInfoProto) -> None:
    where = f"input '{entry.name}'"
    if not entry.type.HasField("tensor_type"):
        raise CompileError("it is not a tensor", where=where, remedy="make it a tensor of float32, int8 or uint8")
    tensor = entry.type.tensor_type
    if tensor.elem_type not in INPUT_TYPES:
        raise CompileError(
            f"its type is {TensorProto.DataType.Name(tensor.elem_type)}",
            where=where,
            why="inputs are float32, int8 or uint8",
            remedy="export the model in float32",
        )
    if not tensor.HasField("shape") or not tensor.shape.dim:
        raise CompileError("it has no shape", where=where, remedy="export the model with a fixed input shape")
    batch, *rest = tensor.shape.dim
    if batch.HasField("dim_value") and batch.dim_value != 1:
        raise CompileError(
            f"its batch size is fixed at {batch.dim_value}",
            where=where,
            why="rnnc compiles for one sample at a time, with the batch as first axis",
            remedy="export the model with batch size 1 or a symbolic batch size",
        )
    for axis, dim in enumerate(rest, 1):
        if not dim.HasField("dim_value") or dim.dim_value < 1:
            raise CompileError(
                f"axis {axis} has no fixed extent ('{dim.dim_param or '?'}')",
                where=where,
                why="memory is planned ahead, so all extents but the batch must be known",
                remedy="export with a fixed size, or fix it with onnx.tools.update_model_dims",
            )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
