"""Convolution: ONNX Conv with any group, stride, padding and dilation, in one or two dimensions."""

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
from rnnc.ir.ops.conv_cases import CASES, Case
from rnnc.ir.ops.conv_packing import column_length, pack_columns, pack_rows
from rnnc.ir.ops.conv_work import conv_work
from rnnc.ir.ops.linear import (
    accumulator_bound,
    clamp_range,
    merge_clamp,
    quantise_linear,
    random_requant,
    requant_members,
)
from rnnc.ir.ops.linear_channels import Contraction, LinearOp, tap_patterns
from rnnc.ir.types import FloatArray, Quant, TensorType

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""top, left, bottom, right"""


STRIP_PIXELS = 6
"""Output pixels whose windows stand side by side in a convolution's scratch (runtime/c/src/dsp/conv.c), or more where
that takes no more than STRIP_BYTES."""
STRIP_BYTES = 1024


SEGMENT_BYTES = 12
"""Of one tap's addresses, where rows are read as they are (runtime/c/src/dsp/conv_rows.c)."""


def output_extent(extent: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    return (extent + before + after - (kernel - 1) * dilation - 1) // stride + 1


def convolved_shape(
    x: TensorType, weight_shape: tuple[int, ...], strides: Pair, pads: Pads, dilations: Pair, group: int
) -> tuple[int, int, int]:
    """Output shape of a convolution of x [H, W, C] by weights [O, KH, KW, C / group]."""
    out_channels, kernel_h, kernel_w, depth = weight_shape
    if depth * group != x.channels or out_channels % group:
        raise CompileError(
            f"weights of {weight_shape} (out, height, width, in per group) do not fit {x.channels} input channels",
            why=f"with group={group} they serve {depth * group} input channels",
        )
    height = output_extent(x.height, kernel_h, strides[0], dilations[0], pads[0], pads[2])
    width = output_extent(x.width, kernel_w, strides[1], dilations[1], pads[1], pads[3])
    if height < 1 or width < 1:
        raise CompileError(
            f"the kernel {kernel_h}x{kernel_w} is larger than its padded input {x.height}x{x.width}",
            remedy="check the input size or the padding",
        )
    return height, width, out_channels


@dataclass(frozen=True, eq=False)
class Conv(LinearFloatOp):
    """y = clamp(conv(x, weight) + bias). weight [O, KH, KW, I / group], bias [O]; source: ONNX Conv."""

    weight: Const
    bias: Const | None = None
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    group: int = 1
    low: float | None = None
    high: float | None = None

    name: ClassVar[str] = "conv"
    onnx: ClassVar[tuple[str, ...]] = ("Conv",)

    @classmethod
    def from_onnx(cls, node: SourceNode, b: Builder) -> Value:
        x = b.value(node, 0)
        shape = b.onnx_shape(x)
        if len(shape) not in (3, 4):
            b.refuse(node, f"Conv over an input of rank {len(shape)}", why="1-D and 2-D convolutions are supported")
        one_d = len(shape) == 3
        weight = b.const(node, 1)
        axes = (0, 2, 1) if one_d else (0, 2, 3, 1)
        spatial = weight.values.shape[2:]
        bias = b.const(node, 2) if len(node.inputs) > 2 and node.inputs[2] is not None else None
        strides = _pair(node, "strides", one_d)
        dilations = _pair(node, "dilations", one_d)
        group = int(node.attributes.get("group", 1))  # type: ignore[arg-type]
        packed = _transposed(weight, axes, one_d)
        pads = onnx_pads(node, b, shape[2:], spatial, strides, dilations)
        op = cls(packed, bias, strides, pads, dilations, group)
        y = b.emit(op, [b.to_hwc(x)], node.outputs[0])
        height, width, channels = y.type.shape
        return b.from_hwc(y, (1, channels, height) if one_d else (1, channels, height, width))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        shape = convolved_shape(
            inputs[0], self.weight.values.shape, self.strides, self.pads, self.dilations, self.group
        )
        return TensorType(shape)

    def evaluate(self, inputs: Sequence[FloatArray]) -> FloatArray:
        window = Window(0, self.weight.values.shape[1], self.strides[0], self.dilations[0], self.pads[0])
        height = self.infer([TensorType(inputs[0].shape)]).height
        index = np.arange(height)[:, None] * window.stride - window.pad + np.arange(window.rows) * window.dilation
        present = (index >= 0) & (index < inputs[0].shape[0])
        rows = inputs[0][np.clip(index, 0, inputs[0].shape[0] - 1)].astype(np.float64)
        rows[~present] = 0
        acc = convolve_rows(rows, self.weight.values, self, 0)
        if self.bias is not None:
            acc = acc + self.bias.values
        low, high = clamp_range(self.low, self.high)
        return np.clip(acc, low, high).astype(np.float32)

    def operands(self, x: FloatArray, rng: np.random.Generator, limit: int) -> FloatArray:
        height, width, _ = self.infer([TensorType(x.shape)]).shape
        chosen = rng.choice(height * width, min(limit, height * width), replace=False)
        top, left, bottom, right = self.pads
        padded = np.pad(x, ((top, bottom), (left, right), (0, 0)))
        _, kernel_h, kernel_w, depth = self.weight.values.shape
        rows = (chosen // width * self.strides[0])[:, None] + np.arange(kernel_h) * self.dilations[0]
        columns = (chosen % width * self.strides[1])[:, None] + np.arange(kernel_w) * self.dilations[1]
        patches = padded[rows[:, :, None], columns[:, None, :]]  # position, KH, KW, C
        grouped = patches.reshape(len(chosen), kernel_h, kernel_w, self.group, depth)
        operands: FloatArray = np.moveaxis(grouped, 3, 1).reshape(len(chosen), self.group, -1)
        return operands

    def quantise(self, inputs: Sequence[TensorType], output: TensorType, arithmetic: Arithmetic) -> IntOp:
        linear = quantise_linear(
            self.weight, self.bias, inputs[0].required_quant, output.required_quant, arithmetic, self.low, self.high
        )
        zero_point = inputs[0].required_quant.zero_point
        return Conv2D(
            linear.weight, linear.bias, linear.requant, zero_point, self.strides, self.pads, self.dilations, self.group
        )

    def with_clamp(self, low: float | None, high: float | None) -> FloatOp | None:
        return replace(self, **merge_clamp(self.low, self.high, low, high))

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.elements * int(np.prod(self.weight.values.shape[1:]))


@dataclass(frozen=True, eq=False)
class Conv2D(LinearOp):
    """int8 convolution. weight int8 [O, KH, KW, I / group]; bias int32 [O] with the input zero point folded in.

    ``pixels`` trades scratch for speed: output pixels whose windows stand side by side in scratch. With 1, rows are
    read as they are where that is possible. Depthwise kernels have no such choice.
    """

    weight: Int8Array
    bias: Int32Array
    requant: Requant
    zero_point: int
    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    group: int = 1
    pixels: int = STRIP_PIXELS

    name: ClassVar[str] = "conv2d"

    @property
    def depthwise(self) -> bool:
        return bool(self.weight.shape[3] == 1 and len(self.bias) == self.group)

    @property
    def kind(self) -> str:
        """The kernel that runs it."""
        if self.depthwise:
            usual = self.weight.shape[1:3] == (3, 3) and self.dilations[1] == 1 and self.strides[1] <= 2
            return "depthwise3x3" if usual else "depthwise"
        if self.from_rows:
            return "pointwise_rows" if self.pointwise else "conv_rows"
        return "pointwise_columns" if self.pointwise and self.strides[1] == 1 else "conv2d"

    @property
    def from_rows(self) -> bool:
        """Whether a dense kernel reads its rows as they are."""
        side_by_side = self.group == 1 and self.dilations[1] == 1 and self.weight.shape[3] % 4 == 0
        return self.pixels == 1 and side_by_side

    @property
    def pointwise(self) -> bool:
        return bool(self.group == 1 and self.weight.shape[1:3] == (1, 1) and not any(self.pads))

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        shape = convolved_shape(inputs[0], self.weight.shape, self.strides, self.pads, self.dilations, self.group)
        return TensorType(shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, self.weight.shape[1], self.strides[0], self.dilations[0], self.pads[0]),)

    def accumulators(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        rows = windows[0].values.astype(np.float64)
        rows[~windows[0].present] = self.zero_point
        acc = convolve_rows(rows, self.weight, self, self.zero_point)
        return np.rint(acc).astype(np.int64) + self.bias

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.elements * int(np.prod(self.weight.shape[1:]))

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return (conv_work(self, inputs[0], output),)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        if self.depthwise:
            return output.channels + -output.channels % 4 if self.kind == "depthwise3x3" else 0
        _, kernel_h, kernel_w, depth = self.weight.shape
        if self.from_rows:
            return 0 if self.pointwise else SEGMENT_BYTES * (kernel_h * kernel_w + 1) + kernel_w * depth
        pixels = min(output.width, self.strip_pixels)
        columns = pixels * kernel_w
        if self.dilations[1] == 1 and self.strides[1] <= kernel_w:
            columns = (pixels - 1) * self.strides[1] + kernel_w
        values = column_length(kernel_h, depth)
        return int(2 * (columns * values + -(kernel_w * values) % 4))

    @property
    def strip_pixels(self) -> int:
        """Output pixels that a dense kernel has in its scratch at once, in a row that is wide enough."""
        if self.pixels != STRIP_PIXELS:
            return self.pixels
        _, kernel_h, kernel_w, depth = self.weight.shape
        shared = self.dilations[1] == 1 and self.strides[1] < kernel_w
        added = 2 * column_length(kernel_h, depth) * (self.strides[1] if shared else kernel_w)
        return int(max(STRIP_PIXELS if shared else 3, STRIP_BYTES // added // 3 * 3))

    def leaner(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Conv2D, ...]:
        variants: list[Conv2D] = []
        least = self.scratch_bytes(inputs, output)
        for pixels in [pixels for pixels in (3, 2, 1) if pixels < self.pixels]:
            variant = replace(self, pixels=pixels)
            if variant.scratch_bytes(inputs, output) < least:
                variants.append(variant)
                least = variant.scratch_bytes(inputs, output)
        return tuple(variants)

    def weight_bytes(self) -> int:
        per_channel = 8 if self.requant.arithmetic == "fast" else 9  # bias, multiplier and shift
        return self.packed_weight().size + per_channel * self.bias.size

    def constants_read(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        """Dense kernels go through all weights for two or three pixels at a time."""
        if self.depthwise:
            return 0
        counts = self.work(inputs, output)[0].counts
        calls = sum(count for step, count in counts.items() if step.startswith("calls of "))
        return calls * self.weight_bytes() // self.group

    def contraction(self, inputs: Sequence[TensorType]) -> Contraction:
        y = self.infer(inputs)
        _, kernel_h, kernel_w, _ = self.weight.shape
        down = tap_patterns(inputs[0].height, y.height, kernel_h, self.strides[0], self.dilations[0], self.pads[0])
        across = tap_patterns(inputs[0].width, y.width, kernel_w, self.strides[1], self.dilations[1], self.pads[1])
        patterns = (down[:, None, :, None] & across[None, :, None, :]).reshape(-1, kernel_h * kernel_w)
        return Contraction.of(self.weight, self.bias, patterns, self.zero_point, self.group)

    def with_weights(self, weight: Int8Array, bias: Int32Array, requant: Requant, groups: int) -> Conv2D:
        return replace(self, weight=weight, bias=bias, requant=requant, group=groups)

    def first_channels(self, channels: int) -> Conv2D:
        """The same with its first output channels only; of a depthwise one those of its input, too."""
        group = channels if self.depthwise else 1
        return replace(self, weight=self.weight[:channels], bias=self.bias[:channels], group=group)

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        members = {
            "weights": Table("int8_t", self.packed_weight()),
            "bias": Table("int32_t", self.bias),
            **requant_members(self.requant),
            "in_width": inputs[0].width,
            "in_channels": inputs[0].channels,
            "out_width": output.width,
            "out_channels": output.channels,
            "kernel_h": self.weight.shape[1],
            "kernel_w": self.weight.shape[2],
            "stride_w": self.strides[1],
            "dilation_w": self.dilations[1],
            "pad_left": self.pads[1],
            "groups": self.group,
            "in_zero_point": self.zero_point,
            "pixels": self.strip_pixels,
        }
        return Kernel(f"rnnc_{self.kind}_s8", "rnnc_conv2d", members, "conv")

    def packed_weight(self) -> Int8Array:
        """Weights in the order in which the kernel reads them; rnnc_conv.h describes it."""
        out = self.weight.shape[0]
        if not self.depthwise:
            return pack_rows(self.weight) if self.from_rows else pack_columns(self.weight, self.group)
        taps = self.weight.reshape(out, -1).T
        padded = np.pad(taps, ((0, 0), (0, -out % 4)))
        return np.ascontiguousarray(padded.reshape(len(taps), -1, 4).swapaxes(0, 1))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        return cls.samples_of(rng, CASES)

    @classmethod
    def samples_of(cls, rng: np.random.Generator, cases: Sequence[Case]) -> Iterator[Sample]:
        """The cases in both arithmetics, each in all variants."""
        for case in cases:
            shape, out, kernel, strides, pads, dilations, group = case
            for arithmetic in ("fast", "tflite"):
                weight = rng.integers(-127, 128, (out, *kernel, shape[2] // group)).astype(np.int8)
                zero_point = int(rng.integers(-128, 128))
                x = TensorType(shape, "int8", Quant(0.05, zero_point))
                bias = rng.integers(-(2**13), 2**13, out).astype(np.int32)
                requant = random_requant(rng, arithmetic, out, accumulator_bound(weight, bias))
                op = cls(weight, bias, requant, zero_point, strides, pads, dilations, group)
                y = op.infer([x]).with_quant(Quant(0.1, requant.zero_point))
                yield Sample(op, (x,), y, f"{arithmetic} {case}")
                for variant in op.leaner([x], y):
                    yield Sample(variant, (x,), y, f"{arithmetic} {case}, pixels {variant.pixels}")


def convolve_rows(
    rows: npt.NDArray[np.float64], weight: npt.NDArray[np.generic], op: Conv | Conv2D, pad: int
) -> npt.NDArray[np.float64]:
    """Accumulators [n, OW, O] of gathered rows [n, KH, W, C]; exact for integers (below 2^53 in float64)."""
    n, _, width, channels = rows.shape
    out_channels, _, kernel_w, depth = weight.shape
    stride, dilation, left, right = op.strides[1], op.dilations[1], op.pads[1], op.pads[3]
    out_width = output_extent(width, kernel_w, stride, dilation, left, right)
    padded = np.pad(rows, ((0, 0), (0, 0), (left, right), (0, 0)), constant_values=pad)
    columns = np.arange(out_width)[:, None] * stride + np.arange(kernel_w) * dilation
    patches = padded[:, :, columns].transpose(0, 2, 1, 3, 4)  # n, OW, KH, KW, C
    group = channels // depth
    if depth == 1 and out_channels == group:
        taps = np.moveaxis(weight[..., 0].astype(np.float64), 0, -1)
        summed: npt.NDArray[np.float64] = np.einsum("nxijc,ijc->nxc", patches, taps)
        return summed
    per_group = out_channels // group
    parts = []
    for index in range(group):
        block = patches[..., index * depth : (index + 1) * depth].reshape(n * out_width, -1)
        kernel = weight[index * per_group : (index + 1) * per_group].astype(np.float64).reshape(per_group, -1)
        parts.append((block @ kernel.T).reshape(n, out_width, per_group))
    return np.concatenate(parts, axis=2)


def onnx_pads(
    node: SourceNode, b: Builder, extent: Sequence[int], kernel: Sequence[int], strides: Pair, dilations: Pair
) -> Pads:
    """Padding from ONNX's pads or auto_pad (Conv and the pooling operators share the rule)."""
    auto = str(node.attributes.get("auto_pad", "NOTSET"))
    rank = len(extent)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for axis in range(rank):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            steps = -(-extent[axis] // strides[axis])
            total = max(0, (steps - 1) * strides[axis] + reach - extent[axis])
            small, large = total // 2, total - total // 2
            before.append(small if auto == "SAME_UPPER" else large)
            after.append(large if auto == "SAME_UPPER" else small)
        given = tuple(before + after)
    elif auto in ("NOTSET", "VALID"):
        given = tuple(node.attributes.get("pads", (0,) * (2 * rank))) if auto == "NOTSET" else (0,) * (2 * rank)  # type: ignore[arg-type]
    else:
        b.refuse(node, f"auto_pad={auto}", why="it is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    if any(pad < 0 for pad in given):
        b.refuse(node, f"negative padding {given}", remedy="use Slice to crop")
    return (given[0], 0, given[1], 0) if rank == 1 else (given[0], given[1], given[2], given[3])


def _pair(node: SourceNode, name: str, one_d: bool) -> Pair:
    given = tuple(node.attributes.get(name, (1,) if one_d else (1, 1)))  # type: ignore[arg-type]
    return (given[0], 1) if one_d else (given[0], given[1])


def _transposed(weight: Const, axes: tuple[int, ...], one_d: bool) -> Const:
    """ONNX's O I H W (or O I L) weights as O H W I."""

    def order(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        moved = array.transpose(axes)
        return np.ascontiguousarray(moved[:, :, None, :] if one_d else moved)

    stored = None if weight.stored is None else order(weight.stored).astype(np.int64)
    return Const(order(weight.values).astype(np.float32), stored, weight.scale, weight.axis)
