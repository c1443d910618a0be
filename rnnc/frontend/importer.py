"""From ONNX to the graph: constants are folded, everything else becomes the operator that names its ONNX type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NoReturn, Protocol, cast

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from rnnc.diagnostics import CompileError
from rnnc.frontend.constants import Constants, known_shape
from rnnc.frontend.load import INPUT_TYPES, graph_inputs
from rnnc.ir.graph import Graph, Node, Port, PortDType, Value
from rnnc.ir.importing import Attribute, SourceNode
from rnnc.ir.op import Const, FloatOp
from rnnc.ir.ops.quantize import Dequantize
from rnnc.ir.ops.shape import Rearrange
from rnnc.ir.types import TensorType

DOMAINS = ("", "ai.onnx", "rnnc")
NO_OPS = ("Identity", "Dropout", "Cast")
SHAPE_OPS = ("Shape", "Size")
MALFORMED = (ValueError, IndexError, KeyError, TypeError, ZeroDivisionError, OverflowError)
"""What numpy and Python raise for attributes of the wrong length, strides of 0, weights of the wrong rank, ..."""


class Importable(Protocol):
    """An operator class that imports ONNX nodes."""

    onnx: tuple[str, ...]

    def from_onnx(self, node: SourceNode, b: GraphBuilder) -> Value | tuple[Value, ...]:
        """Emit the node; a node with several outputs returns them in order."""


def import_model(model: ModelProto, ops: Sequence[type[FloatOp]]) -> Graph:
    """The graph of a prepared model (see `rnnc.frontend.load`), in ONNX's own layout, batch axis left out.

    Values bear their ONNX names. Raises CompileError naming the node for whatever ``ops`` cannot express.
    """
    table = {name: cast(Importable, op) for op in ops for name in getattr(op, "onnx", ())}
    nodes = _live_nodes(model)
    check_operators(model, nodes, table)
    builder = GraphBuilder(model)
    for entry in graph_inputs(model.graph):
        builder.add_input(entry)
    for node in nodes:
        builder.add_node(node, table)
    for output in model.graph.output:
        builder.add_output(output)
    graph = builder.graph
    for emitted in graph.nodes:
        if isinstance(emitted.op, FloatOp):
            graph.nominal_macs += emitted.op.macs(emitted.input_types, emitted.output.type)
    return graph


def supported_operators(ops: Sequence[type[FloatOp]]) -> list[str]:
    """Names of the ONNX operators that a model may compute with."""
    return sorted({name for op in ops for name in getattr(op, "onnx", ())} | {*NO_OPS, "Constant"})


def check_operators(model: ModelProto, nodes: Sequence[NodeProto], table: dict[str, Importable]) -> None:
    """Refuse a model with nodes that cannot be imported, listing all of them."""
    known = {tensor.name for tensor in model.graph.initializer}
    missing: list[str] = []
    for node in nodes:
        if _is_constant(node, known):
            known.update(node.output)
        elif node.domain not in DOMAINS or (node.op_type not in table and node.op_type not in NO_OPS):
            domain = f"{node.domain}::" if node.domain not in ("", "ai.onnx") else ""
            missing.append(f"{domain}{node.op_type} (node '{node.name or node.output[0]}')")
    if missing:
        raise CompileError(
            f"operators that are not supported: {', '.join(missing)}",
            where=f"model '{model.graph.name}'",
            why=f"supported: {', '.join(sorted({*table, *NO_OPS}))}",
            remedy="leave these operators out of the exported model, or express them by supported ones",
        )


def _is_constant(node: NodeProto, known: set[str]) -> bool:
    if node.op_type in SHAPE_OPS or node.op_type == "Constant":
        return True
    inputs = [name for name in node.input if name]
    return bool(inputs) and all(name in known for name in inputs)


def _live_nodes(model: ModelProto) -> list[NodeProto]:
    """The nodes that the outputs depend on, in the file's (topological) order."""
    needed = {output.name for output in model.graph.output}
    live: list[NodeProto] = []
    for node in reversed(model.graph.node):
        if any(name in needed for name in node.output):
            needed.update(node.input)
            live.append(node)
    return live[::-1]


