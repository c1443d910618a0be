"""Add, Sub and Mul of two values of one shape, or of which the second is one pixel that serves all of the first.

The same operators with a constant operand are per-channel affine maps: rnnc/ir/ops/affine.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import (
    Arithmetic,
    Int64Array,
    Requant,
    make_requant,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
)
from rnnc.ir.graph import Value
from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.op import Channelwise, Const, Field, FloatOp, IntOp, Kernel, Sample, Window, WindowRows
from rnnc.ir.ops.affine import import_affine
from rnnc.ir.ops.linear import clamp_range, merge_clamp, quantised_clamp, requant_members
from rnnc.ir.types import FloatArray, Quant, TensorType

AffineKinds = tuple[Literal["add", "mul", "sub"], Literal["add", "mul", "rsub"]]


@dataclass(frozen=True, eq=False)
class Elementwise(FloatOp):
    """y = clamp(a op b), of any rank; extents of b may be 1, as ONNX broadcasts them."""

    low: float | None = None
    high: float | None = None

    arity: ClassVar[tuple[int, int]] = (2, 2)
    onnx: ClassVar[tuple[str, ...]] = ()
    affine: ClassVar[AffineKinds]
    """What it is when its second, or its first, operand is a constant."""

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        if isinstance(node.inputs[1], Const):
            return import_affine(node, b, "div" if node.op_type == "Div" else cls.affine[0])
        if node.op_type == "Div":
            b.refuse(node, "a division by a computed value", why="Div takes a constant divisor")
        if isinstance(node.inputs[0], Const):
            return import_affine(node, b, cls.affine[1])
        x, y = b.value(node, 0), b.value(node, 1)
        first, second = b.onnx_shape(x), b.onnx_shape(y)
        if len(first) != len(second):
            b.refuse(
                node,
                f"operands of shapes {first} and {second}",
                why="both need the same rank",
                remedy="insert a Reshape or Unsqueeze so that their channels line up",
            )
        if math.prod(second) > math.prod(first):
            return b.emit(cls.exchanged(), [y, x], node.outputs[0])
        return b.emit(cls(), [x, y], node.outputs[0])

    @classmethod
    def exchanged(cls) -> Elementwise:
        """The operator that computes b op a."""
        return cls()

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        first, second = inputs[0].shape, inputs[1].shape
        if len(first) != len(second) or any(b not in (1, a) for a, b in zip(first, second, strict=True)):
            raise CompileError(
                f"operands of shapes {first} and {second}",
                why="one of them must have the shape of the output",
            )
        return TensorType(first)

    def clamped(self, y: npt.NDArray[np.float64]) -> FloatArray:
        return np.clip(y, *clamp_range(self.low, self.high)).astype(np.float32)

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        return replace(self, **merge_clamp(self.low, self.high, low, high))


@dataclass(frozen=True, eq=False)
class Add(Elementwise):
    """y = clamp(a + b); source: ONNX Add."""

    name: ClassVar[str] = "add"
    onnx: ClassVar[tuple[str, ...]] = ("Add",)
    affine: ClassVar[AffineKinds] = ("add", "add")

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return self.clamped(inputs[0].astype(np.float64) + inputs[1])

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        return quantise_sum(inputs, output, arithmetic, (1, 1), (self.low, self.high))


@dataclass(frozen=True, eq=False)
class Sub(Elementwise):
    """y = clamp(a - b), or clamp(b - a) if ``reverse``; source: ONNX Sub."""

    reverse: bool = False

    name: ClassVar[str] = "sub"
    onnx: ClassVar[tuple[str, ...]] = ("Sub",)
    affine: ClassVar[AffineKinds] = ("sub", "rsub")

    @classmethod
    def exchanged(cls) -> Elementwise:
        return cls(reverse=True)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        difference = inputs[0].astype(np.float64) - inputs[1]
        return self.clamped(-difference if self.reverse else difference)

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        signs = (-1, 1) if self.reverse else (1, -1)
        return quantise_sum(inputs, output, arithmetic, signs, (self.low, self.high))


@dataclass(frozen=True, eq=False)
class Mul(Elementwise):
    """y = clamp(a * b); source: ONNX Mul (and Div by a constant)."""

    name: ClassVar[str] = "mul"
    onnx: ClassVar[tuple[str, ...]] = ("Mul", "Div")
    affine: ClassVar[AffineKinds] = ("mul", "mul")

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        return self.clamped(inputs[0].astype(np.float64) * inputs[1])

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        a, b, y = (type_.required_quant for type_ in (*inputs, output))
        low, high = quantised_clamp(y, self.low, self.high)
        # TensorFlow Lite computes this quotient in float32
        real = float(np.float32(a.scale) * np.float32(b.scale) / np.float32(y.scale))
        requant = make_requant(arithmetic, np.array([real]), 255 * 255, y.zero_point, low, high)
        kind = MulPixelInt8 if one_pixel(inputs) else MulInt8
        return kind(a.zero_point, b.zero_point, requant)


class ElementwiseInt(Channelwise):
    """int8 operators over two rows."""

    pixel: ClassVar[bool] = False
    """The second operand is one pixel, read for every row."""
    arity: ClassVar[tuple[int, int]] = (2, 2)
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        if one_pixel(inputs) != self.pixel:
            raise broadcast_error(inputs)
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1), Window(1, 1, stride=0 if self.pixel else 1))

    def shape_members(self, inputs: Sequence[TensorType]) -> dict[str, Field]:
        row = inputs[0].row_bytes
        return {"elements": row, "period": inputs[0].channels if self.pixel else row}


@dataclass(frozen=True, eq=False)
class AddInt8(ElementwiseInt):
    """y = clip((a * multipliers[0] + b * multipliers[1] + bias) >> shift, low, high); 16-bit multipliers."""

    multipliers: tuple[int, int]
    bias: int
    shift: int
    low: int = -128
    high: int = 127

    name: ClassVar[str] = "add_s8"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        a, b = (window.values[:, 0] for window in windows)
        acc = a * self.multipliers[0] + b * self.multipliers[1] + self.bias
        y: Int64Array = np.clip(acc >> self.shift, self.low, self.high)
        return y

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.shape_members(inputs),
            "multiplier_a": self.multipliers[0],
            "multiplier_b": self.multipliers[1],
            "bias": self.bias,
            "shift": self.shift,
            "low": self.low,
            "high": self.high,
        }
        return Kernel("rnnc_add_s8", "rnnc_add", members, "elementwise")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from sum_samples(rng, "fast", cls.pixel)


class AddPixelInt8(AddInt8):
    """`AddInt8` of a tensor and one pixel."""

    name: ClassVar[str] = "add_pixel_s8"
    pixel: ClassVar[bool] = True
    in_place: ClassVar[tuple[int, ...]] = (0,)


@dataclass(frozen=True, eq=False)
class AddTflite(ElementwiseInt):
    """TensorFlow Lite's ADD and SUB: both inputs are brought to a common scale with 20 more bits.

    y = clip(out * (a * (x - zp) ± b * (x' - zp'))) + zp; each scaling is a (multiplier, shift).
    """

    zero_points: tuple[int, int]
    signs: tuple[int, int]
    scale_a: tuple[int, int]
    scale_b: tuple[int, int]
    scale_out: tuple[int, int]
    out_zero_point: int
    low: int = -128
    high: int = 127

    name: ClassVar[str] = "add_tflite_s8"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        total: Int64Array = np.zeros(1, np.int64)
        scales = (self.scale_a, self.scale_b)
        for window, zero_point, sign, scale in zip(windows, self.zero_points, self.signs, scales, strict=True):
            fine = (window.values[:, 0] - zero_point) << LEFT_SHIFT
            total = total + sign * multiply_by_quantized_multiplier(fine, *as_arrays(scale))
        scaled = multiply_by_quantized_multiplier(total, *as_arrays(self.scale_out))
        return np.clip(scaled + self.out_zero_point, self.low, self.high)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.shape_members(inputs),
            "zero_point_a": self.zero_points[0],
            "zero_point_b": self.zero_points[1],
            "sign_a": self.signs[0],
            "sign_b": self.signs[1],
            "multiplier_a": self.scale_a[0],
            "shift_a": self.scale_a[1],
            "multiplier_b": self.scale_b[0],
            "shift_b": self.scale_b[1],
            "multiplier_out": self.scale_out[0],
            "shift_out": self.scale_out[1],
            "out_zero_point": self.out_zero_point,
            "low": self.low,
            "high": self.high,
        }
        return Kernel("rnnc_add_tflite_s8", "rnnc_add_tflite", members, "elementwise")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from sum_samples(rng, "tflite", cls.pixel)


class AddPixelTflite(AddTflite):
    """`AddTflite` of a tensor and one pixel."""

    name: ClassVar[str] = "add_pixel_tflite_s8"
    pixel: ClassVar[bool] = True
    in_place: ClassVar[tuple[int, ...]] = (0,)


@dataclass(frozen=True, eq=False)
class MulInt8(ElementwiseInt):
    """y = requantised (a - zero_point_a) * (b - zero_point_b)."""

    zero_point_a: int
    zero_point_b: int
    requant: Requant

    name: ClassVar[str] = "mul_s8"

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        a, b = (window.values[:, 0] for window in windows)
        return self.requant.apply((a - self.zero_point_a) * (b - self.zero_point_b))

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        (work,) = super().work(inputs, output)
        return (replace(work, kernel=f"{self.name} {self.requant.arithmetic}"),)

    def weight_bytes(self) -> int:
        return 4

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            **self.shape_members(inputs),
            "zero_point_a": self.zero_point_a,
            "zero_point_b": self.zero_point_b,
            **requant_members(self.requant),
        }
        return Kernel("rnnc_mul_s8", "rnnc_mul", members, "elementwise")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for arithmetic in ARITHMETICS:
            for shapes, a, b in sample_operands(rng, cls.pixel):
                y = Quant(a.scale * b.scale * 60, int(rng.choice([-128, 127, 5])))
                yield build_sample(Mul(), shapes, (a, b, y), arithmetic)
                steep = (Quant(0.5, 3), Quant(0.5, -7), Quant(0.002, 1))
                yield build_sample(Mul(-0.1, 0.2), shapes, steep, arithmetic)


class MulPixelInt8(MulInt8):
    """`MulInt8` of a tensor and one pixel (the gates of squeeze and excitation)."""

    name: ClassVar[str] = "mul_pixel_s8"
    pixel: ClassVar[bool] = True
    in_place: ClassVar[tuple[int, ...]] = (0,)


ARITHMETICS: tuple[Arithmetic, Arithmetic] = ("fast", "tflite")
LEFT_SHIFT = 20
MAX_SHIFT = 22
"""With it the output zero point and both products fit the 32-bit accumulator of AddInt8 together."""
Shape = tuple[int, int, int]


def as_arrays(scale: tuple[int, int]) -> tuple[Int64Array, Int64Array]:
    return np.asarray(scale[0], np.int64), np.asarray(scale[1], np.int64)


def one_pixel(inputs: Sequence[TensorType]) -> bool:
    """Whether the second operand is one pixel for a larger first. Raises CompileError if it is neither that nor of
    the first one's shape."""
    full, other = inputs[0].shape, inputs[1].shape
    if full == other:
        return False
    if other != (1, 1, full[-1]):
        raise broadcast_error(inputs)
    return True


