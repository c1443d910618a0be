"""MobileNet's blocks as one operator each: no wide tensor is ever held, not even a row of it.

No pass makes them: the scheduler chooses them where rows of the wide tensors cost too much memory. The output row is
made in tiles of some pixels, the wide channels within a tile in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import IntOp, Kernel, Sample, Window, WindowRows, aligned, nested
from rnnc.ir.ops.conv import Conv2D, Pads, Pair
from rnnc.ir.ops.frontier import frontier
from rnnc.ir.ops.inverted_work import inverted_work, separable_work
from rnnc.ir.ops.linear import accumulator_bound, random_requant
from rnnc.ir.types import Quant, TensorType

MOST_ROWS = 8
"""RNNC_INVERTED_ROWS."""

TILES = (12, 9, 6, 3)
"""Output pixels made at a time. Kernels take three at a time."""

PIXELS = (6, 3)
"""`Conv2D.pixels` of the convolutions."""

PARTS, LEAST_CHUNK = (1, 2, 3, 4, 6, 8, 12, 16, 24), 16
"""In how many chunks the wide channels are made, and the fewest of one: with less the calls take longer than the
products. Equal chunks, as each takes the memory of the largest."""


Block = tuple[Conv2D, Conv2D, Conv2D]
"""Expansion, depthwise convolution and projection."""


@dataclass(frozen=True, eq=False)
class Separable(IntOp):
    """project(depthwise(x)), ``tile`` pixels of the row between them at a time."""

    depthwise: Conv2D
    project: Conv2D
    tile: int

    name: ClassVar[str] = "separable"
    parts: ClassVar[tuple[type, ...]] = (Conv2D,)

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        convs = [op for op in chain if isinstance(op, Conv2D)]
        if len(chain) != 2 or len(convs) != 2 or not _projects(convs[0], convs[1]):
            return ()
        depthwise, project = convs
        ways = (
            cls(replace(depthwise, pixels=pixels), replace(project, pixels=pixels), tile)
            for tile in TILES
            for pixels in PIXELS
            if tile < outputs[-1].width
        )
        return frontier(ways, inputs, outputs[-1])

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.project.infer([self.depthwise.infer(inputs)])

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return self.depthwise.windows(inputs)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        middle = self.depthwise.compute(windows)
        return self.project.compute([WindowRows(middle[:, None], np.ones((len(middle), 1), np.bool_))])

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.height * output.width * (self.depthwise.weight.size + self.project.weight.size)

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return tuple(separable_work(self, inputs[0], output))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        part = TensorType((output.height, self.tile, inputs[0].channels), "int8")
        end = replace(output, shape=(output.height, self.tile, output.channels))
        kernels = max(self.depthwise.scratch_bytes(inputs, part), self.project.scratch_bytes([part], end))
        return aligned(part.row_bytes) + kernels

    def weight_bytes(self) -> int:
        return self.depthwise.weight_bytes() + self.project.weight_bytes()

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        middle = self.depthwise.infer(inputs)
        parts = {"depthwise": self.depthwise.kernel(inputs, middle), "project": self.project.kernel([middle], output)}
        kind = self.depthwise.kind
        members = nested(**parts) | {"tile": self.tile}
        return Kernel(
            kind.replace("depthwise", "rnnc_separable") + "_s8", "rnnc_separable", members, "separable", ("conv",)
        )

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for case in CASES:
            for arithmetic in ("fast", "tflite"):
                _, depthwise, project = _random_block(rng, case, arithmetic)
                shape = (*case.shape[:2], case.wide)
                x = TensorType(shape, "int8", Quant(0.05, depthwise.zero_point))
                for tile, pixels in ((1, 1), (3, 2), (17, 3)):
                    op = cls(replace(depthwise, pixels=pixels), replace(project, pixels=pixels), tile)
                    y = op.infer([x]).with_quant(Quant(0.1, project.requant.zero_point))
                    yield Sample(op, (x,), y, f"{arithmetic} {case} by {tile}")


@dataclass(frozen=True, eq=False)
class InvertedBottleneck(IntOp):
    """project(depthwise(expand(x))), the wide tensors made ``tile`` output pixels and ``chunk`` channels at a time.

    ``keep``: wide rows that the next output row needs again are kept in state, so that nothing is computed twice and
    a job reads only what the new wide rows need; otherwise all are made again for every row. The block of MobileNetV2
    (Sandler et al. 2018) without its residual, or, with an ``expand`` that is not 1x1, the stem of such a network.
    """

    expand: Conv2D
    depthwise: Conv2D
    project: Conv2D
    tile: int
    chunk: int
    keep: bool = False

    name: ClassVar[str] = "inverted_bottleneck"
    parts: ClassVar[tuple[type, ...]] = (Conv2D,)

    @classmethod
    def fusions(
        cls, chain: Sequence[IntOp], inputs: Sequence[TensorType], outputs: Sequence[TensorType]
    ) -> tuple[IntOp, ...]:
        convs = [op for op in chain if isinstance(op, Conv2D)]
        if len(chain) != 3 or len(convs) != 3 or not _projects(convs[1], convs[2]):
            return ()
        expand, depthwise, project = convs
        if not _expands(expand):
            return ()
        ways = [
            cls(*_with_pixels((expand, depthwise, project), pixels), tile, chunk)
            for tile in sorted({min(tile, outputs[-1].width) for tile in TILES})
            for chunk in _chunks(outputs[0].channels)
            for pixels in PIXELS
        ]
        overlaps = depthwise.weight.shape[1] > depthwise.strides[0]
        kept = [replace(op, keep=True) for op in ways if overlaps]
        return (*frontier(kept, inputs, outputs[-1]), *frontier(ways, inputs, outputs[-1]))

    @property
    def rows(self) -> int:
        return int(self.depthwise.weight.shape[1])

    @property
    def stride(self) -> int:
        return self.depthwise.strides[0]

    @property
    def kept_rows(self) -> int:
        """Wide rows that stay for the next job."""
        return self.rows - self.stride if self.keep else 0

    @property
    def warm_up(self) -> int:
        """Jobs that take in rows before the first output row can be made."""
        return max(0, -(-(self.kept_rows - self.depthwise.pads[0]) // self.stride)) if self.keep else 0

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return self.project.infer([self.depthwise.infer([self.expand.infer(inputs)])])

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return output.height + self.warm_up

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (self._rows_for(self.rows, self.depthwise.pads[0]),)

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        pad = self.depthwise.pads[0] - self.kept_rows + self.warm_up * self.stride
        return (self._rows_for(self.rows - self.kept_rows, pad),)

    def _rows_for(self, rows: int, pad: int) -> Window:
        """What ``rows`` wide rows read, the first of them y * stride - pad for job y."""
        kernel, stride = int(self.expand.weight.shape[1]), self.expand.strides[0]
        return Window(0, (rows - 1) * stride + kernel, self.stride * stride, 1, pad * stride + self.expand.pads[0])

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values, present = windows[0].values, windows[0].present
        kernel, stride = self.expand.weight.shape[1], self.expand.strides[0]
        taps = [slice(tap * stride, tap * stride + kernel) for tap in range(self.rows)]
        wide = np.stack([self.expand.compute([WindowRows(values[:, tap], present[:, tap])]) for tap in taps], 1)
        inside = np.stack([self._is_wide_row(present[:, tap]) for tap in taps], 1)
        narrow = self.depthwise.compute([WindowRows(wide, inside)])
        each = WindowRows(narrow[:, None], np.ones((len(narrow), 1), np.bool_))
        return self.project.compute([each])

    def _is_wide_row(self, present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """[n], from the rows [n, kernel] of x: one above or below the wide tensor has more padding than any in it."""
        above = np.cumprod(~present, axis=1).sum(axis=1)
        below = np.cumprod(~present[:, ::-1], axis=1).sum(axis=1)
        inside: npt.NDArray[np.bool_] = (above <= self.expand.pads[0]) & (below <= self.expand.pads[2])
        return inside

    def _wide(self, x: TensorType) -> TensorType:
        return self.expand.infer([x])

    def _reach(self, width: int) -> int:
        """Wide columns, padding included, that ``width`` output pixels read."""
        return int((width - 1) * self.depthwise.strides[1] + self.depthwise.weight.shape[2])

    def made_rows(self, wide: TensorType, output: TensorType) -> int:
        """Wide rows that are made, those that are made again included."""
        made = np.arange(output.height)[:, None] * self.stride - self.depthwise.pads[0] + np.arange(self.rows)
        made = made[(made >= 0) & (made < wide.height)]
        return len(np.unique(made)) if self.keep else len(made)

    def macs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        wide = self._wide(inputs[0])
        columns = min(wide.width, self._reach(output.width) - self.depthwise.pads[1])
        expansion = self.made_rows(wide, output) * columns * self.expand.weight.size
        return expansion + output.height * output.width * (self.depthwise.weight.size + self.project.weight.size)

    def work(self, inputs: Sequence[TensorType], output: TensorType) -> tuple[Work, ...]:
        return tuple(inverted_work(self, inputs[0], output))

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        wide, fresh = self._wide(inputs[0]), self.rows - self.kept_rows
        window = TensorType((wide.height, min(wide.width, self._reach(self.tile)), self.chunk), "int8")
        line = TensorType((output.height, self.tile, self.chunk), "int8")
        tile = TensorType((output.height, self.tile, wide.channels), "int8")
        end = TensorType((output.height, self.tile, output.channels), "int8")
        kernels = max(
            self.expand.scratch_bytes(inputs, window),
            self.depthwise.scratch_bytes([window], line),
            self.project.scratch_bytes([tile], end),
        )
        overlap = max(0, self.depthwise.weight.shape[2] - self.depthwise.strides[1])
        halo = fresh * overlap * self._chunks * self.chunk if self.tile < output.width else 0
        parts = fresh * window.row_bytes, line.row_bytes, tile.row_bytes, halo
        return sum(aligned(part) for part in parts) + kernels

    @property
    def _chunks(self) -> int:
        return int(-(-self.expand.weight.shape[0] // self.chunk))

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.kept_rows * self._wide(inputs[0]).width * self._chunks * self.chunk

    def weight_bytes(self) -> int:
        return self.expand.weight_bytes() + self.depthwise.weight_bytes() + self.project.weight_bytes()

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        wide = self._wide(inputs[0])
        narrow = self.depthwise.infer([wide])
        parts = {
            "expand": self.expand.kernel(inputs, wide),
            "depthwise": self.depthwise.kernel([wide], narrow),
            "project": self.project.kernel([narrow], output),
        }
        members = nested(**parts) | {
            "wide_height": wide.height,
            "expand_stride_h": self.expand.strides[0],
            "stride_h": self.stride,
            "pad_top": self.depthwise.pads[0],
            "tile": self.tile,
            "chunk": self.chunk,
            "kept_rows": self.kept_rows,
            "warm_up": self.warm_up,
        }
        name = "rnnc_inverted" if _is_plain(self.expand) else "rnnc_stem"
        kind = self.depthwise.kind
        return Kernel(kind.replace("depthwise", name) + "_s8", "rnnc_inverted", members, "inverted", ("conv",))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for case in CASES:
            for arithmetic in ("fast", "tflite"):
                block = _random_block(rng, case, arithmetic)
                x = TensorType(case.shape, "int8", Quant(0.05, block[0].zero_point))
                width = block[1].infer([block[0].infer([x])]).width
                levels = {(1, 4, 1), (2, 8, 2), (3, 4, 3), (width, case.wide + -case.wide % 4, 3)}
                for tile, chunk, pixels in sorted(levels):
                    op = cls(*_with_pixels(block, pixels), min(tile, width), chunk)
                    y = op.infer([x]).with_quant(Quant(0.1, block[2].requant.zero_point))
                    for keep in (False, True) if op.rows > op.stride else (False,):
                        label = f"{arithmetic} {case} by {op.tile} x {chunk} keep={keep}"
                        yield Sample(replace(op, keep=keep), (x,), y, label)


def _chunks(wide: int) -> list[int]:
    """Channels in a chunk, in fours."""
    chunks = {-(-wide // (4 * parts)) * 4 for parts in PARTS}
    return sorted(chunk for chunk in chunks if chunk >= min(LEAST_CHUNK, wide))


def _projects(depthwise: Conv2D, project: Conv2D) -> bool:
    plain = depthwise.depthwise and depthwise.dilations == (1, 1) and depthwise.weight.shape[1] <= MOST_ROWS
    return plain and project.pointwise and project.strides == (1, 1)


def _expands(conv: Conv2D) -> bool:
    """Padding that is no whole window tells rows of the wide tensor from those beside it."""
    plain = conv.group == 1 and conv.dilations == (1, 1)
    return plain and max(conv.pads[0], conv.pads[2]) < conv.weight.shape[1]


def _is_plain(conv: Conv2D) -> bool:
    """What `rnnc_pointwise_s8` is for."""
    return conv.pointwise and conv.strides[1] == 1


def _with_pixels(block: Block, pixels: int) -> Block:
    """A stem's expansion runs on the kernel that has its windows in scratch, never straight from the rows."""
    expand, depthwise, project = (replace(conv, pixels=pixels) for conv in block)
    if expand.from_rows and not _is_plain(expand):
        expand = replace(expand, pixels=pixels + 1)
    return expand, depthwise, project


