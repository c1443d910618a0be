"""The text form of a graph: prints and parses, so that a test or a dump is something to read.

    graph "net" arithmetic=fast macs=1234 {
      input "x" %x: int8[4,4,3] q(0.5, -128) as float32(4, 4, 3) axes=() batched
      %y: int8[4,4,8] q(0.1, 3) = conv2d(%x) "conv_1" {weight=i1[8,1,1,3]@1f2e3d4c, strides=(1, 1)}
      output "y" %y as float32(4, 4, 8) axes=() batched
    }

Fields of an operator that have their default value are left out. Arrays print as dtype[shape]{values}, or, above
``inline`` elements, as dtype[shape]@digest with the array itself in a dictionary of constants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, cast, get_args

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic, Requant
from rnnc.ir.graph import Graph, Node, Port, PortDType, Value
from rnnc.ir.op import Const, Op
from rnnc.ir.types import Array, DType, Quant, TensorType

PLAIN_NAME = re.compile(r"[A-Za-z0-9_.]+")
TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<value>%(?:"(?:[^"\\]|\\.)*"|[A-Za-z0-9_.]+))'
    r"|(?P<digest>@[0-9a-f]+)|(?P<number>-?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf|nan))|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<mark>[(){}\[\],:=]))"
)


def print_graph(graph: Graph, constants: dict[str, Array] | None = None, inline: int | None = None) -> str:
    """The graph as text. Arrays above ``inline`` elements (None: never) go to ``constants`` under their digest."""
    printer = _Printer(constants if constants is not None else {}, inline)
    lines = [f"graph {json.dumps(graph.name)} arithmetic={graph.arithmetic} macs={graph.nominal_macs} {{"]
    for port in graph.inputs:
        lines.append(f"  input {json.dumps(port.name)} {_typed(port.value)} {_port(port)}")
    for node in graph.nodes:
        operands = ", ".join(_value(value) for value in node.inputs)
        lines.append(
            f"  {_typed(node.output)} = {node.op.name}({operands}) {json.dumps(node.name)} "
            f"{{{printer.members(node.op)}}}"
        )
    for port in graph.outputs:
        lines.append(f"  output {json.dumps(port.name)} {_value(port.value)} {_port(port)}")
    return "\n".join([*lines, "}"]) + "\n"


def parse_graph(text: str, ops: Sequence[type[Op]], constants: Mapping[str, Array] | None = None) -> Graph:
    """The inverse of `print_graph`. Raises CompileError with the line of the fault."""
    return _Parser(text, ops, constants or {}).graph()


def _value(value: Value) -> str:
    return f"%{value.name}" if PLAIN_NAME.fullmatch(value.name) else f"%{json.dumps(value.name)}"


def _typed(value: Value) -> str:
    shape = ",".join(str(extent) for extent in value.type.shape)
    quant = value.type.quant
    suffix = f" q({quant.scale!r}, {quant.zero_point})" if quant else ""
    return f"{_value(value)}: {value.type.dtype}[{shape}]{suffix}"


def _port(port: Port) -> str:
    batched = " batched" if port.batched else ""
    unmerged = f" of {_tuple(port.unmerged)}" if port.unmerged else ""
    return f"as {port.dtype}{_tuple(port.shape)}{unmerged} axes={_tuple(port.axes)}{batched}"


def _tuple(items: Sequence[int]) -> str:
    return f"({', '.join(str(item) for item in items)})"


class _Printer:
    def __init__(self, constants: dict[str, Array], inline: int | None) -> None:
        self.constants, self.inline = constants, inline

    def members(self, item: object) -> str:
        parts = []
        for field in fields(cast(Any, item)):
            value = getattr(item, field.name)
            if field.default is not MISSING and not isinstance(value, np.ndarray) and value == field.default:
                continue
            parts.append(f"{field.name}={self.literal(value)}")
        return ", ".join(parts)

    def literal(self, value: object) -> str:
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, tuple):
            return f"({', '.join(self.literal(item) for item in value)})"
        if isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, np.generic):
            return repr(value.item())
        if value is None or isinstance(value, bool | int | float):
            return repr(value)
        if is_dataclass(value):
            return f"{type(value).__name__}({self.members(value)})"
        raise TypeError(f"an operator's field holds a {type(value).__name__}, which has no text form")

    def array(self, array: Array) -> str:
        shape = ",".join(str(extent) for extent in array.shape)
        kind = array.dtype.str[1:]
        if self.inline is not None and array.size > self.inline:
            digest = hashlib.sha256(kind.encode() + str(array.shape).encode() + array.tobytes()).hexdigest()[:16]
            self.constants[digest] = array
            return f"{kind}[{shape}]@{digest}"
        values = " ".join(repr(item) for item in array.ravel().tolist())
        return f"{kind}[{shape}]{{{values}}}"


class _Parser:
    def __init__(self, text: str, ops: Sequence[type[Op]], constants: Mapping[str, Array]) -> None:
        self.text, self.position, self.constants = text, 0, constants
        self.ops = {op.name: op for op in ops}
        parts = [part for op in ops for part in cast(tuple[type, ...], getattr(op, "parts", ()))]
        self.parts: dict[str, type] = {part.__name__: part for part in (Const, Requant, *parts)}
        self.values: dict[str, Value] = {}

    def fail(self, what: str) -> CompileError:
        blank = len(self.text[self.position :]) - len(self.text[self.position :].lstrip())
        line = self.text.count("\n", 0, self.position + blank) + 1
        return CompileError(what, where=f"line {line} of the graph text")

    def peek(self) -> tuple[str, str]:
        match = TOKEN.match(self.text, self.position)
        if match is None or match.lastgroup is None:
            if not self.text[self.position :].strip():
                raise self.fail("the text ends too early")
            raise self.fail(f"unexpected text {self.text[self.position : self.position + 20].strip()!r}")
        return match.lastgroup, match.group(match.lastgroup)

    def take(self, kind: str, text: str | None = None) -> str:
        found, token = self.peek()
        if found != kind or (text is not None and token != text):
            raise self.fail(f"expected {text or kind}, found {token!r}")
        match = TOKEN.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return token

    def accept(self, text: str) -> bool:
        kind, token = self.peek()
        if token != text or kind not in ("mark", "name"):
            return False
        self.take(kind)
        return True

    def graph(self) -> Graph:
        self.take("name", "graph")
        graph = Graph(self.string())
        self.take("name", "arithmetic")
        self.take("mark", "=")
        graph.arithmetic = cast(Arithmetic, self.choice("arithmetic", get_args(Arithmetic)))
        self.take("name", "macs")
        self.take("mark", "=")
        graph.nominal_macs = self.integer()
        self.take("mark", "{")
        while not self.accept("}"):
            if self.accept("input"):
                name = self.string()
                graph.inputs.append(self.port(name, self.typed()))
            elif self.accept("output"):
                name = self.string()
                graph.outputs.append(self.port(name, self.value()))
            else:
                graph.nodes.append(self.node())
        if self.text[self.position :].strip():
            raise self.fail("there is text behind the graph")
        return graph

    def node(self) -> Node:
        output = self.typed()
        self.take("mark", "=")
        kind = self.take("name")
        if kind not in self.ops:
            raise self.fail(f"there is no operator {kind!r}")
        self.take("mark", "(")
        inputs = []
        while not self.accept(")"):
            inputs.append(self.value())
            self.accept(",")
        name = self.string()
        self.take("mark", "{")
        return Node(name, cast(Op, self.construct(self.ops[kind], "}")), inputs, output)

    def construct(self, kind: type, closing: str) -> object:
        start, members = self.position, dict[str, object]()
        known = {field.name for field in fields(cast(Any, kind))}
        while not self.accept(closing):
            name = self.peek()[1]
            if name not in known or name in members:
                raise self.fail(f"{kind.__name__} has no field {name!r}, or has it twice")
            self.take("name")
            self.take("mark", "=")
            members[name] = self.literal()
            self.accept(",")
        try:
            return kind(**members)
        except TypeError as error:
            self.position = start
            raise self.fail(f"{kind.__name__} is incomplete: {error}") from error

    def literal(self) -> object:
        kind, token = self.peek()
        if kind == "string":
            return self.string()
        if kind == "number":
            self.take("number")
            return int(token) if re.fullmatch(r"-?\d+", token) else float(token)
        if token == "(":
            return self.tuple_literal()
        name = self.take("name")
        if name in ("None", "True", "False"):
            return {"None": None, "True": True, "False": False}[name]
        if name in ("inf", "nan"):
            return float(name)
        if name in self.parts:
            self.take("mark", "(")
            return self.construct(self.parts[name], ")")
        return self.array(name)

    def tuple_literal(self) -> tuple[object, ...]:
        self.take("mark", "(")
        items = []
        while not self.accept(")"):
            items.append(self.literal())
            self.accept(",")
        return tuple(items)

    def array(self, kind: str) -> Array:
        shape = self.shape()
        if self.peek()[0] == "digest":
            digest = self.take("digest")[1:]
            if digest not in self.constants:
                raise self.fail(f"the constant @{digest} is missing")
            return self.constants[digest]
        self.take("mark", "{")
        words = self.text[self.position :].partition("}")[0].split()
        convert: dict[str, Callable[[str], object]] = {"b": "True".__eq__, "f": float}
        try:
            result = np.array([convert.get(kind[0], int)(word) for word in words], dtype=kind).reshape(shape)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.fail(f"not an array of {kind}{list(shape)}: {error}") from error
        self.position = self.text.find("}", self.position) + 1 or len(self.text)
        return result

    def shape(self) -> tuple[int, ...]:
        self.take("mark", "[")
        extents = []
        while not self.accept("]"):
            extents.append(self.integer())
            self.accept(",")
        return tuple(extents)

    def choice(self, what: str, allowed: Sequence[str]) -> str:
        kind, token = self.peek()
        if token not in allowed:
            raise self.fail(f"{what} {token}: expected one of {', '.join(allowed)}")
        return self.take(kind)

    def integer(self) -> int:
        kind, token = self.peek()
        if not re.fullmatch(r"-?\d+", token):
            raise self.fail(f"expected an integer, found {token!r}")
        return int(self.take(kind))

    def integers(self) -> tuple[int, ...]:
        self.take("mark", "(")
        items = []
        while not self.accept(")"):
            items.append(self.integer())
            self.accept(",")
        return tuple(items)

    def string(self) -> str:
        kind, token = self.peek()
        try:
            text = str(json.loads(token)) if kind == "string" else ""
        except json.JSONDecodeError as error:
            raise self.fail(f"not a string: {token}") from error
        self.take("string")
        return text

    def value_name(self) -> str:
        token = self.take("value")[1:]
        return str(json.loads(token)) if token.startswith('"') else token

    def value(self) -> Value:
        name = self.value_name()
        if name not in self.values:
            raise self.fail(f"the value %{name} is used before it is defined")
        return self.values[name]

    def typed(self) -> Value:
        name = self.value_name()
        self.take("mark", ":")
        dtype = cast(DType, self.choice("element type", get_args(DType)))
        shape = self.shape()
        quant = None
        if self.accept("q"):
            self.take("mark", "(")
            scale = float(self.take("number"))
            self.take("mark", ",")
            quant = Quant(scale, self.integer())
            self.take("mark", ")")
        if name in self.values:
            raise self.fail(f"the value %{name} is defined twice")
        self.values[name] = Value(name, TensorType(shape, dtype, quant))
        return self.values[name]

    def port(self, name: str, value: Value) -> Port:
        self.take("name", "as")
        dtype = cast(PortDType, self.choice("element type", get_args(PortDType)))
        shape = self.integers()
        unmerged = self.integers() if self.accept("of") else ()
        self.take("name", "axes")
        self.take("mark", "=")
        axes = self.integers()
        return Port(name, value, shape, dtype, axes, self.accept("batched"), unmerged)
