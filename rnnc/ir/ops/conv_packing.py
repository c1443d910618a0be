"""Weights of convolutions in the order in which their kernels read them; see runtime/c/include/rnnc_linear.h."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import Int8Array

Int16Array = npt.NDArray[np.int16]


def column_length(kernel_h: int, depth: int) -> int:
    """Values of one input column of a window, padding to an even number included."""
    return kernel_h * depth + kernel_h * depth % 2


def pack_columns(weight: Int8Array, group: int) -> Int8Array:
    """Weights [O, KH, KW, I / group] for windows made of columns."""
    return pack_pairs_of_depth(by_columns(weight), group)


def by_columns(weight: Int8Array) -> Int8Array:
    """Weights [O, KH, KW, I] as [O, depth of a window made of columns]."""
    out, kernel_h, kernel_w, depth = weight.shape
    columns = in_words(weight) if depth % 4 == 0 or kernel_h == 1 else weight
    columns = columns.swapaxes(1, 2).reshape(out, kernel_w, kernel_h * depth)
    padded = np.pad(columns, ((0, 0), (0, 0), (0, kernel_h * depth % 2)))
    return padded.reshape(out, -1)


def pack_wide(weight: Int16Array) -> Int16Array:
    """Weights [O, depth] as words of two of depth, those of two channels alternating; zeros where there is none."""
    padded = np.pad(weight, ((0, len(weight) % 2), (0, -weight.shape[1] % 4)))
    pairs = padded.reshape(-1, 2, padded.shape[1] // 2, 2)
    return np.ascontiguousarray(pairs.swapaxes(1, 2))


def pack_rows(weight: Int8Array) -> Int8Array:
    """Weights [O, KH, KW, I] for windows that are read row by row."""
    return pack_pairs_of_depth(in_words(weight).reshape(len(weight), -1), 1)


def in_words(weight: Int8Array) -> Int8Array:
    """The last axis as activations come by words of four, as far as they are whole: the even bytes, then the odd."""
    whole = weight.shape[-1] // 4 * 4
    words = weight[..., :whole].reshape(*weight.shape[:-1], -1, 2, 2).swapaxes(-1, -2)
    return np.concatenate([words.reshape(*weight.shape[:-1], whole), weight[..., whole:]], axis=-1)


def pack_pairs_of_depth(weight: Int8Array, group: int) -> Int8Array:
    """Weights [O, depth]: within each group words of two of depth by two channels, an odd last channel alone."""
    padded = np.pad(weight, ((0, 0), (0, -weight.shape[1] % 4)))
    width = padded.shape[1]
    parts = []
    for channels in np.split(padded, group):
        even = len(channels) // 2 * 2
        parts.append(channels[:even].reshape(-1, 2, width).swapaxes(1, 2).ravel())
        parts.append(channels[even:].reshape(-1, 2, 2).swapaxes(1, 2).ravel())
    return np.concatenate(parts)