def broadcast_error(inputs: Sequence[TensorType]) -> CompileError:
    return CompileError(
        f"operands of shapes {inputs[0].shape} and {inputs[1].shape} (height, width, channels)",
        why="the second may have the shape of the first, or be broadcast over its height and width",
        remedy="expand the smaller operand in the model",
    )


def quantise_sum(
    inputs: Sequence[TensorType],
    output: TensorType,
    arithmetic: Arithmetic,
    signs: tuple[int, int],
    clamp: tuple[float | None, float | None],
) -> IntOp:
    """signs[0] * inputs[0] + signs[1] * inputs[1]."""
    a, b, y = (type_.required_quant for type_ in (*inputs, output))
    pixel = one_pixel(inputs)
    low, high = quantised_clamp(y, *clamp)
    if arithmetic == "fast":
        return fast_sum(AddPixelInt8 if pixel else AddInt8, signs, (a, b, y), (low, high))
    twice_largest = 2.0 * max(a.scale, b.scale)
    scale_out = quantize_multiplier(twice_largest / ((1 << LEFT_SHIFT) * y.scale))
    if scale_out[1] > 0:
        raise sum_scale_error(a, b, y)
    return (AddPixelTflite if pixel else AddTflite)(
        (a.zero_point, b.zero_point),
        signs,
        quantize_multiplier(a.scale / twice_largest),
        quantize_multiplier(b.scale / twice_largest),
        scale_out,
        y.zero_point,
        low,
        high,
    )


