"""Shapes, memory and cost of RNNPool as runtime/c/src/rnnpool.c runs it."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.diagnostics import CompileError
from rnnc.ir.types import TensorType

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
"""top, left, bottom, right"""

LANES = 4
"""Sweeps that step together (RNNC_RNN_LANES)."""


def pooled_shape(x: TensorType, kernel: Pair, strides: Pair, pads: Pads, h2: int) -> tuple[int, int, int]:
    """Shape of the output of RNNPool over x [H, W, C]."""
    height = (x.height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
    width = (x.width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    if height < 1 or width < 1:
        raise CompileError(
            f"the patch {kernel[0]}x{kernel[1]} is larger than its padded input {x.height}x{x.width}",
            remedy="check the input size or the padding",
        )
    return height, width, 4 * h2


@dataclass(frozen=True, slots=True)
class Sizes:
    """Input channels and hidden units of RNN1 and RNN2."""

    channels: int
    h1: int
    h2: int


@dataclass(frozen=True, slots=True)
class Geometry:
    """One RNNPool over an output of ``height`` x ``width`` patches of ``kernel`` (rows, columns).

    ``batch`` patches get their row summaries together: LANES, each lane sweeping the same row of another patch, or
    1, each lane sweeping another row of the same patch. ``share_rows``: summaries that the patch below needs again
    are kept. ``share_products``, with batch 1: the columns' W1 x of rows that are not kept wait for the rows' sweeps.
    """

    sizes: Sizes
    kernel: Pair
    strides: Pair
    height: int
    width: int
    batch: int = LANES
    share_rows: bool = True
    share_products: bool = False

    @property
    def kept_rows(self) -> int:
        """Row summaries of a patch that are kept for the patch below."""
        return max(0, self.kernel[0] - self.strides[0]) if self.share_rows and self.height > 1 else 0

    @property
    def product_rows(self) -> int:
        """Rows of a patch whose W1 x serve both its columns and its rows."""
        return self.kernel[0] - self.kept_rows if self.share_products else 0

    @property
    def slots(self) -> int:
        """Columns that wait until no patch needs them."""
        return lane_multiple(self.kernel[1] + LANES - 1)

    @property
    def column_step(self) -> int:
        """Columns between the starts of two patches, counting only columns that some patch covers."""
        return min(self.strides[1], self.kernel[1])

    def nominal_macs(self) -> int:
        """Matrix products of all patches, each computed alone."""
        rows, columns = self.kernel
        c, h1, h2 = self.sizes.channels, self.sizes.h1, self.sizes.h2
        patch = 2 * rows * columns * h1 * (c + h1) + 2 * (rows + columns) * h2 * (h1 + h2)
        return self.height * self.width * patch

    def executed_macs(self) -> int:
        """Matrix products that the kernel computes, unused lanes of the last group included.

        Products with the zero state of the first step are left out.
        """
        rows = self.kernel[0]
        below = (self.height - 1) * self._row_macs(rows - self.kept_rows)
        finish = self.width * LANES * (max(self.kernel) - 1) * self.sizes.h2**2
        return self._row_macs(rows) + below + self.height * (self._column_macs() + finish)

    def _row_macs(self, rows: int) -> int:
        """Summaries of ``rows`` input rows for every patch of an output row, and W2 times them."""
        c, h1, h2 = self.sizes.channels, self.sizes.h1, self.sizes.h2
        columns = self.kernel[1]
        sweep = LANES * ((columns - 1) * h1 * h1 + h1 * h2)
        if self.batch == 1:
            groups = lane_multiple(rows) // LANES
            alone = lane_multiple(rows - self.product_rows) // LANES
            return self.width * (alone * LANES * columns * c * h1 + groups * sweep)
        total = 0
        for first in range(0, self.width, LANES):
            span = lane_multiple(self.span(min(LANES, self.width - first)))
            total += span * c * h1 + sweep
        return rows * total

    def _column_macs(self) -> int:
        """Summaries of all columns for one output row, and W2 times them."""
        c, h1, h2 = self.sizes.channels, self.sizes.h1, self.sizes.h2
        rows = self.kernel[0]
        return lane_multiple(self.span(self.width)) * (rows * c * h1 + (rows - 1) * h1 * h1 + h1 * h2)

    def span(self, patches: int) -> int:
        """Columns that neighbouring patches cover."""
        return (patches - 1) * self.column_step + self.kernel[1]

    def scratch_bytes(self) -> int:
        """What `divide_scratch` in rnnpool.c hands out: int16 throughout."""
        h1, h2 = even(self.sizes.h1), even(self.sizes.h2)
        rows = self.kernel[0]
        pixels = LANES * even(self.sizes.channels)
        states = 2 * LANES * max(h1, h2)
        if self.batch == 1:
            columns = LANES + self.slots * self.product_rows
            window = max(lane_multiple(rows), self.kept_rows + lane_multiple(rows - self.kept_rows))
        else:
            columns = lane_multiple(self.span(min(LANES, self.width)))
            window = LANES * rows
        return 2 * (pixels + states + columns * h1 + (window + self.slots) * h2)

    def state_bytes(self) -> int:
        """Row summaries kept for the next output row, as W2 times them."""
        return 2 * self.width * self.kept_rows * even(self.sizes.h2)


def even(count: int) -> int:
    return count + count % 2


def lane_multiple(count: int) -> int:
    return -(-count // LANES) * LANES
