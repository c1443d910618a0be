"""The FastGRNN cell of RNNPool, in real numbers and in fixed point.

    z = gate(W x + R h + B[0]);  u = update(W x + R h + B[1]);  h' = z * h + (zeta * (1 - z) + nu) * u;  h0 = 0

(Kusupati et al., FastGRNN, NeurIPS 2018.) In fixed point

    a = sat16(product(W, x) + sat16(product(R, h) + bias));  h' = sat16(z(a) * h + g(a) >> 15)     (rnnpool_gates.py)

or, if a function of the cell is piecewise linear, z = gate(a), u = update(sat16(a + lead)) and the blend of both. Every
matrix product is the one of CMSIS-DSP's arm_mat_vec_mult_q15, so that library and fused kernels give the same bytes:

    product(M, v) = sat16(sat16(sum_j M[i][j] * v[j] >> 15) << shift)          in Q11

M and v are int16, v being hidden states in Q15 or (input - zero point) << 7. `quantise_matrix` keeps every sum
of |M[i][j]| * 2^15 below 2^31, so that 32-bit accumulation is exact; ``shift`` is 0 unless the weights are so
large that this needs it. Both products of a cell truncate, by half a unit on average: the biases give it back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Int32Array, Int64Array
from rnnc.ir.ops.rnnpool_gates import (
    FRACTION,
    UNIT_SEGMENT_BITS,
    Float64Array,
    are_smooth,
    g_tables,
    gate_fixed,
    gate_real,
    interpolate,
    sat16,
    z_table,
)

Int16Array = npt.NDArray[np.int16]

INPUT_SHIFT = 7
"""(input - zero point) << 7 fills an int16: the difference of two int8 has 9 bits."""
MAX_SHIFT = 15
MAX_HIDDEN = 1000
"""Each unit has a table of 1 KiB."""
ROW_LIMIT = 2**16 - 1


@dataclass(frozen=True, eq=False)
class FloatCell:
    """A cell in real numbers: w [h, in], r [h, h], bias [2, h] (gate, update)."""

    w: Float64Array
    r: Float64Array
    bias: Float64Array
    zeta: float
    nu: float
    gate: str
    update: str

    def sweep(self, products: Float64Array, axis: int) -> Float64Array:
        """Final state after stepping along ``axis`` of ``products`` [..., h], the W x of every step."""
        steps = np.moveaxis(products, axis, 0)
        h = np.zeros(steps.shape[1:])
        for wx in steps:
            pre = wx + h @ self.r.T
            z = gate_real(self.gate, pre + self.bias[0])
            u = gate_real(self.update, pre + self.bias[1])
            h = z * h + (self.zeta * (1 - z) + self.nu) * u
        return h


@dataclass(frozen=True, eq=False)
class FixedCell:
    """A cell in fixed point: w, r int16; bias int16 [2, h] in Q11, the gate's and the update's lead over it; zeta, nu
    in Q15."""

    w: Int16Array
    w_shift: int
    r: Int16Array
    r_shift: int
    bias: Int16Array
    zeta: int
    nu: int
    gate: str
    update: str

    def products(self, vectors: Int64Array) -> Int64Array:
        """W x of vectors [..., in], in Q11."""
        return product(self.w, self.w_shift, vectors)

    def sweep(self, products: Int64Array, axis: int) -> Int64Array:
        """Final state in Q15 after stepping along ``axis`` of ``products`` [..., h]."""
        steps = np.moveaxis(products, axis, 0)
        h = np.zeros(steps.shape[1:], np.int64)
        for wx in steps:
            h = self.step(sat16(wx + sat16(product(self.r, self.r_shift, h) + self.bias[0])), h)
        return h

    def step(self, a: Int64Array, h: Int64Array) -> Int64Array:
        """The next state of gate arguments ``a`` and states ``h`` [..., h]."""
        if self.smooth:
            z = interpolate(z_table(), a, UNIT_SEGMENT_BITS) >> 16
            return sat16((z * h + interpolate(self.g_tables, a, UNIT_SEGMENT_BITS)) >> 15)
        z = gate_fixed(self.gate, a)
        u = gate_fixed(self.update, sat16(a + self.bias[1]))
        c = np.clip((self.blend - self.zeta * z) >> 15, 0, 32767)
        return sat16((z * h + c * u) >> 15)

    def reordered(self, units: npt.NDArray[np.int64], inputs: npt.NDArray[np.int64]) -> FixedCell:
        """The cell with its units and inputs in another order, of which the indices are given."""
        r = self.r[np.ix_(units, units)]
        return replace(self, w=self.w[np.ix_(units, inputs)], r=r, bias=self.bias[:, units])

    @property
    def smooth(self) -> bool:
        return are_smooth(self.gate, self.update)

    @cached_property
    def g_tables(self) -> Int32Array:
        return g_tables(self.bias[1], self.zeta, self.nu)

    @property
    def blend(self) -> int:
        """zeta + nu in Q30 to the nearest word whose lower half is -zeta, so that one register holds both."""
        ideal = ((self.zeta + self.nu) << 15) + (1 << 14)
        return int(min(ideal + (-self.zeta - ideal + 2**15) % 2**16 - 2**15, 2**31 - 2**16 - self.zeta))


def product(matrix: Int16Array, shift: int, vectors: Int64Array) -> Int64Array:
    """sat16(sat16(sum >> 15) << shift) of matrix [h, n] times vectors [..., n]."""
    # exact: sums stay below 2^31, far from float64's 2^53
    acc = np.rint(vectors.astype(np.float64) @ matrix.T.astype(np.float64)).astype(np.int64)
    return sat16(sat16(acc >> 15) << shift)


def quantise_cell(cell: FloatCell, input_unit: float) -> FixedCell:
    """Fixed-point parameters; ``input_unit`` is the real value of 1 in the int16 vectors that the cell reads.

    Raises CompileError for weights too large for any shift, and for more than MAX_HIDDEN units.
    """
    if len(cell.r) > MAX_HIDDEN:
        raise CompileError(
            f"an RNNPool cell of {len(cell.r)} hidden units",
            why=f"each takes a table of 1 KiB, and {MAX_HIDDEN} are the limit",
            remedy="use a smaller cell",
        )
    unit = 2.0 ** (FRACTION + 15)
    w, w_shift = quantise_matrix(cell.w * (input_unit * unit))
    r, r_shift = quantise_matrix(cell.r * (unit / 2**15))
    lost = (2**w_shift + 2**r_shift) / 2
    arguments = np.stack([cell.bias[0] * 2**FRACTION + lost, (cell.bias[1] - cell.bias[0]) * 2**FRACTION])
    bias = np.clip(np.rint(arguments), -32768, 32767).astype(np.int16)
    zeta = int(np.clip(np.rint(cell.zeta * 2**15), 0, 32768))
    nu = int(np.clip(np.rint(cell.nu * 2**15), 0, 32767))
    return FixedCell(w, w_shift, r, r_shift, bias, zeta, nu, cell.gate, cell.update)


def quantise_matrix(scaled: Float64Array) -> tuple[Int16Array, int]:
    """Weights in units of the product as int16 and the left shift that stands for what did not fit."""
    for shift in range(MAX_SHIFT + 1):
        stored = np.rint(scaled / 2**shift)
        fits = np.abs(stored).max(initial=0) <= 32767
        if fits and np.abs(stored).sum(axis=1).max(initial=0) <= ROW_LIMIT:
            return stored.astype(np.int16), shift
    raise CompileError(
        f"the weights of an RNNPool cell are too large: up to {float(np.abs(scaled).max()) / 2**FRACTION / 2**15:g} "
        "per unit of input",
        why="gate arguments are held within +-16, which such weights leave with the smallest input",
        remedy="check the weights, or calibrate the input with representative data",
    )
