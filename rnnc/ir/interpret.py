"""Running a graph in numpy: on real numbers before quantisation, on integers after it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Port
from rnnc.ir.op import FloatOp, IntOp, evaluate
from rnnc.ir.types import INTEGER_RANGE, Array, FloatArray


def run_float(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, FloatArray]:
    """Every value of a graph of FloatOps, by name.

    ``inputs`` are single samples by port name, in the model's own layout and type, with or without a batch axis
    of 1. Quantisation that values are annotated with does not act, except that integer inputs are dequantised
    by it. Raises CompileError if an input is missing or an operator is an integer one.
    """
    arrays: dict[str, FloatArray] = {}
    for port in graph.inputs:
        array = _given(port, inputs).astype(np.float32)
        quant = port.value.type.quant
        if port.dtype != "float32" and quant is not None:
            zero_point = quant.zero_point + (128 if port.dtype == "uint8" else 0)
            array = (array - np.float32(zero_point)) * np.float32(quant.scale)
        arrays[port.value.name] = port.to_value(array).astype(np.float32)
    for node in graph.nodes:
        if not isinstance(node.op, FloatOp):
            raise CompileError(f"{node.op.name} works on integers", where=f"node '{node.name}'")
        arrays[node.output.name] = node.op.evaluate([arrays[value.name] for value in node.inputs])
    return arrays


def run_integer(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of a graph of IntOps, by name; ``inputs`` as for `run_float`, real ones are quantised first.

    Raises CompileError if an input is missing or an operator is a float one.
    """
    arrays = {port.value.name: stored_input(port, _given(port, inputs)) for port in graph.inputs}
    for node in graph.nodes:
        if not isinstance(node.op, IntOp):
            raise CompileError(f"{node.op.name} works on real numbers", where=f"node '{node.name}'")
        operands = [arrays[value.name] for value in node.inputs]
        arrays[node.output.name] = evaluate(node.op, operands, node.input_types, node.output.type)
    return arrays


def stored_input(port: Port, array: Array) -> Array:
    """A sample as the device takes it: (height, width, channels) of the value's integer type.

    uint8 is shifted by 128; real numbers are quantised, halves to even as onnxruntime does.
    """
    type_ = port.value.type
    if port.dtype == "uint8":
        return port.to_value(array.astype(np.int16) - 128).astype(type_.dtype)
    if port.dtype == "int8":
        return port.to_value(array).astype(type_.dtype)
    quant = type_.required_quant
    low, high = INTEGER_RANGE[type_.dtype]
    stored = np.clip(np.rint(array.astype(np.float32) / np.float32(quant.scale)) + quant.zero_point, low, high)
    return port.to_value(stored).astype(type_.dtype)


def model_output(port: Port, array: Array) -> Array:
    """An output value (real, or as stored on the device) in the model's own layout and, if stored, type."""
    own = port.from_value(array)
    if array.dtype.kind == "f":
        return own
    if port.dtype == "float32":
        quant = port.value.type.required_quant
        return (own.astype(np.float32) - np.float32(quant.zero_point)) * np.float32(quant.scale)
    return (own.astype(np.int16) + 128).astype(np.uint8) if port.dtype == "uint8" else own


def _given(port: Port, inputs: Mapping[str, Array]) -> Array:
    if port.name not in inputs:
        raise CompileError("there is no such array", where=f"input '{port.name}'")
    array = inputs[port.name]
    if array.size != int(np.prod(port.shape)):
        raise CompileError(
            f"the array has shape {list(array.shape)}",
            where=f"input '{port.name}'",
            why=f"the model takes {list(port.shape)}",
        )
    return array
