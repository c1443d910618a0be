"""What an operator is: attributes, shape rule, meaning, row geometry, cost and kernel.

A FloatOp is what a model file says; a pass turns it into an IntOp, which is what runs on the target. Both are
frozen dataclasses whose fields are their attributes and constants, so that they print and parse by themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.costs import Work, cycles, is_measured
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.types import Array, FloatArray, TensorType


@dataclass(frozen=True, eq=False)
class Const:
    """A constant of a float operator: real ``values`` and, from a QDQ model, the stored integers with their
    scale(s) along ``axis``."""

    values: FloatArray
    stored: npt.NDArray[np.int64] | None = None
    scale: npt.NDArray[np.float64] | None = None
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """The rows of input ``input`` that job j needs: j * stride - pad + i * dilation, i in 0 .. rows - 1.

    Rows outside the input are padding or, with ``edge``, the nearest row of the input.
    """

    input: int
    rows: int
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    edge: bool = False

    def first(self, job: int) -> int:
        return job * self.stride - self.pad

    def last(self, job: int) -> int:
        """Index of the last row, padding included."""
        return self.first(job) + (self.rows - 1) * self.dilation

    def oldest(self, jobs: npt.ArrayLike, height: int) -> npt.NDArray[np.int64]:
        """The first row of an input of ``height`` rows that each job or a later one reads, below 0 for padding."""
        first = np.asarray(jobs, np.int64) * self.stride - self.pad
        return np.clip(first, 0, height - 1) if self.edge else first

    def taps(self, jobs: npt.ArrayLike, height: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Rows of an input of ``height`` rows by job and tap [jobs, rows], and which of them are there."""
        first = np.asarray(jobs, np.int64)[:, None] * self.stride - self.pad
        rows = first + np.arange(self.rows) * self.dilation
        if self.edge:
            rows = np.clip(rows, 0, height - 1)
        return rows, (rows >= 0) & (rows < height)


@dataclass(frozen=True, eq=False)
class Dependency:
    """Output row output_rows[i] is computed from row input_rows[i] (and others) of input ``input``."""

    input: int
    input_rows: npt.NDArray[np.int64]
    output_rows: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowRows:
    """Rows gathered for n output rows: ``values`` [n, rows, width, channels], ``present`` [n, rows] is False
    for padding, whose values are zeros to be replaced by whatever the operator pads with."""

    values: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array of the generated C: element type ``ctype`` ("int8_t", ...), values in flash."""

    ctype: str
    values: Array


Field = int | Table | str | None
"""A member of a kernel's parameter struct: a number, an array in flash, an enumerator, or NULL."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """The call that runs a node: C function, its parameter struct type and members in order of declaration.

    ``source`` is the runtime file (stem) that defines it, ``uses`` are others that it calls; members with a dot
    name a nested struct's member.
    """

    function: str
    struct: str
    members: Mapping[str, Field]
    source: str
    uses: tuple[str, ...] = ()


def nested(**calls: Kernel) -> dict[str, Field]:
    """The members of a struct that holds the parameter structs of other kernels, by their names in it."""
    return {f"{name}.{key}": value for name, call in calls.items() for key, value in call.members.items()}


SCRATCH_ALIGN = 8
"""Parts of a kernel's scratch start at multiples of this (RNNC_ALIGN)."""


