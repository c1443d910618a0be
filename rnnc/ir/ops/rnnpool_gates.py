"""The gates of RNNPool's cells: what they are in real numbers, and as tables in fixed point.

Where both functions of a cell are smooth, a unit is two functions of one number a, the argument of its gate, which
the biases, zeta and nu are part of:

    h' = z(a) * h + g(a),    z(a) = sigmoid(a),    g(a) = (zeta * (1 - z(a)) + nu) * tanh(a + lead)

z is one table and g one per unit. So a step costs two look-ups, two interpolations and one multiplication. Leads (what
the update's bias has over the gate's) beyond +-3.5 leave part of tanh outside of the table, where g is constant.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import Int32Array, Int64Array

GateName = Literal["Sigmoid", "QuantSigmoid"]
UpdateName = Literal["Tanh", "QuantTanh"]
Float64Array = npt.NDArray[np.float64]

GATES: tuple[GateName, ...] = ("Sigmoid", "QuantSigmoid")
UPDATES: tuple[UpdateName, ...] = ("Tanh", "QuantTanh")

FRACTION = 11
"""Fraction bits of products, biases and gate arguments: +-16 before, +-8 after the biases are added."""
RANGE_BITS = 15
"""Tables cover gate arguments of 15 bits, [-8, 8)."""
SEGMENT_BITS = 6
"""A table of one function has 512 segments of 2^6."""
UNIT_SEGMENT_BITS = 7
"""z and g have 256 segments of 2^7, a sixteenth each."""


def sat16(x: Int64Array) -> Int64Array:
    return np.clip(x, -32768, 32767)


def gate_real(name: str, x: Float64Array) -> Float64Array:
    """A gate by its name, in real numbers."""
    if name == "Sigmoid":
        return 0.5 + 0.5 * np.tanh(0.5 * x)
    if name == "Tanh":
        return np.tanh(x)
    return np.clip((x + 1) / 2, 0, 1) if name == "QuantSigmoid" else np.clip(x, -1, 1)


def gate_fixed(name: str, x: Int64Array) -> Int64Array:
    """A gate of an argument in Q11, in Q15; 1.0 saturates to 32767.

    Sigmoid and tanh clip their argument to 15 bits, [-8, 8), and interpolate in a table of 512 segments.
    """
    if name == "QuantSigmoid":
        linear: Int64Array = np.clip((x + (1 << FRACTION)) << 3, 0, 32767)
        return linear
    if name == "QuantTanh":
        return sat16(x << 4)
    value: Int64Array = interpolate(gate_table(name), x, SEGMENT_BITS) >> 16
    return value


def is_tabulated(name: str) -> bool:
    return name in ("Sigmoid", "Tanh")


def are_smooth(gate: str, update: str) -> bool:
    """Whether a cell's units are tables of z and g."""
    return is_tabulated(gate) and is_tabulated(update)


def interpolate(table: Int32Array, x: Int64Array, bits: int) -> Int64Array:
    """The value at ``x`` in a table [..., segments of 2^bits], 32 bits; leading axes are those of the end of ``x``.

    One load and one multiply-accumulate of 32 bits: entry + lower half * (place in the segment << 15 - bits). That
    the lower half is part of the sum moves the upper one by less than 1/16.
    """
    argument = np.clip(x, -(1 << RANGE_BITS - 1), (1 << RANGE_BITS - 1) - 1)
    segment = (argument >> bits) + table.shape[-1] // 2
    if table.ndim == 2:
        entry = table[np.arange(len(table)), segment].astype(np.int64)
    else:
        entry = table[segment].astype(np.int64)
    slope = ((entry & 0xFFFF) ^ 0x8000) - 0x8000
    within = argument & ((1 << bits) - 1)
    value: Int64Array = entry + slope * (within << (15 - bits))
    return value


def gate_table(name: str) -> Int32Array:
    """Segments of sigmoid or tanh over [-8, 8), in Q15 [512]."""
    return _segments(gate_real(name, _nodes(SEGMENT_BITS)) * 2.0**15)


def z_table() -> Int32Array:
    """Segments of z over [-8, 8), in Q15 [256]."""
    return _segments(_between(gate_real("Sigmoid", _nodes(UNIT_SEGMENT_BITS, 1))) * 2.0**15)


def g_tables(leads: npt.NDArray[np.int16], zeta: int, nu: int) -> Int32Array:
    """Segments of g over [-8, 8) of units with these ``leads`` in Q11, in Q14 [units, 256]; zeta and nu in Q15."""
    a = _nodes(UNIT_SEGMENT_BITS, 1)
    z = gate_real("Sigmoid", a)
    share = (zeta * (1 - z) + nu) / 2.0**15
    g = _between(share * np.tanh(a + leads[:, None].astype(np.float64) / 2**FRACTION))
    room = 2 - _between(z) - 2.0**-10  # z * h + g must stay below 2, for 32 bits hold no more
    return _segments(np.clip(g, -room, room) * 2.0**14)


def _nodes(bits: int, more: int = 0) -> Float64Array:
    """The ends of a table's segments, and ``more`` to either side."""
    half = (1 << RANGE_BITS - 1) >> bits
    return np.arange(-half - more, half + more + 1).astype(np.float64) * 2.0 ** (bits - FRACTION)


def _between(values: Float64Array) -> Float64Array:
    """Nodes moved off a function's ``values`` so that nodes and middles of the chords are equally wrong.

    A chord is off by an eighth of the second difference in its middle; the first and the last value only serve that.
    """
    moved: Float64Array = values[..., 1:-1] - np.diff(values, 2, axis=-1) / 16
    return moved


def _segments(nodes: Float64Array) -> Int32Array:
    """(value at the start << 16) + 2 * rise to the end, of nodes [..., segments + 1]."""
    values = np.clip(np.rint(nodes), -32768, 32767).astype(np.int64)
    entries: Int32Array = ((values[..., :-1] << 16) + 2 * np.diff(values, axis=-1)).astype(np.int32)
    return entries
