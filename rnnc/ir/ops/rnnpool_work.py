"""How often the loops of RNNPool's kernel run (runtime/c/src/rnnpool.c, src/dsp/rnnpool_cell*.c)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnnc.ir.costs import Work
from rnnc.ir.ops.rnnpool_cell import FixedCell
from rnnc.ir.ops.rnnpool_gates import is_tabulated
from rnnc.ir.ops.rnnpool_geometry import LANES, Geometry, even, lane_multiple
from rnnc.ir.ops.rnnpool_packing import DENSE_SIZES, packed_matrix, pixel_weights, used_tiles

if TYPE_CHECKING:
    from rnnc.ir.ops.rnnpool_int import RnnPoolInt


@dataclass(frozen=True, eq=False)
class _Tally:
    """Counts what one RNNPool does, call by call."""

    op: RnnPoolInt
    geometry: Geometry
    counts: Counter[str] = field(default_factory=Counter)

    def product(self, rows: int, columns: int, shift: int, calls: int) -> None:
        rows, columns = even(rows), even(columns)
        fused = columns in DENSE_SIZES and shift == 0
        kind = f"by {columns}" if fused else "of any width"
        self.counts[f"products {kind}"] += calls
        self.counts[f"row pairs {kind}"] += calls * rows // 2
        if not fused:
            self.counts["column pairs"] += calls * rows // 2 * columns // 2

    def input_products(self, calls: int, together: bool) -> None:
        """W1 x of LANES pixels; ``together``: they may stand side by side."""
        channels, hidden = self.geometry.sizes.channels, self.geometry.sizes.h1
        side_by_side = together and self.geometry.strides[1] <= self.geometry.kernel[1]
        self.counts["pixels together" if side_by_side else "pixels apart"] += calls
        if pixel_weights(self.op.cells()[0], self.op.zero_point) is not None:
            self.counts[f"raw pixels for {even(hidden)}"] += calls
            return
        self.counts["centred pixels"] += calls * LANES
        self.counts["centred words"] += calls * LANES * (channels // 4)
        self.counts["centred bytes"] += calls * LANES * (channels % 4)
        self.counts["cleared"] += calls * LANES * (channels % 2)
        self.product(hidden, channels, self.op.shifts[0], calls)

    def sweeps(self, cell: FixedCell, steps: int, calls: int) -> None:
        """``calls`` sweeps of LANES lanes, input products not included."""
        hidden, form = even(len(cell.r)), packed_matrix(cell)[0]
        self.counts["sweeps"] += calls
        if cell.smooth and hidden in DENSE_SIZES:
            self.counts[f"starts of {hidden}"] += calls
        else:
            self.any_states(cell, calls)
        if form == "SPARSE":
            self.counts["sparse steps"] += calls * (steps - 1)
            self.counts["sparse tiles"] += calls * (steps - 1) * used_tiles(cell)
        elif form == "DENSE":
            self.counts[f"dense steps of {hidden}"] += calls * (steps - 1)
        else:
            self.any_states(cell, calls * (steps - 1))
            self.product(hidden, hidden, cell.r_shift, calls * (steps - 1))
            self.counts["biased pairs"] += calls * (steps - 1) * LANES * hidden // 2

    def any_states(self, cell: FixedCell, calls: int) -> None:
        """States of cells without a kernel of their own, from their gates' arguments."""
        gates = "/".join("table" if is_tabulated(name) else "linear" for name in (cell.gate, cell.update))
        self.counts["steps of any kind"] += calls
        self.counts[f"unit pairs {gates}"] += calls * LANES * even(len(cell.r)) // 2

    def second_products(self, calls: int) -> None:
        """W2 times summaries."""
        sizes = self.geometry.sizes
        self.product(sizes.h2, sizes.h1, self.op.shifts[2], calls)


def rnnpool_work(op: RnnPoolInt, geometry: Geometry) -> Work:
    """The work of all output rows."""
    tally = _Tally(op, geometry)
    rnn1, rnn2, _ = op.kernel_cells
    height, width, kernel = geometry.height, geometry.width, geometry.kernel
    rows = kernel[0] + (height - 1) * (kernel[0] - geometry.kept_rows)
    tally.counts.update({"jobs": height, "patches": height * width, "outputs": height * width * LANES * len(op.r2)})
    tally.counts["kept"] = 2 * height * width * geometry.kept_rows * even(len(op.r2))
    groups = height * (lane_multiple(geometry.span(width)) // LANES)
    tally.input_products(groups * kernel[0], together=True)
    tally.sweeps(rnn1, kernel[0], groups)
    tally.second_products(groups)
    if geometry.batch == 1:
        _rows_of_patches(tally, rnn1)
    else:
        for first in range(0, width, LANES):
            span = geometry.span(min(LANES, width - first))
            tally.input_products(rows * (lane_multiple(span) // LANES), together=True)
        batches = rows * -(-width // LANES)
        tally.sweeps(rnn1, kernel[1], batches)
        tally.second_products(batches)
    tally.sweeps(rnn2, max(kernel), height * width)
    return Work("rnnpool", tally.counts)


def _rows_of_patches(tally: _Tally, rnn1: FixedCell) -> None:
    """Row summaries patch by patch, LANES rows at a time."""
    geometry = tally.geometry
    rows, columns = geometry.kernel
    for fresh, jobs in ((rows, 1), (rows - geometry.kept_rows, geometry.height - 1)):
        groups = range(rows - fresh, rows, LANES)
        alone = sum(1 for row in groups if row < rows - geometry.product_rows)
        tally.input_products(jobs * geometry.width * alone * columns, together=False)
        tally.sweeps(rnn1, columns, jobs * geometry.width * len(groups))
        tally.second_products(jobs * geometry.width * len(groups))