@dataclass(frozen=True)
class Case:
    """A block to test: x [H, W, C], wide and output channels, and the depthwise window."""

    shape: tuple[int, int, int]
    wide: int
    out: int
    kernel: Pair
    strides: Pair
    pads: Pads
    stem: tuple[Pair, Pair, Pads] = ((1, 1), (1, 1), (0, 0, 0, 0))
    """Kernel, strides and padding of the expansion."""

    def __str__(self) -> str:
        stem = f" after {self.stem}" if self.stem[0] != (1, 1) else ""
        return f"{self.shape} {self.wide} {self.out} {self.kernel} {self.strides} {self.pads}{stem}"


CASES = (
    Case((7, 5, 3), 10, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    Case((9, 6, 4), 13, 4, (3, 3), (2, 2), (0, 0, 1, 1)),
    Case((8, 4, 5), 12, 7, (5, 5), (1, 1), (2, 2, 2, 2)),
    Case((11, 5, 4), 9, 3, (5, 3), (2, 1), (2, 1, 2, 1)),
    Case((12, 3, 2), 8, 8, (5, 1), (3, 1), (1, 0, 1, 0)),
    Case((13, 9, 3), 7, 6, (7, 7), (2, 2), (3, 3, 3, 3)),
    Case((5, 8, 4), 8, 4, (1, 2), (1, 3), (0, 1, 0, 1)),
    Case((1, 1, 1), 3, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
    Case((4, 39, 4), 9, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    Case((13, 11, 3), 9, 4, (3, 3), (1, 1), (1, 1, 1, 1), ((3, 3), (2, 2), (1, 1, 1, 1))),
    Case((14, 12, 1), 8, 5, (3, 3), (2, 2), (1, 1, 0, 0), ((3, 3), (2, 2), (0, 0, 1, 1))),
    Case((9, 7, 4), 6, 3, (5, 5), (1, 1), (2, 2, 2, 2), ((2, 3), (1, 2), (1, 0, 0, 2))),
    Case((9, 8, 4), 6, 3, (3, 3), (1, 1), (1, 1, 1, 1), ((1, 1), (2, 2), (0, 0, 0, 0))),
    Case((11, 9, 2), 5, 4, (3, 3), (3, 1), (1, 1, 1, 1), ((4, 1), (3, 1), (2, 0, 3, 0))),
)


def _random_block(rng: np.random.Generator, case: Case, arithmetic: Arithmetic) -> Block:
    def conv(weight_shape: tuple[int, ...], zero_point: int) -> Conv2D:
        weight = rng.integers(-127, 128, weight_shape).astype(np.int8)
        bias = rng.integers(-(2**11), 2**11, weight_shape[0]).astype(np.int32)
        requant = random_requant(rng, arithmetic, weight_shape[0], accumulator_bound(weight, bias))
        return Conv2D(weight, bias, requant, zero_point)

    kernel, strides, pads = case.stem
    expand = conv((case.wide, *kernel, case.shape[2]), int(rng.integers(-128, 128)))
    depthwise = conv((case.wide, *case.kernel, 1), expand.requant.zero_point)
    project = conv((case.out, 1, 1, case.wide), depthwise.requant.zero_point)
    depthwise = replace(depthwise, strides=case.strides, pads=case.pads, group=case.wide)
    return replace(expand, strides=strides, pads=pads), depthwise, project
