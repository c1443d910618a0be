"""Constants of RNNPool's cells as the kernels in runtime/c read them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.op import Field, Table
from rnnc.ir.ops.rnnpool_cell import FixedCell, Int16Array
from rnnc.ir.ops.rnnpool_gates import gate_table, is_tabulated, z_table
from rnnc.ir.ops.rnnpool_geometry import even

DENSE_SIZES = (8, 16)
"""Hidden units for which there are kernels of dense matrices."""
SPARSE_SIZE = 16
"""Hidden units for which there is a kernel of sparse matrices."""
PIXEL_CHANNELS = 4
"""Input channels for which W1 is multiplied with raw pixels."""
STARTS = 8
"""Random orders of units from which better ones are searched."""
Tiles = npt.NDArray[np.int64]
UnitOrder = npt.NDArray[np.int64]
Stored = TypeVar("Stored", np.int16, np.bool_)


def matrix_members(name: str, matrix: Int16Array, shift: int) -> dict[str, Field]:
    """Members of a rnnc_rnn_matrix."""
    padded = even_matrix(matrix)
    return {
        f"{name}.weights": Table("int16_t", padded),
        f"{name}.rows": padded.shape[0],
        f"{name}.columns": padded.shape[1],
        f"{name}.shift": shift,
    }


def cell_members(name: str, cell: FixedCell) -> dict[str, Field]:
    """Members of a rnnc_rnn_cell."""
    bias = even_matrix(cell.bias)
    form, packed = packed_matrix(cell)
    return {
        **matrix_members(f"{name}.recurrent", cell.r, cell.r_shift),
        f"{name}.form": f"RNNC_RNN_{form}" if packed is None else f"RNNC_RNN_{form}_{len(bias[0])}",
        f"{name}.packed": None if packed is None else Table("int32_t", packed),
        f"{name}.bias": Table("int16_t", bias[0]),
        f"{name}.lead": Table("int16_t", bias[1]),
        f"{name}.z_table": Table("int32_t", z_table()) if cell.smooth else None,
        f"{name}.g_tables": Table("int32_t", even_rows(cell.g_tables)) if cell.smooth else None,
        f"{name}.gate_table": _alone(cell, cell.gate),
        f"{name}.update_table": _alone(cell, cell.update),
        f"{name}.blend": cell.blend,
    }


def _alone(cell: FixedCell, function: str) -> Table | None:
    return Table("int32_t", gate_table(function)) if is_tabulated(function) and not cell.smooth else None


def packed_matrix(cell: FixedCell) -> tuple[str, npt.NDArray[np.int32] | None]:
    """The recurrent matrix and the biases in the form that takes the kernel the fewest cycles, and its name.

    PLAIN where sums can saturate, or where there is no kernel of the cell's size and gates.
    """
    if not _can_pack(cell):
        return "PLAIN", None
    tiles = _tiles(cell)
    size = 2 * len(tiles)
    starts = (even_matrix(cell.bias)[0].astype(np.int64) << 16).reshape(-1, 2)
    if size == SPARSE_SIZE and _sparse_cycles(tiles) < _dense_cycles(size):
        return "SPARSE", _int32(np.concatenate(list(_sparse(tiles, starts))))
    return "DENSE", _int32(np.concatenate([starts, tiles.reshape(size // 2, -1)], axis=1).ravel())


def describe_choice(name: str, cell: FixedCell) -> str:
    """What packed_matrix chose for a cell and what the kernel takes for four lanes either way, for the report."""
    kept = f"{name}: {np.count_nonzero(cell.r)} of {cell.r.size} weights are not 0"
    form, _ = packed_matrix(cell)
    size = even(len(cell.r))
    if form == "PLAIN":
        return f"{kept}: dense, without a kernel of its size, gates and range"
    if size != SPARSE_SIZE:
        return f"{kept}: dense, {_dense_cycles(size)} cycles"
    tiles = _tiles(cell)
    cycles = f"{_sparse_cycles(tiles)} cycles sparse, {_dense_cycles(size)} dense"
    return f"{kept}, in {used_tiles(cell)} of {tiles.shape[0] * tiles.shape[1]} tiles: {form.lower()}, {cycles}"


def used_tiles(cell: FixedCell) -> int:
    """Tiles with weights that are not all 0."""
    return int(np.count_nonzero(_tiles(cell).any(axis=2)))


def _tiles(cell: FixedCell) -> Tiles:
    """The doubled weights as words [row of tiles, tile, unit]."""
    weights = even_matrix(cell.r).astype(np.int64)
    half = len(weights) // 2
    return _words(2 * weights).reshape(half, 2, half).transpose(0, 2, 1)


def _can_pack(cell: FixedCell) -> bool:
    """Whether there is a kernel of these gates and this size, doubled weights fit 16 bits and no sum saturates."""
    weights, bias = cell.r.astype(np.int64), cell.bias[0].astype(np.int64)
    largest = (np.abs(weights).sum(axis=1) + np.abs(bias)).max()
    fits = np.abs(weights).max() < 2**14 and largest < 2**15
    return bool(fits) and cell.r_shift == 0 and cell.smooth and even(len(weights)) in DENSE_SIZES


def _sparse(tiles: Tiles, starts: Tiles) -> Iterator[Tiles]:
    """What rnnpool_cell_step.c reads for every two units: weights, biases and distance of the first tile, how many
    of the others are missing, weights and distances of those that are not.
    """
    at = 0
    for row, start in zip(tiles, starts, strict=True):
        columns = _columns(row)
        for number, column in enumerate(columns):
            distance, at = 4 * (column - at), column
            yield np.array([*row[column], *(() if number else start), distance])
            if number == 0:
                yield np.array([len(row) - len(columns)])


def _columns(row: Tiles) -> list[int]:
    """The tiles of two units that are not all zero; the first one if there are none."""
    return [int(column) for column in np.flatnonzero(row.any(axis=1))] or [0]


def _sparse_cycles(tiles: Tiles) -> int:
    """Of rnnpool_cell_step.c, without the call, by the timings of docs/profiling.md."""
    return sum(43 + 19 * (len(_columns(row)) - 1) for row in tiles)


def _dense_cycles(size: int) -> int:
    return size // 2 * (35 + 16 * (size // 2 - 1))


def pixel_weights(cell: FixedCell, zero_point: int) -> Table | None:
    """The input matrix for raw pixels of four channels, by unit: channels 0 and 2, 1 and 3, the zero point's part."""
    weights = even_matrix(cell.w).astype(np.int64)
    if len(weights) not in DENSE_SIZES or cell.w.shape[1] != PIXEL_CHANNELS or cell.w_shift:
        return None
    words = _words(weights[:, [0, 2, 1, 3]])
    return Table("int32_t", _int32(np.column_stack([words, -zero_point * weights.sum(axis=1)])))