def fast_sum(
    kind: type[AddInt8],
    signs: tuple[int, int],
    quants: tuple[Quant, Quant, Quant],
    clamp: tuple[int, int],
) -> AddInt8:
    a, b, y = quants
    largest = max(a.scale, b.scale) / y.scale
    shift = min(14 - math.floor(math.log2(largest)), MAX_SHIFT)
    if round(largest * 2.0**shift) > 32767:
        shift -= 1
    if shift < 1:
        raise sum_scale_error(a, b, y)
    multipliers = tuple(sign * round(q.scale / y.scale * 2.0**shift) for sign, q in zip(signs, (a, b), strict=True))
    bias = (y.zero_point << shift) + (1 << (shift - 1))
    bias -= a.zero_point * multipliers[0] + b.zero_point * multipliers[1]
    return kind((multipliers[0], multipliers[1]), bias, shift, *clamp)


def sum_scale_error(a: Quant, b: Quant, y: Quant) -> CompileError:
    return CompileError(
        f"the output scale {y.scale:g} is far smaller than the input scales {a.scale:g} and {b.scale:g}",
        why="every output would saturate",
        remedy="calibrate with representative data",
    )


def sample_operands(rng: np.random.Generator, pixel: bool) -> Iterator[tuple[tuple[Shape, Shape], Quant, Quant]]:
    """Shapes and input quantisations for tests: unaligned rows, single pixels."""
    shapes: tuple[Shape, ...] = ((3, 4, 5), (2, 3, 7), (4, 8, 8), (3, 1, 6), (1, 7, 1))
    for shape in shapes if pixel else (*shapes, (1, 1, 1)):
        a, b = (Quant(float(rng.uniform(0.01, 0.1)), int(rng.choice([-128, 127, 0, 77]))) for _ in range(2))
        yield (shape, (1, 1, shape[2]) if pixel else shape), a, b


