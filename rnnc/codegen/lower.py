"""Plan -> CProgram: names, tables, offsets and kernels are decided here, and only here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rnnc.codegen.cprint import float_literal, int_literal
from rnnc.codegen.program import CArray, COp, CParams, CPort, CProgram, CSlide, CStage, CTensor, CWindow
from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import Field, IntOp, Kernel, Table
from rnnc.ir.types import Array
from rnnc.scheduler.plan import Buffer, Plan

MAX_ROWS = 64
"""RNNC_MAX_ROWS: row pointers that one job may need."""

KEYWORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    main""".split()  # noqa: SIM905 - a list of words reads best as words
)


def lower(graph: Graph, plan: Plan, name: str) -> CProgram:
    """Decide everything about the C of a scheduled integer graph. ``name`` must be a C identifier."""
    return _Lowering(graph, plan, name).program()


def identifier(text: str) -> str:
    """A C identifier made of ``text``."""
    cleaned = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower() or "model"
    return f"m_{cleaned}" if cleaned[0].isdigit() or cleaned in KEYWORDS else cleaned


def check_name(name: str) -> str:
    """A user's --name, or CompileError saying what it must look like."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in KEYWORDS or name.startswith("rnnc"):
        raise CompileError(
            f"'{name}' cannot name the generated functions",
            why="names are lower-case C identifiers of at most 40 characters, no keywords, and rnnc is taken",
            remedy="choose a name like 'face' or 'wake_word'",
        )
    return name


@dataclass
class _Lowering:
    graph: Graph
    plan: Plan
    name: str
    arrays: list[CArray] = field(default_factory=list)
    windows: list[CWindow] = field(default_factory=list)
    array_names: dict[tuple[str, bytes, int], str] = field(default_factory=dict)
    ops: list[COp] = field(default_factory=list)
    slides: list[CSlide] = field(default_factory=list)
    slide_index: dict[str, int] = field(default_factory=dict)
    """By the name of the buffer."""

    def __post_init__(self) -> None:
        by_name = {node.name: node for node in self.graph.nodes}
        self.nodes = [by_name[node] for stage in self.plan.stages for node in stage.nodes]
        self.node_index = {node.name: index for index, node in enumerate(self.nodes)}
        values = [port.value for port in self.graph.inputs] + [node.output for node in self.nodes]
        self.values = values
        self.lent = {port.value for port in self.graph.inputs if self.plan.input_mode == "lent"}
        self.tensor_index = {value: index for index, value in enumerate(values)}

    def program(self) -> CProgram:
        kernels = [self.kernel(node) for node in self.nodes]
        params = [
            self.params(index, node, kernel)
            for index, (node, kernel) in enumerate(zip(self.nodes, kernels, strict=True))
        ]
        self.ops = [
            self.op(node, kernel, params[index].name)
            for index, (node, kernel) in enumerate(zip(self.nodes, kernels, strict=True))
        ]
        self.lay_slides()
        sources = tuple(dict.fromkeys(kernel.source for kernel in kernels))
        called = (stem for kernel in kernels for stem in kernel.uses)
        return CProgram(
            name=self.name,
            tflite=self.graph.arithmetic == "tflite",
            stream_input=self.plan.input_mode == "stream",
            lent_input=self.plan.input_mode == "lent",
            stream_output=self.plan.output_mode == "stream",
            model=comment(self.graph.name),
            headers=tuple(f"rnnc_{source}.h" for source in sources),
            arrays=tuple(self.arrays),
            params=tuple(params),
            tensors=tuple(self.tensor(value) for value in self.values),
            windows=tuple(self.windows),
            slides=tuple(self.slides),
            ops=tuple(self.ops),
            stages=self.stages(),
            sinks=self.sinks(),
            inputs=self.ports(self.graph.inputs, "input"),
            outputs=self.ports(self.graph.outputs, "output"),
            bank_sizes=used_banks(self.plan.bank_sizes),
            runtime=("engine", *dict.fromkeys((*sources, *called))),
        )

    def kernel(self, node: Node) -> Kernel:
        return int_op(node).kernel(node.input_types, node.output.type)

    def params(self, index: int, node: Node, kernel: Kernel) -> CParams:
        stem = f"{self.name}_op{index:02d}"
        members = tuple((key, self.expression(stem, key, value, node)) for key, value in kernel.members.items())
        return CParams(kernel.struct, f"{stem}_params", members, describe(node))

    def expression(self, stem: str, key: str, value: Field, node: Node) -> str:
        if isinstance(value, Table):
            return self.array(f"{stem}_{key.replace('requant.', '').replace('.', '_')}", value, node)
        if isinstance(value, int):
            return int_literal(value)
        return "NULL" if value is None else value

    def array(self, name: str, table: Table, node: Node) -> str:
        """The name of the array in weights.c; equal arrays are stored once."""
        values: Array = table.values.ravel()
        key = (table.ctype, values.tobytes(), values.size)
        if key not in self.array_names:
            self.array_names[key] = name
            self.arrays.append(CArray(name, table.ctype, values, f"{comment(node.name)} {tuple(table.values.shape)}"))
        return self.array_names[key]

    def op(self, node: Node, kernel: Kernel, params: str) -> COp:
        op, first = int_op(node), len(self.windows)
        windows = op.windows(node.input_types)
        if sum(window.rows for window in windows) > MAX_ROWS:
            raise CompileError(
                f"needs {sum(window.rows for window in windows)} rows at once",
                where=f"node '{node.name}'",
                why=f"the generated C gathers at most {MAX_ROWS} row pointers",
                remedy="use a smaller kernel, or lay the long axis along the width",
            )
        for window in windows:
            tensor = self.tensor_index[node.inputs[window.input]]
            shape = window.rows, window.stride, window.dilation, window.pad
            self.windows.append(CWindow(tensor, *shape, int(window.edge), window.last(0) + 1))
        scratch = self.plan.buffer_of(node.name, "scratch")
        state = self.plan.buffer_of(node.name, "state")
        return COp(
            comment=describe(node),
            kernel=kernel.function,
            params=params,
            scratch=scratch.offset if scratch else 0,
            scratch_bank=scratch.bank if scratch else 0,
            state=state.offset if state else 0,
            state_bank=state.bank if state else 0,
            first_window=first,
            windows=len(windows),
            output=self.tensor_index[node.output],
            jobs=op.jobs(node.input_types, node.output.type),
            waiter=self.waiter(node),
        )

    def waiter(self, node: Node) -> str:
        """Who else of its stage may wait for rows of a node, if there is no doubt."""
        stage = next(stage for stage in self.plan.stages if node.name in stage.nodes)
        readers = [other for other in self.nodes if node.output in other.inputs and other.name in stage.nodes]
        plain = len(readers) == 1 and node.name not in stage.sinks
        return str(self.node_index[readers[0].name]) if plain else "RNNC_NONE"

    def tensor(self, value: Value) -> CTensor:
        producer = next((str(self.node_index[n.name]) for n in self.nodes if n.output is value), "RNNC_NONE")
        text, row_bytes, height = (
            f"{comment(value.name)} {list(value.type.shape)}",
            value.type.row_bytes,
            value.type.height,
        )
        if value in self.lent:
            return CTensor(f"{text}, lent", 0, row_bytes, height, height, producer, 0, "RNNC_NONE")
        place = self.plan.place_of(value.name)
        return CTensor(
            comment=text,
            offset=place.offset,
            row_bytes=row_bytes,
            height=height,
            ring=place.rows,
            producer=producer,
            bank=place.bank,
            slide=str(self.slide_index.get(place.shares_with or place.name, "RNNC_NONE")),
        )

    def lay_slides(self) -> None:
        """The rings that slide, with the windows of all operators that read any tensor in the same place."""
        readers = 0
        for value in self.values:
            if value in self.lent:
                continue
            place = self.plan.place_of(value.name)
            if place.slides and not place.shares_with:
                slide = self.slide(value, place, readers)
                self.slide_index[place.name] = len(self.slides)
                self.slides.append(slide)
                readers += len(slide.readers)

    def slide(self, value: Value, place: Buffer, first_reader: int) -> CSlide:
        there = {
            index
            for other, index in self.tensor_index.items()
            if other not in self.lent and place.name in (other.name, self.plan.place_of(other.name).shares_with)
        }
        pairs = [
            (op, w)
            for op, item in enumerate(self.ops)
            for w in range(item.first_window, item.first_window + item.windows)
        ]
        readers = tuple((op, window) for op, window in pairs if self.windows[window].tensor in there)
        landing = self.plan.landing_of(place)
        if landing is None:
            raise ValueError(f"'{place.name}' slides without a landing")
        where = self.tensor_index[value], first_reader, readers
        return CSlide(comment(value.name), *where, place.rows, landing.offset, landing.bank)

    def stages(self) -> tuple[CStage, ...]:
        result, op, sink = [], 0, 0
        for index, stage in enumerate(self.plan.stages):
            text = f"stage {index}, {stage.kind}: {len(stage.nodes)} operator{'s' if len(stage.nodes) > 1 else ''}"
            result.append(CStage(text, op, len(stage.nodes), sink, len(stage.sinks), stage.ticks))
            op, sink = op + len(stage.nodes), sink + len(stage.sinks)
        return tuple(result)

    def sinks(self) -> tuple[int, ...]:
        return tuple(self.node_index[sink] for stage in self.plan.stages for sink in stage.sinks)

    def ports(self, ports: Sequence[Port], kind: str) -> tuple[CPort, ...]:
        names: Mapping[str, str] = unique_identifiers([port.name for port in ports], kind)
        return tuple(self.port(port, names[port.name]) for port in ports)

    def port(self, port: Port, argument: str) -> CPort:
        type_ = port.value.type
        return CPort(
            name=port.name,
            argument=argument,
            macro=f"{self.name}_{argument}".upper(),
            tensor=self.tensor_index[port.value],
            bytes=type_.bytes,
            row_bytes=type_.row_bytes,
            height=type_.height,
            width=type_.width,
            channels=type_.channels,
            scale=float_literal(type_.required_quant.scale),
            zero_point=type_.required_quant.zero_point,
            note=" The model has uint8 here; this is that less 128." if port.dtype == "uint8" else "",
        )


def used_banks(sizes: Sequence[int]) -> tuple[int, ...]:
    """Sizes up to the last bank that holds anything; the first one always stands."""
    last = max((index for index, size in enumerate(sizes) if size), default=0)
    return tuple(sizes[: last + 1])


def unique_identifiers(names: Sequence[str], kind: str) -> dict[str, str]:
    """C argument names for ports: "input"/"output" alone, or with the port's own name where there are several."""
    if len(names) == 1:
        return {names[0]: kind}
    result: dict[str, str] = {}
    for index, name in enumerate(names):
        wanted = f"{kind}_{identifier(name)}"
        result[name] = wanted if wanted not in result.values() else f"{wanted}_{index}"
    return result


def int_op(node: Node) -> IntOp:
    if not isinstance(node.op, IntOp):
        raise CompileError(f"'{node.op.name}' was not quantised", where=f"node '{node.name}'")
    return node.op


def comment(text: str) -> str:
    """Text that may stand in a C comment."""
    return re.sub(r"[^\x20-\x7e]", "?", text).replace("*/", "* /").replace("/*", "/ *").replace("\\", "/")


def describe(node: Node) -> str:
    """One line about a node, for a comment above its tables."""
    inputs = " + ".join("x".join(map(str, type_.shape)) for type_ in node.input_types)
    return f"{node.op.name} '{comment(node.name)}': {inputs} -> {'x'.join(map(str, node.output.type.shape))}"