def unit_order(cell: FixedCell) -> UnitOrder:
    """An order of the units in which a sparse recurrent matrix has few tiles, found by swapping pairs of units.

    Neighbours share tiles, so units should be neighbours whose weights are zero in the same places. The states of a
    cell mean the same in any order.
    """
    size = len(cell.r)
    if not _can_pack(cell) or even(size) != SPARSE_SIZE or np.all(cell.r):
        return np.arange(size)
    return _order_for((cell.r != 0).tobytes(), size).copy()


@lru_cache
def _order_for(used: bytes, size: int) -> UnitOrder:
    """For a matrix whose weights are not 0 where ``used`` says so; all variants of an operator ask for the same."""
    matrix = np.frombuffer(used, np.bool_).reshape(size, size)
    units = np.arange(size)
    best, fewest = units, _count_tiles(matrix, units)
    rng = np.random.default_rng(0)
    for _ in range(STARTS):
        order = rng.permutation(units)
        count = _count_tiles(matrix, order)
        improved = True
        while improved:
            improved = False
            for i, j in combinations(range(len(units)), 2):
                order[[i, j]] = order[[j, i]]
                swapped = _count_tiles(matrix, order)
                if swapped < count:
                    count, improved = swapped, True
                else:
                    order[[i, j]] = order[[j, i]]
        if count < fewest:
            best, fewest = order.copy(), count
    return best


def _count_tiles(used: npt.NDArray[np.bool_], order: UnitOrder) -> int:
    padded = even_matrix(used[np.ix_(order, order)])
    half = len(padded) // 2
    return int(padded.reshape(half, 2, half, 2).any(axis=(1, 3)).sum())


def _words(weights: Tiles) -> Tiles:
    """Neighbours of the last axis as the lower and upper half of a word."""
    words: Tiles = (weights[..., ::2] & 0xFFFF) | (weights[..., 1::2] << 16)
    return words


def _int32(words: Tiles) -> npt.NDArray[np.int32]:
    return words.astype(np.int32)


def even_matrix(array: npt.NDArray[Stored]) -> npt.NDArray[Stored]:
    """Rows and columns padded with zeros to even numbers: a unit of zeros keeps the state 0."""
    rows, columns = array.shape
    return np.pad(array, ((0, even(rows) - rows), (0, even(columns) - columns)))


def even_rows(tables: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.pad(tables, ((0, len(tables) % 2), (0, 0)))
