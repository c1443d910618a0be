"""RNNPool: two small RNNs sweep the rows and columns of every patch (Saha et al., NeurIPS 2020; DESIGN section 4).

RNN1 summarises each row of a patch left to right and each column top to bottom. RNN2 runs over the row summaries
top-down (q1) and bottom-up (q2) and over the column summaries left-right (q3) and right-left (q4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Const, FloatOp, IntOp
from rnnc.ir.ops.rnnpool_cell import INPUT_SHIFT, FloatCell, quantise_cell
from rnnc.ir.ops.rnnpool_gates import GATES, UPDATES
from rnnc.ir.ops.rnnpool_geometry import Geometry, Pads, Pair, Sizes, pooled_shape
from rnnc.ir.ops.rnnpool_import import choice, kernel_shape, pads, strides, zeta_nu
from rnnc.ir.ops.rnnpool_int import make_int, output_rule, patches
from rnnc.ir.types import FloatArray, TensorType

CONSTANTS = ("W1", "R1", "B1", "W2", "R2", "B2")


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
            w1=b.const(node, 1),
            r1=b.const(node, 2),
            b1=b.const(node, 3),
            w2=b.const(node, 4),
            r2=b.const(node, 5),
            b2=b.const(node, 6),
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
        for label, const, shape in zip(CONSTANTS, consts, wanted, strict=True):
            if const.values.shape != shape:
                why = "W is [h, in], R [h, h] and B [2, h]; RNN2 reads the h1 states of RNN1"
                b.refuse(node, f"{label} has shape {const.values.shape} where {shape} is needed", why=why)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if self.w1.values.shape[1] != inputs[0].channels:
            raise CompileError(
                f"W1 of {self.w1.values.shape} does not fit {inputs[0].channels} input channels",
                why="W1 is [h1, input channels]",
            )
        return TensorType(pooled_shape(inputs[0], self.kernel, self.strides, self.pads, self.r2.values.shape[0]))

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
        op = make_int(
            quantise_cell(rnn1, x.scale / 2**INPUT_SHIFT),
            quantise_cell(rnn2, 2.0**-15),
            output_rule(y),
            x.zero_point,
            (self.kernel, self.strides, self.pads),
        )
        return op.fastest(inputs[0], output)

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Every patch by itself, as the paper counts."""
        return self._geometry(inputs[0], output).nominal_macs()

    def _geometry(self, x: TensorType, y: TensorType) -> Geometry:
        sizes = Sizes(x.channels, self.r1.values.shape[0], self.r2.values.shape[0])
        return Geometry(sizes, self.kernel, self.strides, y.height, y.width)
