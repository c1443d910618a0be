"""RNNPool in integers: what runtime/c/src/rnnpool.c computes, and the cases that it is tested on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.channels import BoolArray, ChannelIndex, ChannelRange, KeptChannels
from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import high_multiply, make_requant
from rnnc.ir.op import IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.rnnpool_cell import (
    INPUT_SHIFT,
    FixedCell,
    FloatCell,
    Int16Array,
    quantise_cell,
)
from rnnc.ir.ops.rnnpool_geometry import LANES, Geometry, Pads, Pair, Sizes, pooled_shape
from rnnc.ir.ops.rnnpool_packing import (
    UnitOrder,
    cell_members,
    describe_choice,
    matrix_members,
    pixel_weights,
    unit_order,
)
from rnnc.ir.ops.rnnpool_work import rnnpool_work
from rnnc.ir.types import Quant, TensorType

Number = TypeVar("Number", np.int64, np.float64)

Way = tuple[int, int, int]
WAYS: tuple[Way, ...] = tuple((share_rows, *way) for share_rows, way in product((1, 0), ((LANES, 0), (1, 1), (1, 0))))
"""How row summaries can be made: share_rows, batch, share_products."""


@dataclass(frozen=True, eq=False)
class RnnPoolInt(IntOp):
    """RNNPool from int8 to int8 through Q15 states; the cell is FixedCell in rnnpool_cell.py.

    w1, r1, w2, r2 int16 with left shifts ``shifts`` (in this order); b1, b2 int16 [2, h] in Q11, the gates' biases
    and the updates' leads over them; s1, s2 (zeta, nu) in Q15. The input enters as (x - zero_point) << 7, padding as
    0. A state h in Q15 leaves as clip(((h << shift) * multiplier + 2^31 >> 32) + zero point), ``out`` holding these
    three. With ``share_rows`` the kernel keeps the summaries of the rows that the next output row needs again;
    without, it computes them again and needs no state. ``batch`` and ``share_products`` say how row summaries are
    made: see Geometry.
    """

    w1: Int16Array
    r1: Int16Array
    b1: Int16Array
    w2: Int16Array
    r2: Int16Array
    b2: Int16Array
    shifts: tuple[int, int, int, int]
    s1: Pair
    s2: Pair
    out: tuple[int, int, int]
    zero_point: int
    kernel_shape: Pair = (1, 1)
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    gate: str = "Sigmoid"
    update: str = "Tanh"
    share_rows: int = 1
    batch: int = LANES
    share_products: int = 0

    name: ClassVar[str] = "rnnpool_int"
    all_outputs: ClassVar[bool] = True

    def cells(self) -> tuple[FixedCell, FixedCell]:
        a, b, c, d = self.shifts
        return (
            FixedCell(self.w1, a, self.r1, b, self.b1, *self.s1, self.gate, self.update),
            FixedCell(self.w2, c, self.r2, d, self.b2, *self.s2, self.gate, self.update),
        )

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if self.w1.shape[1] != inputs[0].channels:
            raise CompileError(f"W1 of {self.w1.shape} does not fit {inputs[0].channels} input channels")
        shape = pooled_shape(inputs[0], self.kernel_shape, self.strides, self.pads, self.r2.shape[0])
        return TensorType(shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, self.kernel_shape[0], self.strides[0], 1, self.pads[0]),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        centred = (windows[0].values - self.zero_point) << INPUT_SHIFT
        centred[~windows[0].present] = 0
        rnn1, rnn2 = self.cells()
        products = patches(rnn1.products(centred), self.kernel_shape[1], self.strides[1], self.pads)
        row_products = rnn2.products(rnn1.sweep(products, 3))
        column_products = rnn2.products(rnn1.sweep(products, 2))
        ways = (row_products, row_products[:, :, ::-1], column_products, column_products[:, :, ::-1])
        states = np.concatenate([rnn2.sweep(way, 2) for way in ways], axis=-1)
        multiplier, shift, zero_point = self.out
        scaled = high_multiply(states << shift, np.asarray(multiplier, np.int64))
        return np.clip(scaled + zero_point, -128, 127)

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).executed_macs()

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return (rnnpool_work(self, self.geometry(inputs[0], output)),)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).scratch_bytes()

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).state_bytes()

    def partial_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """RNN1's states down the columns, in Q15; the row summaries come on top."""
        geometry = self.geometry(inputs[0], output)
        return 2 * geometry.span(output.width) * geometry.sizes.h1

    def leaner(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[IntOp, ...]:
        def memory(op: IntOp) -> int:
            return op.scratch_bytes(inputs, output) + op.state_bytes(inputs, output)

        found: list[IntOp] = [self]
        for op in self._ways(inputs[0], output):
            if memory(op) < memory(found[-1]):
                found.append(op)
        return tuple(found[1:])

    def in_way(self, way: Way) -> RnnPoolInt:
        return replace(self, share_rows=way[0], batch=way[1], share_products=way[2])

    def fastest(self, x: TensorType, output: TensorType) -> RnnPoolInt:
        return self._ways(x, output)[0]

    def _ways(self, x: TensorType, y: TensorType) -> list[RnnPoolInt]:
        """This operator in all ways, the fewest MACs first, of these the least scratch."""
        ways = [self.in_way(way) for way in WAYS]
        return sorted(ways, key=lambda op: (op.macs([x], y), op.scratch_bytes([x], y)))

    def weight_bytes(self) -> int:
        rnn1, rnn2 = self.cells()
        members = (
            matrix_members("w1", self.w1, 0),
            matrix_members("w2", self.w2, 0),
            cell_members("rnn1", rnn1),
            cell_members("rnn2", rnn2),
        )
        arrays = [field.values for part in members for field in part.values() if isinstance(field, Table)]
        return sum({array.tobytes(): array.nbytes for array in arrays}.values())  # equal ones are stored once

    def channel_sources(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[ChannelIndex, ...] | None:
        return (np.full(output.channels, -1, np.int64),)

    def droppable(self, index: int, ranges: ChannelRange, inputs: Sequence[TensorType]) -> BoolArray:
        """Channels that are always the zero point: (x - zero_point) << 7 adds nothing to W1 x."""
        return ranges.constant & np.equal(ranges.low, self.zero_point)

    def keep_channels(self, kept: Sequence[KeptChannels], output: BoolArray, inputs: Sequence[TensorType]) -> IntOp:
        return replace(self, w1=self.w1[:, kept[0].mask])

    def geometry(self, x: TensorType, y: TensorType) -> Geometry:
        sizes = Sizes(self.w1.shape[1], self.r1.shape[0], self.r2.shape[0])
        return Geometry(
            sizes,
            self.kernel_shape,
            self.strides,
            y.height,
            y.width,
            self.batch,
            bool(self.share_rows),
            bool(self.share_products),
        )

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        rnn1, rnn2, order2 = self.kernel_cells
        members = {
            **matrix_members("w1", rnn1.w, rnn1.w_shift),
            **matrix_members("w2", rnn2.w, rnn2.w_shift),
            **cell_members("rnn1", rnn1),
            **cell_members("rnn2", rnn2),
            "pixel_weights": pixel_weights(rnn1, self.zero_point),
            "order2": Table("int16_t", order2.astype(np.int16)),
            "hidden2": self.r2.shape[0],
            "in_width": inputs[0].width,
            "in_channels": inputs[0].channels,
            "in_zero_point": self.zero_point,
            "out_width": output.width,
            "kernel_h": self.kernel_shape[0],
            "kernel_w": self.kernel_shape[1],
            "stride_h": self.strides[0],
            "stride_w": self.strides[1],
            "pad_left": self.pads[1],
            "kept_rows": self.geometry(inputs[0], output).kept_rows,
            "product_rows": self.geometry(inputs[0], output).product_rows,
            "batch": self.batch,
            "out_multiplier": self.out[0],
            "out_shift": self.out[1],
            "out_zero_point": self.out[2],
        }
        return Kernel("rnnc_rnnpool_s8", "rnnc_rnnpool", members, "rnnpool", ("rnnpool_cell",))

    def choices(self) -> tuple[str, ...]:
        rnn1, rnn2, _ = self.kernel_cells
        return describe_choice("R1", rnn1), describe_choice("R2", rnn2)

    @cached_property
    def kernel_cells(self) -> tuple[FixedCell, FixedCell, UnitOrder]:
        """The cells with their units in the order that the kernel has them in, and that order of RNN2."""
        rnn1, rnn2 = self.cells()
        order1, order2 = unit_order(rnn1), unit_order(rnn2)
        rnn1 = rnn1.reordered(order1, np.arange(self.w1.shape[1]))
        return rnn1, rnn2.reordered(order2, order1), order2

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for case in CASES:
            for way in WAYS:
                yield sample(rng, case, way)


def output_rule(y: Quant) -> tuple[int, int, int]:
    """Multiplier, left shift and zero point that take a state from Q15 to int8.

    TensorFlow Lite has no such operator, so both arithmetics round once.
    """
    requant = make_requant("fast", np.array([2.0**-15 / y.scale]), 2**15, y.zero_point)
    return int(requant.multipliers[0]), int(requant.shifts[0]), y.zero_point


def make_int(
    rnn1: FixedCell,
    rnn2: FixedCell,
    out: tuple[int, int, int],
    zero_point: int,
    places: tuple[Pair, Pair, Pads],
) -> RnnPoolInt:
    """The operator of two cells; ``out`` is by `output_rule`, ``places`` are kernel, strides and pads."""
    kernel, strides, pads = places
    return RnnPoolInt(
        w1=rnn1.w,
        r1=rnn1.r,
        b1=rnn1.bias,
        w2=rnn2.w,
        r2=rnn2.r,
        b2=rnn2.bias,
        shifts=(rnn1.w_shift, rnn1.r_shift, rnn2.w_shift, rnn2.r_shift),
        s1=(rnn1.zeta, rnn1.nu),
        s2=(rnn2.zeta, rnn2.nu),
        out=out,
        zero_point=zero_point,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        gate=rnn1.gate,
        update=rnn1.update,
    )


def patches(rows: npt.NDArray[Number], columns: int, stride: int, pads: Pads) -> npt.NDArray[Number]:
    """Rows [n, r, W, h] as patches [n, OW, r, columns, h], padded with zeros at the left and right."""
    padded = np.pad(rows, ((0, 0), (0, 0), (pads[1], pads[3]), (0, 0)))
    out_width = (padded.shape[2] - columns) // stride + 1
    index = np.arange(out_width)[:, None] * stride + np.arange(columns)
    return padded[:, :, index].transpose(0, 2, 1, 3, 4)


@dataclass(frozen=True, slots=True)
class Case:
    """Parameters of a sample: sizes, places, gates, (zeta, nu), the weights' magnitude and the part that is not 0."""

    shape: tuple[int, int, int]
    hidden: Pair
    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    gates: tuple[str, str] = ("Sigmoid", "Tanh")
    mix: tuple[float, float] = (0.9, 0.05)
    gain: float = 1.0
    density: float = 1.0


QUANT = ("QuantSigmoid", "QuantTanh")
CASES: tuple[Case, ...] = (
    Case((1, 1, 1), (1, 1), (1, 1), (1, 1)),
    Case((12, 13, 4), (8, 8), (8, 8), (4, 4)),
    Case((11, 22, 4), (16, 16), (4, 4), (2, 2), gates=QUANT),
    Case((9, 7, 3), (5, 7), (3, 2), (2, 1), (1, 0, 2, 1)),
    Case((6, 6, 8), (8, 4), (6, 6), (1, 1), (2, 3, 1, 2), gain=8.0),
    Case((10, 11, 2), (3, 6), (2, 3), (4, 5), gates=("Sigmoid", "QuantTanh"), mix=(1.0, 1.0)),
    Case((7, 19, 1), (4, 3), (2, 5), (1, 2), (1, 2, 0, 1), gates=("QuantSigmoid", "Tanh"), mix=(1.0, 0.0)),
    Case((5, 4, 17), (2, 9), (5, 1), (3, 1), gain=64.0),
    Case((3, 9, 6), (6, 2), (1, 4), (1, 3), gates=QUANT, mix=(0.0, 0.5), gain=1000.0),
    Case((8, 8, 4), (12, 10), (3, 3), (3, 3), (3, 3, 3, 3)),
    Case((9, 9, 4), (16, 8), (4, 5), (2, 3)),
    Case((9, 10, 4), (16, 15), (4, 4), (3, 2), mix=(1.0, 1.0), density=0.2),
    Case((5, 9, 2), (15, 16), (3, 4), (2, 3), density=0.04),
)


def sample(rng: np.random.Generator, case: Case, way: Way = WAYS[0]) -> Sample:
    """A random operator of the given case; ``gain`` above 1 drives products and states into saturation."""
    (h1, h2), channels = case.hidden, case.shape[2]

    def cell(inputs: int, h: int) -> FloatCell:
        w, r = rng.normal(size=(h, inputs)) / inputs**0.5, rng.normal(size=(h, h)) / h**0.5
        r *= rng.random(r.shape) < case.density
        bias = rng.normal(size=(2, h)) * case.gain
        return FloatCell(w * case.gain, r * case.gain, bias, *case.mix, *case.gates)

    zero_point = int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))
    x = Quant(float(rng.uniform(0.01, 0.03)), zero_point)
    y = Quant(float(rng.choice([2.0**-7, 2.0**-8])), int(rng.integers(-40, 40)))
    rnn1, rnn2 = cell(channels, h1), cell(h1, h2)
    op = make_int(
        quantise_cell(rnn1, x.scale / 2**INPUT_SHIFT),
        quantise_cell(rnn2, 2.0**-15),
        output_rule(y),
        zero_point,
        (case.kernel, case.strides, case.pads),
    )
    source = TensorType(case.shape, "int8", x)
    op = op.in_way(way)
    return Sample(op, (source,), op.infer([source]).with_quant(y), f"{case} {way}")
