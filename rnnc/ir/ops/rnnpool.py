"""RNNPool: two small RNNs sweep the rows and columns of every patch (Saha et al., NeurIPS 2020; DESIGN section 4).

RNN1 summarises each row of a patch left to right and each column top to bottom. RNN2 runs over the row summaries
top-down (q1) and bottom-up (q2) and over the column summaries left-right (q3) and right-left (q4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic, Requant, make_requant
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Const, FloatOp, IntOp, Kernel, Sample, Table, Window, WindowRows
from rnnc.ir.ops.rnnpool_cell import (
    GATES,
    INPUT_SHIFT,
    UPDATES,
    FixedCell,
    FloatCell,
    Int16Array,
    gate_table,
    is_tabulated,
    quantise_cell,
)
from rnnc.ir.ops.rnnpool_geometry import Geometry, Pads, Pair, Sizes, even, pooled_shape
from rnnc.ir.ops.rnnpool_import import choice, kernel_shape, pads, strides, zeta_nu
from rnnc.ir.types import FloatArray, Quant, TensorType

CONSTANTS = ("W1", "R1", "B1", "W2", "R2", "B2", "S1", "S2")


@dataclass(frozen=True, eq=False)
class RnnPool(FloatOp):
    """RNNPool on real numbers: x [H, W, C] to y [OH, OW, 4 * h2].

    w1 [h1, C], r1 [h1, h1], b1 [2, h1] (gate bias, update bias), s1 [2] = (zeta, nu) after their sigmoid, the
    same for RNN2; kernel is (rows, columns) of a patch. Source: ONNX domain rnnc, RNNPool version 1.
    """

    w1: Const
    r1: Const
    b1: Const
    w2: Const
    r2: Const
    b2: Const
    s1: tuple[float, float] = (1.0, 0.0)
    s2: tuple[float, float] = (1.0, 0.0)
    kernel: Pair = (1, 1)
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    gate: str = "Sigmoid"
    update: str = "Tanh"

    name: ClassVar[str] = "rnnpool"
    onnx: ClassVar[tuple[str, ...]] = ("RNNPool",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        if len(b.onnx_shape(x)) != 4:
            b.refuse(node, f"RNNPool over an input of rank {len(b.onnx_shape(x))}", why="X is [N, C, H, W]")
        cell = str(node.attributes.get("cell", "FastGRNN"))
        if cell != "FastGRNN":
            b.refuse(
                node,
                f"RNNPool with cell={cell}",
                why="only FastGRNN cells are supported",
                remedy="train the layer with FastGRNN cells, the ones of the RNNPool paper",
            )
        gate = choice(node, b, "gate_activation", GATES)
        update = choice(node, b, "update_activation", UPDATES)
        op = cls(
            *(b.const(node, 1 + index) for index in range(6)),
            s1=zeta_nu(node, b, 7),
            s2=zeta_nu(node, b, 8),
            kernel=kernel_shape(node, b),
            strides=strides(node, b),
            pads=pads(node, b),
            gate=gate,
            update=update,
        )
        op.check_weights(node, b)
        y = b.emit(op, [b.to_hwc(x)], node.outputs[0])
        height, width, channels = y.type.shape
        return b.from_hwc(y, (1, channels, height, width))

    def check_weights(self, node: SourceNode, b: Builder) -> None:
        """Refuse constants whose shapes do not fit each other."""
        h1, h2 = self.r1.values.shape[0], self.r2.values.shape[0]
        inputs = self.w1.values.shape[-1]
        wanted = ((h1, inputs), (h1, h1), (2, h1), (h2, h1), (h2, h2), (2, h2))
        consts = (self.w1, self.r1, self.b1, self.w2, self.r2, self.b2)
        for label, const, shape in zip(CONSTANTS, consts, wanted, strict=False):
            if const.values.shape != shape:
                why = "W is [h, in], R [h, h] and B [2, h]; RNN2 reads the h1 states of RNN1"
                b.refuse(node, f"{label} has shape {const.values.shape} where {shape} is needed", why=why)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if self.w1.values.shape[1] != inputs[0].channels:
            raise CompileError(
                f"W1 of {self.w1.values.shape} does not fit {inputs[0].channels} input channels",
                why="W1 is [h1, input channels]",
            )
        return TensorType(
            pooled_shape(inputs[0], self.kernel, self.strides, self.pads, self.r2.values.shape[0])
        )

    def cells(self) -> tuple[FloatCell, FloatCell]:
        def real(const: Const) -> npt.NDArray[np.float64]:
            return const.values.astype(np.float64)

        return (
            FloatCell(real(self.w1), real(self.r1), real(self.b1), *self.s1, self.gate, self.update),
            FloatCell(real(self.w2), real(self.r2), real(self.b2), *self.s2, self.gate, self.update),
        )

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        height = self.infer([TensorType(inputs[0].shape)]).height
        padded = np.pad(inputs[0].astype(np.float64), (self.pads[::2], (0, 0), (0, 0)))
        rows = padded[np.arange(height)[:, None] * self.strides[0] + np.arange(self.kernel[0])]
        rnn1, rnn2 = self.cells()
        products = patches(rows @ rnn1.w.T, self.kernel[1], self.strides[1], self.pads)
        row_products, column_products = rnn1.sweep(products, 3) @ rnn2.w.T, rnn1.sweep(products, 2) @ rnn2.w.T
        ways = (row_products, row_products[:, :, ::-1], column_products, column_products[:, :, ::-1])
        return np.concatenate([rnn2.sweep(way, 2) for way in ways], axis=-1).astype(np.float32)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        x, y = inputs[0].required_quant, output.required_quant
        rnn1, rnn2 = self.cells()
        # TensorFlow Lite has no such operator, so both arithmetics round its output once
        requant = make_requant("fast", np.array([2.0**-15 / y.scale]), 2**15, y.zero_point)
        return make_int(
            quantise_cell(rnn1, x.scale / 2**INPUT_SHIFT),
            quantise_cell(rnn2, 2.0**-15),
            requant,
            x.zero_point,
            (self.kernel, self.strides, self.pads),
        )

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Every patch by itself, as the paper counts."""
        return self._geometry(inputs[0], output).nominal_macs()

    def _geometry(self, x: TensorType, y: TensorType) -> Geometry:
        sizes = Sizes(x.channels, self.r1.values.shape[0], self.r2.values.shape[0])
        return Geometry(sizes, self.kernel, self.strides, y.height, y.width)


