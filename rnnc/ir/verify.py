"""The rules that every graph keeps between passes."""

from __future__ import annotations

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import FloatOp, IntOp
from rnnc.ir.types import INTEGER_RANGE, TensorType


def verify(graph: Graph) -> None:
    """Check order, names, shapes and types; raises CompileError naming the node that breaks a rule."""
    seen: set[Value] = set()
    names: set[str] = set()
    for port in graph.inputs:
        _define(port.value, seen, names, f"input '{port.name}'")
    node_names: set[str] = set()
    for node in graph.nodes:
        where = _where(node)
        if node.name in node_names:
            raise CompileError("two nodes have this name", where=where)
        node_names.add(node.name)
        for value in node.inputs:
            if value not in seen:
                raise CompileError(f"reads '{value.name}' before it is computed", where=where)
        _check_types(node, where)
        _define(node.output, seen, names, where)
    for port in graph.outputs:
        if port.value not in seen:
            raise CompileError(f"the output '{port.name}' is never computed", where=f"graph '{graph.name}'")


def _where(node: Node) -> str:
    return f"node '{node.name}' ({node.op.name})"


def _define(value: Value, seen: set[Value], names: set[str], where: str) -> None:
    if value.name in names:
        raise CompileError(f"the value name '{value.name}' is taken", where=where)
    names.add(value.name)
    seen.add(value)
    _check_quant(value.type, where)


def _check_quant(type_: TensorType, where: str) -> None:
    if any(extent < 1 for extent in type_.shape):
        raise CompileError(f"empty shape {type_.shape}", where=where)
    if type_.quant is not None:
        low, high = INTEGER_RANGE["int8" if type_.dtype == "float32" else type_.dtype]
        if not type_.quant.scale > 0:
            raise CompileError(f"the scale {type_.quant.scale} is not positive", where=where)
        if not low <= type_.quant.zero_point <= high:
            raise CompileError(f"the zero point {type_.quant.zero_point} is out of range", where=where)


def _check_types(node: Node, where: str) -> None:
    least, most = node.op.arity
    if not least <= len(node.inputs) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise CompileError(f"reads {len(node.inputs)} values where the operator takes {wanted}", where=where)
    try:
        expected = node.op.infer(node.input_types)
    except CompileError as error:
        raise CompileError(error.what, where=where, why=error.why, remedy=error.remedy) from error
    actual = node.output.type
    if (expected.shape, expected.dtype) != (actual.shape, actual.dtype):
        raise CompileError(
            f"computes {expected.dtype}{list(expected.shape)} but its output says {actual.dtype}{list(actual.shape)}",
            where=where,
        )
    if isinstance(node.op, FloatOp) and any(t.dtype != "float32" for t in node.input_types):
        raise CompileError("a float operator reads integers", where=where)
    if isinstance(node.op, IntOp) and any(t.dtype == "float32" for t in node.input_types):
        raise CompileError("an integer operator reads floats", where=where)
