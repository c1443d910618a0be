"""Dense layers: ONNX Gemm and MatMul of a vector with constant weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic, Int8Array, Int32Array, Requant
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Const, FloatOp, IntOp, Kernel, LinearFloatOp, Sample, Table, Window, WindowRows
from rnnc.ir.ops.linear import (
    accumulator_bound,
    clamp_range,
    merge_clamp,
    pack_pairs,
    quantise_linear,
    random_requant,
    requant_members,
)
from rnnc.ir.ops.linear_channels import Contraction, LinearOp
from rnnc.ir.types import FloatArray, Quant, TensorType


def checked_outputs(x: TensorType, weight_shape: tuple[int, ...]) -> int:
    """Number of outputs of weights [O, ...] for the elements of x; raises CompileError where they do not fit."""
    outputs, depth = weight_shape[0], int(np.prod(weight_shape[1:]))
    if depth != x.elements:
        raise CompileError(
            f"weights for {depth} inputs do not fit an input of {x.elements} elements",
            why=f"the input has the shape {x.height}x{x.width}x{x.channels}, and every element has its weight",
        )
    return outputs


@dataclass(frozen=True, eq=False)
class Dense(LinearFloatOp):
    """y = clamp(weight @ x + bias). weight [O, I] over the elements of x in (height, width, channels) order,
    bias [O]; y is (1, 1, O). Source: ONNX Gemm, MatMul."""

    weight: Const
    bias: Const | None = None
    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "dense"
    onnx: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        shape = b.onnx_shape(x)
        if len(shape) != 2:
            b.refuse(
                node,
                f"{node.op_type} of an input of shape {list(shape)}",
                why="dense layers take one vector: an input of shape (N, K)",
                remedy="flatten the input first, or use Conv with a 1x1 kernel for one layer per position",
            )
        if _integer(node, "transA", 0):
            b.refuse(node, f"{node.op_type} with transA=1", why="the first axis of the input is the batch")
        weight = b.const(node, 1)
        if weight.values.ndim != 2:
            b.refuse(
                node,
                f"{node.op_type} with weights of shape {list(weight.values.shape)}",
                why="weights of two axes are supported",
            )
        op = cls(
            _by_output(weight, bool(_integer(node, "transB", 0)), _real(node, "alpha", 1.0)),
            _bias(node, b, int(weight.values.shape[0 if _integer(node, "transB", 0) else 1])),
        )
        y = b.emit(op, [b.to_hwc(x)], node.outputs[0])
        return b.from_hwc(y, (1, y.type.channels))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, 1, checked_outputs(inputs[0], self.weight.values.shape)))

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        acc = self.weight.values.astype(np.float64) @ inputs[0].astype(np.float64).ravel()
        if self.bias is not None:
            acc = acc + self.bias.values
        low, high = clamp_range(self.low, self.high)
        return np.clip(acc, low, high).astype(np.float32).reshape(1, 1, -1)

    def operands(self, x: FloatArray, rng: np.random.Generator, limit: int) -> FloatArray:
        return x.reshape(1, 1, -1)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        linear = quantise_linear(
            self.weight,
            self.bias,
            inputs[0].required_quant,
            output.required_quant,
            arithmetic,
            self.low,
            self.high,
            product_in_float32=arithmetic == "tflite",
        )
        return DenseInt(linear.weight.reshape(-1, *inputs[0].shape), linear.bias, linear.requant)

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        return replace(self, **merge_clamp(self.low, self.high, low, high))

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.weight.values.size


@dataclass(frozen=True, eq=False)
class DenseInt(LinearOp):
    """int8 dense layer. weight int8 [O, H, W, C]; bias int32 [O] with the input zero point folded in."""

    weight: Int8Array
    bias: Int32Array
    requant: Requant

    name: ClassVar[str] = "dense_s8"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, 1, checked_outputs(inputs[0], self.weight.shape)), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, inputs[0].height),)

    def accumulators(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        rows = windows[0].values
        x = rows.reshape(len(rows), -1).astype(np.float64)
        # exact: the sums stay below 2^53
        acc = x @ self.weight.reshape(len(self.bias), -1).T.astype(np.float64)
        return (np.rint(acc).astype(np.int64) + self.bias)[:, None, :]

    def requantised(self, acc: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.requant.apply_once(acc)

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.weight.size

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        pairs, odd = divmod(output.channels, 2)
        height, row_size = inputs[0].height, inputs[0].width * inputs[0].channels
        counts = {
            "jobs": 1,
            "pairs": pairs,
            "rows": pairs * height,
            "steps": pairs * height * (row_size // 4),
            "tails": pairs * height if row_size % 4 else 0,
            "odd macs": odd * height * row_size,
            f"outputs {self.requant.arithmetic}": output.channels,
        }
        return (Work(self.name, counts),)

    def weight_bytes(self) -> int:
        per_channel = 8 if self.requant.arithmetic == "fast" else 9  # bias, multiplier and shift
        return self.packed_weight().size + per_channel * self.bias.size

    def contraction(self, inputs: Sequence[TensorType]) -> Contraction:
        return Contraction.of(self.weight, self.bias)

    def with_weights(self, weight: Int8Array, bias: Int32Array, requant: Requant, groups: int) -> DenseInt:
        return replace(self, weight=weight, bias=bias, requant=requant)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            "weights": Table("int8_t", self.packed_weight()),
            "bias": Table("int32_t", self.bias),
            **requant_members(self.requant),
            "rows": inputs[0].height,
            "row_size": inputs[0].width * inputs[0].channels,
            "outputs": output.channels,
        }
        return Kernel("rnnc_dense_s8", "rnnc_dense", members, "dense")

    def packed_weight(self) -> Int8Array:
        """Weights in the order in which the kernel reads them: rnnc_dense.h."""
        outputs, height = self.weight.shape[:2]
        rows = self.weight.reshape(outputs, height, -1)
        padded = np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % 4)))
        return pack_pairs(padded.reshape(outputs, -1))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, outputs in CASES:
            for arithmetic in ARITHMETICS:
                weight = rng.integers(-127, 128, (outputs, *shape)).astype(np.int8)
                bias = rng.integers(-(2**13), 2**13, outputs).astype(np.int32)
                requant = random_requant(rng, arithmetic, outputs, accumulator_bound(weight, bias))
                x = TensorType(shape, "int8", Quant(0.05, int(rng.integers(-128, 128))))
                y = TensorType((1, 1, outputs), "int8", Quant(0.1, requant.zero_point))
                label = f"{arithmetic} {'x'.join(map(str, shape))} -> {outputs}"
                yield Sample(cls(weight, bias, requant), (x,), y, label)


ARITHMETICS: tuple[Arithmetic, ...] = ("fast", "tflite")
CASES: tuple[tuple[tuple[int, int, int], int], ...] = (
    ((1, 1, 1), 1),
    ((1, 1, 3), 2),
    ((1, 1, 4), 5),
    ((1, 1, 67), 10),
    ((2, 3, 5), 3),
    ((5, 1, 7), 4),
    ((3, 4, 16), 12),
    ((64, 1, 2), 3),
)


def _integer(node: SourceNode, name: str, default: int) -> int:
    return int(node.attributes.get(name, default))  # type: ignore[arg-type]


def _real(node: SourceNode, name: str, default: float) -> float:
    return float(node.attributes.get(name, default))  # type: ignore[arg-type]


def _by_output(weight: Const, transposed: bool, alpha: float) -> Const:
    """ONNX's weights [I, O] ([O, I] if ``transposed``), times alpha, as [O, I].

    Stored integers are kept where their scales belong to outputs and alpha does not turn the sign.
    """
    values = weight.values if transposed else weight.values.T
    values = np.ascontiguousarray(values * np.float32(alpha)).astype(np.float32)
    if weight.stored is None or weight.scale is None or alpha <= 0:
        return Const(values)
    if weight.scale.size != 1 and weight.axis % 2 != (0 if transposed else 1):
        return Const(values)
    stored = weight.stored if transposed else weight.stored.T
    return Const(values, np.ascontiguousarray(stored), weight.scale * alpha)


def _bias(node: SourceNode, b: Builder, outputs: int) -> Const | None:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return None
    bias, beta = b.const(node, 2), _real(node, "beta", 1.0)
    if bias.values.size not in (1, outputs):
        b.refuse(
            node,
            f"{node.op_type} with a bias of shape {list(bias.values.shape)} for {outputs} outputs",
            why="a bias has one element per output",
        )
    values = np.broadcast_to(bias.values.ravel() * np.float32(beta), (outputs,)).astype(np.float32)
    if bias.stored is None or bias.scale is None or beta != 1.0:
        return Const(values)
    return Const(values, np.broadcast_to(bias.stored.ravel(), (outputs,)).copy(), bias.scale)
