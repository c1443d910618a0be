"""The Plan: which rows are made in which order, and where every byte lives.

A stage is a connected piece of the graph that runs row by row, pulled by its sinks (the operators whose outputs
leave it) exactly as runtime/c/src/engine.c does. A stage of one operator over whole tensors is layer-by-layer
execution; a patches stage runs its operators once per vertical strip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Schedule = Literal["layer", "rows", "patches"]
InputMode = Literal["buffer", "stream", "lent"]
"""Whole in the arena, pushed row by row, or whole in memory of the caller's, which is only read."""

OutputMode = Literal["buffer", "stream"]
BufferKind = Literal["input", "output", "tensor", "ring", "landing", "scratch", "state"]

ALIGN = 8
"""Every buffer starts at a multiple of this many bytes (RNNC_ALIGN)."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of one bank that are in use from ``first_step`` to ``last_step`` (indices of jobs, inclusive).

    ``value`` names the tensor whose rows live there; row y is at offset + (y % rows) * row_bytes. Scratch and
    state have no value, and belong to ``node``; scratch is in use only while a job of that node runs. The output
    of an in-place operator lies in the buffer that it ``shares_with``; inputs that the caller lends have none. Rows of
    a whole tensor that are not written yet, or not needed any more, may be given to other buffers, so buffers that
    live at the same time may overlap.

    A ring that ``slides`` always has its oldest row that is still needed at its start, and the next ones behind it:
    once a job of a reader is done, what stays moves there. The rows that it has no room for are in its ``landing``,
    which is somewhere else, and free for others as soon as they have moved.
    """

    name: str
    kind: BufferKind
    size: int
    first_step: int
    last_step: int
    offset: int = 0
    bank: int = 0
    value: str = ""
    node: str = ""
    row_bytes: int = 0
    rows: int = 0
    shares_with: str = ""
    slides: bool = False


def landing_name(place: Buffer) -> str:
    """The name of the landing of a ring that slides, one for all that share its place."""
    return f"{place.shares_with or place.name}.landing"


@dataclass(frozen=True, slots=True)
class Strip:
    """Columns [left, right) of the stage's sinks that one pass of a patches stage makes."""

    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Stage:
    """Nodes in topological order, by name; all of them wait for rows of the ``sinks``. ``ticks`` are the equal parts
    in which the stage gets the values that it reads from outside."""

    kind: Schedule
    nodes: tuple[str, ...]
    sinks: tuple[str, ...]
    ticks: int
    strips: tuple[Strip, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete schedule. ``bank_sizes`` are the arena bytes used in each memory bank of the target.

    ``live_peak`` is the largest number of bytes that hold something at one step (``peak_step``, when the buffers
    ``peak_buffers`` are in use): no placement of the buffers in this order of jobs needs less. ``least_live``: the same
    of the best of all the stages that were compared.
    """

    schedule: Schedule
    input_mode: InputMode
    output_mode: OutputMode
    stages: tuple[Stage, ...]
    buffers: tuple[Buffer, ...]
    bank_sizes: tuple[int, ...]
    jobs: int
    executed_macs: int
    live_peak: int
    peak_step: int
    peak_buffers: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
    least_live: int = 0

    @property
    def arena(self) -> int:
        return sum(self.bank_sizes)

    def place_of(self, value: str) -> Buffer:
        """The buffer that holds the rows of a value."""
        return next(buffer for buffer in self.buffers if buffer.value == value)

    def landing_of(self, place: Buffer) -> Buffer | None:
        """Where rows of a ring that slides lie first."""
        name = landing_name(place)
        return next((buffer for buffer in self.buffers if buffer.kind == "landing" and buffer.name == name), None)

    def buffer_of(self, node: str, kind: BufferKind) -> Buffer | None:
        """The scratch or state of a node."""
        return next((b for b in self.buffers if b.node == node and b.kind == kind), None)
