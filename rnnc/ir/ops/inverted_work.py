"""How often the loops of the fused blocks run (runtime/c/src/inverted.c, separable.c): those of the convolutions that
they call, stretch by stretch of a row, and their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rnnc.ir.costs import Work
from rnnc.ir.ops.conv_work import chunks_of, conv_work
from rnnc.ir.types import TensorType

if TYPE_CHECKING:
    from rnnc.ir.ops.conv import Conv2D
    from rnnc.ir.ops.inverted import InvertedBottleneck, Separable


@dataclass(frozen=True, slots=True)
class Stretch:
    """``width`` output pixels of a row and the input ``columns`` that they read, from ``first`` on, behind
    ``padding`` columns."""

    width: int
    first: int
    columns: int
    padding: int

    @classmethod
    def of(cls, op: Conv2D, x: TensorType, start: int, width: int) -> Stretch:
        """What ``width`` output pixels from ``start`` on read of ``x``."""
        left = start * op.strides[1] - op.pads[1]
        right = left + (width - 1) * op.strides[1] + op.weight.shape[2]
        first = min(max(left, 0), x.width)
        return cls(width, first, min(max(right, first), x.width) - first, first - left)

    def work(self, op: Conv2D, rows: int, channels: int) -> Work:
        """Of ``op``'s first ``channels`` over ``rows`` rows of the stretch."""
        part = replace(op.first_channels(channels), pads=(op.pads[0], self.padding, op.pads[2], 0))
        x = TensorType((rows, self.columns, channels if op.depthwise else op.weight.shape[3]))
        return conv_work(part, x, TensorType((rows, self.width, channels)))


def separable_work(op: Separable, x: TensorType, y: TensorType) -> Iterator[Work]:
    tiles = Counter(_tile(op.depthwise, x, y, op.tile))
    for tile, times in tiles.items():
        yield tile.work(op.depthwise, y.height, x.channels).times(times)
        yield Stretch(tile.width, 0, tile.width, 0).work(op.project, y.height, y.channels).times(times)
    yield Work(op.name, {"jobs": y.height, "tiles": y.height * tiles.total()})


def _tile(op: Conv2D, x: TensorType, y: TensorType, tile: int) -> Iterator[Stretch]:
    """The tiles of a row, as if all began at the same column."""
    for start in range(0, y.width, tile):
        yield replace(Stretch.of(op, x, start, min(tile, y.width - start)), first=0)


def inverted_work(op: InvertedBottleneck, x: TensorType, y: TensorType) -> Iterator[Work]:
    wide = op.expand.infer([x])
    rows, jobs = op.made_rows(wide, y), op.jobs([x], y)
    chunks = chunks_of(wide.channels, op.chunk)
    own: Counter[str] = Counter({"jobs": jobs})
    for (tile, fresh, kept), times in Counter(_tiles_and_columns(op, x, wide, y)).items():
        for channels, repeated in chunks:
            if fresh.width:
                yield fresh.work(op.expand, rows, channels).times(times * repeated)
            yield tile.work(op.depthwise, y.height, channels).times(times * repeated)
            own["copied bytes"] += rows * times * repeated * channels * kept
            own["chunks"] += jobs * times * repeated
            own["rows"] += rows * times * repeated
            if len(chunks) > 1 or chunks[0][1] > 1:
                pixels = y.height * tile.width * times * repeated
                own.update({"spread pixels": pixels, "spread words": pixels * (channels // 4)})
                own.update({"spread bytes": pixels * (channels % 4)})
        own["tiles"] += jobs * times
        yield Stretch(tile.width, 0, tile.width, 0).work(op.project, y.height, y.channels).times(times)
    yield Work(op.name, own)


def _tiles_and_columns(
    op: InvertedBottleneck, x: TensorType, wide: TensorType, y: TensorType
) -> Iterator[tuple[Stretch, Stretch, int]]:
    """For each tile of a row: itself, the wide columns that are made for it, and how many columns are moved to and
    from the halo and the kept rows."""
    made = 0
    for start in range(0, y.width, op.tile):
        tile = Stretch.of(op.depthwise, wide, start, min(op.tile, y.width - start))
        ends = start + op.tile >= y.width
        known = max(0, made - tile.first)
        fresh = Stretch.of(op.expand, x, tile.first + known, tile.columns - known)
        following = Stretch.of(op.depthwise, wide, start + op.tile, 1).first
        done = tile.columns if ends else min(following - tile.first, tile.columns)
        moved = known + tile.columns - done + (done if op.keep else 0)
        made = tile.first + tile.columns
        yield replace(tile, first=0), replace(fresh, first=0), moved
