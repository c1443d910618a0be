"""CProgram: everything that the generated C says, every decision made; the templates only print it."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.ir.types import Array


@dataclass(frozen=True, eq=False)
class CArray:
    """A constant array of weights.c."""

    name: str
    ctype: str
    values: Array
    comment: str

    @property
    def bytes(self) -> int:
        return int(self.values.size) * {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2}.get(self.ctype, 4)


@dataclass(frozen=True, slots=True)
class CParams:
    """The parameter struct of one operator: members are (designator, C expression) pairs."""

    struct: str
    name: str
    members: tuple[tuple[str, str], ...]
    comment: str


@dataclass(frozen=True, slots=True)
class CTensor:
    comment: str
    offset: int
    row_bytes: int
    height: int
    ring: int
    producer: str
    bank: int
    slide: str


@dataclass(frozen=True, slots=True)
class CSlide:
    """A ring whose rows move: the tensor that is first written to it, its readers as (operator, window), and where its
    rows from the ``stay``-th on land."""

    comment: str
    tensor: int
    first_reader: int
    readers: tuple[tuple[int, int], ...]
    stay: int
    landing: int
    bank: int


@dataclass(frozen=True, slots=True)
class CWindow:
    tensor: int
    rows: int
    stride: int
    dilation: int
    pad: int
    edge: int
    reach: int


@dataclass(frozen=True, slots=True)
class COp:
    comment: str
    kernel: str
    params: str
    scratch: int
    scratch_bank: int
    state: int
    state_bank: int
    first_window: int
    windows: int
    output: int
    jobs: int
    waiter: str


@dataclass(frozen=True, slots=True)
class CStage:
    comment: str
    first_op: int
    ops: int
    first_sink: int
    sinks: int
    ticks: int


@dataclass(frozen=True, slots=True)
class CPort:
    """An input or output: ``argument`` is its C name, ``macro`` the stem of its constants."""

    name: str
    argument: str
    macro: str
    tensor: int
    bytes: int
    row_bytes: int
    height: int
    width: int
    channels: int
    scale: str
    zero_point: int
    note: str = ""
    """What the user must know about the element type, for a comment."""


@dataclass(frozen=True, eq=False)
class CProgram:
    name: str
    tflite: bool
    stream_input: bool
    lent_input: bool
    stream_output: bool
    model: str
    headers: tuple[str, ...]
    arrays: tuple[CArray, ...]
    params: tuple[CParams, ...]
    tensors: tuple[CTensor, ...]
    windows: tuple[CWindow, ...]
    slides: tuple[CSlide, ...]
    ops: tuple[COp, ...]
    stages: tuple[CStage, ...]
    sinks: tuple[int, ...]
    inputs: tuple[CPort, ...]
    outputs: tuple[CPort, ...]
    bank_sizes: tuple[int, ...]
    runtime: tuple[str, ...]
    """Stems of the runtime source families that the kernels need."""

    @property
    def held_input(self) -> bool:
        """The arena holds whole inputs."""
        return not self.stream_input and not self.lent_input

    @property
    def upper(self) -> str:
        return self.name.upper()

    @property
    def counters(self) -> int:
        """Entries of the engine's counter array: done by operator, given by input, a bit of seen by operator."""
        return len(self.ops) + len(self.inputs) + len(self.ops) // 16 + 1

    @property
    def job_rows(self) -> int:
        """Row pointers that one job needs, at most."""
        ends = [self.windows[op.first_window : op.first_window + op.windows] for op in self.ops]
        return max(sum(window.rows for window in windows) for windows in ends)

    @property
    def input_bytes(self) -> int:
        """Of all inputs together."""
        return sum(port.bytes for port in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Of all outputs together."""
        return sum(port.bytes for port in self.outputs)