class GraphBuilder:
    """The graph under construction; what an operator's from_onnx is given (see rnnc.ir.importing.Builder)."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = Graph(model.graph.name or "model")
        self._constants = Constants(model)
        self._values: dict[str, Value] = {}
        self._types: dict[str, str] = {}
        self._names: set[str] = set()
        self._node_names: set[str] = set()
        self._source = ""
        self._opset = next(e.version for e in model.opset_import if e.domain in ("", "ai.onnx"))

    def add_input(self, entry: onnx.ValueInfoProto) -> None:
        tensor = entry.type.tensor_type
        shape = tuple(dim.dim_value for dim in tensor.shape.dim[1:])
        dtype = INPUT_TYPES[tensor.elem_type]
        value = Value(self._unique(entry.name, self._names), TensorType(shape))
        self._values[entry.name], self._types[entry.name] = value, dtype
        self.graph.inputs.append(Port(entry.name, value, shape, dtype))

    def add_output(self, entry: onnx.ValueInfoProto) -> None:
        where = f"output '{entry.name}'"
        if entry.name not in self._values:
            raise CompileError("it does not depend on any input", where=where, remedy="remove this output")
        value, dtype = self._values[entry.name], self._types.get(entry.name, "float32")
        if dtype not in INPUT_TYPES.values():
            raise CompileError(f"its type is {dtype}", where=where, why="outputs are float32, int8 or uint8")
        self.graph.outputs.append(Port(entry.name, value, value.type.shape, cast(PortDType, dtype)))

    def add_node(self, node: NodeProto, table: dict[str, Importable]) -> None:
        computed = [name for name in node.input if name in self._values]
        if node.op_type in SHAPE_OPS and computed:
            for name, array in known_shape(node, self.onnx_shape(self._values[computed[0]])).items():
                self._constants.add(name, array)
        elif not computed:
            self._constants.fold(node)
        elif node.op_type in NO_OPS:
            self._pass_through(node)
        else:
            self._import(node, table[node.op_type])

    def _import(self, node: NodeProto, op: Importable) -> None:
        source = self._source_node(node)
        self._source = source.name
        try:
            result = op.from_onnx(source, self)
        except MALFORMED as error:
            raise CompileError(
                f"the attributes or constants of this {node.op_type} do not fit together",
                where=f"node '{source.name}'",
                why=f"{type(error).__name__}: {error}",
                remedy="check the export of this node",
            ) from error
        results = result if isinstance(result, tuple) else (result,)
        names = [name for name in node.output if name]
        if len(names) > len(results):
            self.refuse(source, f"{node.op_type} with {len(names)} outputs", why="only the first one is supported")
        for name, value in zip(names, results, strict=False):
            self._values[name] = value
            if node.op_type == "QuantizeLinear":
                self._types[name] = str(source.attributes["element_type"])
            elif node.op_type != "DequantizeLinear":
                self._types[name] = self._types.get(node.input[0], "float32")

    def _pass_through(self, node: NodeProto) -> None:
        x, name = self._values[node.input[0]], node.output[0]
        stored = self._types.get(node.input[0], "float32")
        source = self._source_node(node)
        self._source = source.name
        trains = node.op_type == "Dropout" and len(source.inputs) > 2 and source.inputs[2]
        if isinstance(trains, Const) and np.any(trains.values):
            self.refuse(source, "Dropout in training mode", remedy="export the model for inference")
        if node.op_type == "Cast":
            target = helper.tensor_dtype_to_np_dtype(cast(int, source.attributes["to"])).name
            if target == "float32" and stored in ("int8", "uint8"):
                x, stored = self.emit(Dequantize(1.0, 0, stored), [x], name), "float32"  # type: ignore[arg-type]
            elif target != stored:
                self.refuse(source, f"Cast from {stored} to {target}", remedy="export the model in float32")
        self._values[name], self._types[name] = x, stored

    def _source_node(self, node: NodeProto) -> SourceNode:
        inputs = tuple(self._operand(name) for name in node.input)
        for name, operand in zip(node.input, inputs, strict=True):
            if isinstance(operand, Const) and node.op_type != "Clip" and not np.all(np.isfinite(operand.values)):
                raise CompileError(
                    "it works out to NaN or infinity",
                    where=f"constant '{name}' of node '{node.name or node.output[0]}'",
                    remedy="check the export of the nodes that compute it",
                )
        attributes = dict(_attributes(node))
        name = node.name or next(output for output in node.output if output)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            attributes["element_type"] = self._stored_type(node, attributes)
        return SourceNode(node.op_type, name, inputs, tuple(node.output), attributes, self._opset)

    def _operand(self, name: str) -> Value | Const | None:
        if name in self._values:
            return self._values[name]
        return self._constants.const(name) if name else None

    def _stored_type(self, node: NodeProto, attributes: dict[str, Attribute]) -> str:
        """Element type of the integers on one side of a QuantizeLinear or DequantizeLinear."""
        if len(node.input) > 2 and node.input[2]:
            return str(self._constants.array(node.input[2]).dtype) if node.input[2] in self._constants else "computed"
        if node.op_type == "DequantizeLinear":
            return self._types.get(node.input[0], "float32")
        wanted = attributes.get("output_dtype", 0)
        return helper.tensor_dtype_to_np_dtype(cast(int, wanted)).name if wanted else "uint8"

    def _unique(self, stem: str, taken: set[str]) -> str:
        name, number = stem, 1
        while name in taken:
            name, number = f"{stem}.{number}", number + 1
        taken.add(name)
        return name

    def emit(self, op: FloatOp, inputs: Sequence[Value], name: str) -> Value:
        """Append a node; its output is named ``name`` (made unique)."""
        where = f"node '{self._source}'"
        low, high = op.arity
        if not low <= len(inputs) <= high:
            raise CompileError(f"{op.name} of {len(inputs)} tensors", where=where, why=f"it takes {low} to {high}")
        try:
            type_ = op.infer([value.type for value in inputs])
        except CompileError as error:
            raise CompileError(error.what, where=where, why=error.why, remedy=error.remedy) from error
        value = Value(self._unique(name, self._names), type_)
        label = value.name if isinstance(op, Rearrange) and op.implied else self._source
        self.graph.nodes.append(Node(self._unique(label, self._node_names), op, list(inputs), value))
        return value

    def value(self, node: SourceNode, index: int) -> Value:
        """Input ``index`` as a computed value."""
        operand = node.inputs[index] if index < len(node.inputs) else None
        if isinstance(operand, Value):
            return operand
        what = "a constant" if operand is not None else "missing"
        self.refuse(
            node,
            f"input {index} of {node.op_type} is {what}",
            why="it must be computed from the model's inputs",
            remedy="fold the constant into a neighbouring layer" if operand is not None else "",
        )

    def const(self, node: SourceNode, index: int) -> Const:
        """Input ``index`` as a constant."""
        operand = node.inputs[index] if index < len(node.inputs) else None
        if isinstance(operand, Const):
            return operand
        what = "is computed while the model runs" if operand is not None else "is missing"
        self.refuse(
            node,
            f"input {index} of {node.op_type} {what}",
            why="it must be a constant of the model, because kernels and memory are planned ahead",
            remedy="export the model with constant weights and shapes",
        )

    def onnx_shape(self, value: Value) -> tuple[int, ...]:
        """The shape as ONNX has it, leading batch axis of 1 included."""
        return (1, *value.type.shape)

    def to_hwc(self, value: Value) -> Value:
        """The value as (height, width, channels)."""
        shape, name = value.type.shape, f"{value.name}:hwc"
        if len(shape) > 3:
            raise CompileError(
                f"a tensor of shape {list(shape)} (batch left out)",
                where=f"node '{self._source}'",
                why="images (N, C, H, W), sequences (N, C, L) and vectors (N, C) are supported",
            )
        extents = (*shape, *(1,) * (3 - len(shape)))
        axes = (*range(1, len(shape)), 0) if shape else ()
        return self.emit(Rearrange(axes, (extents[1], extents[2], extents[0]), implied=True), [value], name)

    def from_hwc(self, value: Value, shape: tuple[int, ...]) -> Value:
        """The inverse: a channels-last value as the ONNX tensor of ``shape`` (batch axis included)."""
        return self.emit(Rearrange((2, 0, 1), shape[1:], implied=True), [value], f"{value.name}:onnx")

    def refuse(self, node: SourceNode, what: str, *, why: str = "", remedy: str = "") -> NoReturn:
        """Raise CompileError naming the node."""
        raise CompileError(what, where=f"node '{node.name}'", why=why or None, remedy=remedy or None)


def _attributes(node: NodeProto) -> Iterator[tuple[str, Attribute]]:
    for attribute in node.attribute:
        value: object = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            yield attribute.name, value.decode(errors="replace")
        elif isinstance(value, TensorProto):
            yield attribute.name, numpy_helper.to_array(value)
        elif isinstance(value, int | float):
            yield attribute.name, value
        elif attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS, AttributeProto.STRINGS):
            items = cast(Sequence[object], value)
            yield attribute.name, tuple(i.decode(errors="replace") if isinstance(i, bytes) else i for i in items)  # type: ignore[misc]