@dataclass(frozen=True, eq=False)
class RnnPoolInt(IntOp):
    """RNNPool from int8 to int8 through Q15 states; the cell is FixedCell in rnnpool_cell.py.

    w1, r1, w2, r2 int16 with left shifts ``shifts`` (in this order); b1, b2 int16 [2, h] in Q11; s1, s2 (zeta, nu)
    in Q15. The input enters as (x - zero_point) << 7, padding as 0. Each output is requantised once from Q15 by
    ``requant`` (one multiplier). With ``share_rows`` the kernel keeps the summaries of the rows that the next
    output row needs again; without, it computes them again and needs no state.
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
    requant: Requant
    zero_point: int
    kernel_shape: Pair = (1, 1)
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    gate: str = "Sigmoid"
    update: str = "Tanh"
    share_rows: int = 1

    name: ClassVar[str] = "rnnpool_int"

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
        return self.requant.apply(np.concatenate([rnn2.sweep(way, 2) for way in ways], axis=-1))

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).executed_macs(bool(self.share_rows))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).scratch_bytes()

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.geometry(inputs[0], output).state_bytes() if self._keeps(output) else 0

    def _keeps(self, output: TensorType) -> bool:
        return bool(self.share_rows) and output.height > 1

    def weight_bytes(self) -> int:
        tables = sum(4 * gate_table(name).size for name in (self.gate, self.update) if is_tabulated(name))
        arrays = (self.w1, self.r1, self.b1, self.w2, self.r2, self.b2)
        return tables + sum(2 * _even(array).size for array in arrays)

    def geometry(self, x: TensorType, y: TensorType) -> Geometry:
        sizes = Sizes(self.w1.shape[1], self.r1.shape[0], self.r2.shape[0])
        return Geometry(sizes, self.kernel_shape, self.strides, y.height, y.width)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        rnn1, rnn2 = self.cells()
        members = {
            "w1": Table("int16_t", _even(self.w1)),
            "r1": Table("int16_t", _even(self.r1)),
            "b1": Table("int16_t", _even(self.b1)),
            "w2": Table("int16_t", _even(self.w2)),
            "r2": Table("int16_t", _even(self.r2)),
            "b2": Table("int16_t", _even(self.b2)),
            "gate_table": Table("int32_t", gate_table(self.gate)) if is_tabulated(self.gate) else None,
            "update_table": Table("int32_t", gate_table(self.update)) if is_tabulated(self.update) else None,
            "w1_shift": self.shifts[0],
            "r1_shift": self.shifts[1],
            "w2_shift": self.shifts[2],
            "r2_shift": self.shifts[3],
            "zeta1": rnn1.zeta,
            "mix1": rnn1.mix,
            "zeta2": rnn2.zeta,
            "mix2": rnn2.mix,
            "hidden1": self.r1.shape[0],
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
            "kept_rows": self.geometry(inputs[0], output).kept_rows if self._keeps(output) else 0,
            "out_multiplier": int(self.requant.multipliers[0]),
            "out_shift": int(self.requant.shifts[0]),
            "out_zero_point": self.requant.zero_point,
        }
        return Kernel("rnnc_rnnpool_s8", "rnnc_rnnpool", members, "rnnpool")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for case in CASES:
            given = sample(rng, case)
            yield given
            yield replace(given, op=replace(given.op, share_rows=0), label=f"{given.label} without sharing")


def make_int(
    rnn1: FixedCell, rnn2: FixedCell, requant: Requant, zero_point: int, places: tuple[Pair, Pair, Pads]
) -> RnnPoolInt:
    """The operator of two cells; ``places`` are kernel, strides and pads."""
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
        requant=requant,
        zero_point=zero_point,
        kernel_shape=kernel,
        strides=strides,
        pads=pads,
        gate=rnn1.gate,
        update=rnn1.update,
    )


def patches(
    rows: npt.NDArray[np.generic], columns: int, stride: int, pads: Pads
) -> npt.NDArray[np.generic]:
    """Rows [n, r, W, h] as patches [n, OW, r, columns, h], padded with zeros at the left and right."""
    padded = np.pad(rows, ((0, 0), (0, 0), (pads[1], pads[3]), (0, 0)))
    out_width = (padded.shape[2] - columns) // stride + 1
    index = np.arange(out_width)[:, None] * stride + np.arange(columns)
    return padded[:, :, index].transpose(0, 2, 1, 3, 4)


def _even(array: Int16Array) -> Int16Array:
    """Rows and columns padded with zeros to even numbers: a unit of zeros keeps the state 0."""
    rows, columns = array.shape
    return np.pad(array, ((0, even(rows) - rows), (0, even(columns) - columns)))


@dataclass(frozen=True, slots=True)
class Case:
    """Parameters of a sample: sizes, places, gates, (zeta, nu) and the magnitude of the weights."""

    shape: tuple[int, int, int]
    hidden: Pair
    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    gates: tuple[str, str] = ("Sigmoid", "Tanh")
    mix: tuple[float, float] = (0.9, 0.05)
    gain: float = 1.0


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
)


def sample(rng: np.random.Generator, case: Case) -> Sample:
    """A random operator of the given case; ``gain`` above 1 drives products and states into saturation."""
    (h1, h2), channels = case.hidden, case.shape[2]

    def cell(inputs: int, h: int) -> FloatCell:
        w, r = rng.normal(size=(h, inputs)) / inputs**0.5, rng.normal(size=(h, h)) / h**0.5
        bias = rng.normal(size=(2, h)) * case.gain
        return FloatCell(w * case.gain, r * case.gain, bias, *case.mix, *case.gates)

    zero_point = int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))
    x, y = Quant(float(rng.uniform(0.01, 0.03)), zero_point), Quant(2.0**-7, int(rng.integers(-40, 40)))
    requant = make_requant("fast", np.array([2.0**-15 / y.scale * rng.choice([1.0, 1.7])]), 2**15, y.zero_point)
    rnn1, rnn2 = cell(channels, h1), cell(h1, h2)
    op = make_int(
        quantise_cell(rnn1, x.scale / 2**INPUT_SHIFT),
        quantise_cell(rnn2, 2.0**-15),
        requant,
        zero_point,
        (case.kernel, case.strides, case.pads),
    )
    source = TensorType(case.shape, "int8", x)
    return Sample(op, (source,), op.infer([source]).with_quant(y), str(case))