def aligned(size: int) -> int:
    """Bytes that a part of the scratch takes where another follows (rnnc_aligned)."""
    return -(-size // SCRATCH_ALIGN) * SCRATCH_ALIGN


class Op(ABC):
    """Common to both kinds."""

    name: ClassVar[str]
    arity: ClassVar[tuple[int, int]] = (1, 1)

    @abstractmethod
    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        """Type of the output (quantisation left to the node). Raises CompileError for shapes that do not fit."""


class FloatOp(Op):
    """An operator on real numbers, channels last."""

    keeps_quant: ClassVar[bool] = False
    """The output has the quantisation of the (first) input by nature: max pooling, slices, reshapes."""
    joins_quant: ClassVar[bool] = False
    """All inputs must have the quantisation of the output: concatenation."""

    @abstractmethod
    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        """The output, as float32."""

    @abstractmethod
    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        """The integer operator that computes this one; all types carry their quantisation."""

    def output_range(self) -> tuple[float, float] | None:
        """The real range of the output where the operator alone decides it (softmax, sigmoid, tanh)."""
        return None

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        """This operator followed by a clamp to [low, high], where it can do that itself."""
        return None

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Multiply-accumulates of the operator as given."""
        return 0


class LinearFloatOp(FloatOp):
    """y = clamp(weight . x + bias), weights by output channel on axis 0, outputs in equal groups."""

    weight: Const
    bias: Const | None

    @abstractmethod
    def operands(self, x: FloatArray, rng: np.random.Generator, limit: int) -> FloatArray:
        """What the weights of each output are multiplied with, at ``limit`` random positions of the output at most:
        [positions, groups, weights of one output]."""


class IntOp(Op):
    """An operator on integers, row by row: the one definition of what the C kernel computes."""

    in_place: ClassVar[tuple[int, ...]] = ()
    """Inputs whose row may lie in the memory of the output row (read before it is written, element by element)."""
    all_outputs: ClassVar[bool] = False
    """`keep_channels` can take away input channels only."""

    @abstractmethod
    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        """Rows needed of each input."""

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Units of work: as many as output rows, or more for an operator whose first jobs only take in rows. Each of
        the last ones then makes a row."""
        return output.height

    @abstractmethod
    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        """Output rows [n, width, channels] from the rows that ``output_windows`` names for each."""

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        """Rows on which output row y depends; differs from `windows` where the operator remembers
        what earlier jobs read."""
        return self.windows(inputs)

    def dependencies(self, inputs: Sequence[TensorType], output: TensorType) -> Iterator[Dependency]:
        """The rows whose elements enter each output row; fewer than `output_windows` has where a kernel is handed
        more than it uses."""
        rows = np.arange(output.height)
        for window in self.output_windows(inputs):
            taps, inside = window.taps(rows, inputs[window.input].height)
            for read, there in zip(taps.T, inside.T, strict=True):
                yield Dependency(window.input, read[there], rows[there])

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Multiply-accumulates executed for the whole output."""
        return 0

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        """How often the kernel's loops run for the whole output, from which `cycles` follows; operators that call
        others' kernels have several parts."""
        counts = {
            "jobs": self.jobs(inputs, output),
            "pixels": output.height * output.width,
            "inputs": sum(x.elements for x in inputs),
            "outputs": output.elements,
            "macs": self.macs(inputs, output),
        }
        return (Work(self.name, counts),)

    def cycles(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Cycles of a Cortex-M4 for the whole output, an estimate: see rnnc.ir.costs."""
        work = self.work(inputs, output)
        return cycles(work if is_measured(work) else IntOp.work(self, inputs, output))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Scratch of one job, the largest over all kernel implementations."""
        return 0

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Memory kept from the first job of a run to its last."""
        return 0

    def partial_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """At least so many bytes can stand for those input rows of one output row that are there before the others
        are: a partial sum, whether or not the kernel can stop at one. For bounds of memory, so never too much."""
        if self.jobs(inputs, output) != output.height:
            return self.state_bytes(inputs, output)
        return output.row_bytes

    def leaner(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[IntOp, ...]:
        """The same operator with less scratch or state and more cycles, the fastest first."""
        return ()

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        """Operators of this class that do the work of a whole ``chain``: the next of the chain reads the output of
        each by its first input, and nothing else does, unless making it again takes no MACs. ``inputs`` are those of
        the first, ``outputs`` those of each. The fastest come first."""
        return ()

    @classmethod
    def widened(cls, op: IntOp, inputs: Sequence[TensorType], output: TensorType) -> IntOp | None:
        """An operator of this class that does what ``op`` does in fewer cycles, with more constants in flash."""
        return None

    def choices(self) -> tuple[str, ...]:
        """What the values of its constants made the kernel be, for the report."""
        return ()

    def weight_bytes(self) -> int:
        """Constants in flash, as the kernel stores them."""
        return 0

    def constants_read(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Bytes of constants that are read for the whole output, each as often as it is; known where `widened` is of
        use."""
        return 0

    @abstractmethod
    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        """The C call."""

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        """What the output's channels can hold, given what the inputs' can (`ranges`)."""
        return ChannelRange.full(output)

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        """For each input, by output channel: the input channel that goes if and only if the output channel
        goes, -1 for none. None: no channel can be taken from this operator."""
        return None

    def droppable(self, index: int, ranges: ChannelRange, inputs: Sequence[TensorType]) -> BoolArray:
        """Channels [C] of input ``index``, outside `channel_sources`, that `keep_channels` can do without."""
        return np.zeros(inputs[index].channels, np.bool_)

    def keep_channels(self, kept: Sequence[KeptChannels], output: BoolArray, inputs: Sequence[TensorType]) -> IntOp:
        """The operator that computes just the ``output`` channels, from the ``kept`` ones of its inputs.

        ``inputs`` are the types before; the channels to go obey `channel_sources` and `droppable`.
        """
        return self

    @classmethod
    @abstractmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        """Cases for the tests, edge parameters first."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An operator with input and output types to test it on."""

    op: IntOp
    inputs: tuple[TensorType, ...]
    output: TensorType
    label: str = ""


class Channelwise(IntOp):
    """An operator whose output channel c depends on channel c of every input, by a function that is monotonic
    in each input while the others are held (rising or falling)."""

    def channel_ranges(
        self, ranges: Sequence[ChannelRange], inputs: Sequence[TensorType], output: TensorType
    ) -> ChannelRange:
        """Such a function has its extremes in the corners, which the operator itself computes."""
        corners = []
        for ends in product(*((item.low, item.high) for item in ranges)):
            arrays = [np.broadcast_to(end, x.shape) for end, x in zip(ends, inputs, strict=True)]
            corners.append(evaluate(self, arrays, inputs, output).astype(np.int64))
        stacked = np.stack(corners)
        return ChannelRange(stacked.min(axis=(0, 1, 2)), stacked.max(axis=(0, 1, 2)))

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        return (np.arange(output.channels, dtype=np.int64),) * len(inputs)


def gather(op: IntOp, arrays: Sequence[Array], types: Sequence[TensorType], rows: Sequence[int]) -> list[WindowRows]:
    """The windows of the given output rows, cut from whole input tensors."""
    result: list[WindowRows] = []
    for window in op.output_windows(types):
        source = arrays[window.input]
        index, present = window.taps(rows, source.shape[0])
        values = source[np.clip(index, 0, source.shape[0] - 1)].astype(np.int64)
        values[~present] = 0
        result.append(WindowRows(values, present))
    return result


def evaluate(op: IntOp, arrays: Sequence[Array], types: Sequence[TensorType], output: TensorType) -> Array:
    """The whole output tensor of an integer operator."""
    rows = op.compute(gather(op, arrays, types, range(output.height)))
    return rows.reshape(output.shape).astype(output.dtype)