def sum_samples(rng: np.random.Generator, arithmetic: Arithmetic, pixel: bool) -> Iterator[Sample]:
    for op in (Add(), Add(low=0.0), Sub(low=-1.0, high=1.0), Sub(reverse=True)):
        for shapes, a, b in sample_operands(rng, pixel):
            y = Quant(max(a.scale, b.scale) * float(rng.choice([0.7, 1.5])), int(rng.choice([-128, 127, 9])))
            yield build_sample(op, shapes, (a, b, y), arithmetic)
    extremes = ((0.001, 0.9, 0.01), (0.5, 0.4, 0.0005), (0.0004, 0.0003, 0.9))
    for scales in extremes:
        quants = (Quant(scales[0], -128), Quant(scales[1], 127), Quant(scales[2], -128))
        yield build_sample(Sub(), ((2, 3, 5), (1, 1, 5) if pixel else (2, 3, 5)), quants, arithmetic)


def build_sample(
    op: Elementwise,
    shapes: tuple[Shape, Shape],
    quants: tuple[Quant, Quant, Quant],
    arithmetic: Arithmetic,
) -> Sample:
    a, b, y = (TensorType(shape, "int8", quant) for shape, quant in zip((*shapes, shapes[0]), quants, strict=True))
    scales = [round(quant.scale, 4) for quant in quants]
    label = f"{arithmetic} {op.name} {shapes} scales {scales}"
    return Sample(op.quantise([a, b], y, arithmetic), (a, b), y, label)
