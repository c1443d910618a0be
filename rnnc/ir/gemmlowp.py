"""Fixed-point exp, reciprocal, logistic and tanh as in TensorFlow Lite's reference integer kernels.

Source: the arithmetic of gemmlowp (fixedpoint.h), which those kernels are written in. A raw int32 in format
Qm.n stands for raw / 2^n, n = 31 - m. All functions take and return int64 arrays that hold int32 values.
"""

from __future__ import annotations

import math

import numpy as np

from rnnc.ir.fixedpoint import INT32_MAX, Int64Array, doubling_high_multiply, rounding_shift_right

INT32_MIN = -(2**31)


def fixed_point(real: float, integer_bits: int = 0) -> int:
    """``real`` rounded to the raw value of format Q(integer_bits)."""
    scaled = real * 2.0 ** (31 - integer_bits)
    return min(max(math.floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1), INT32_MIN), INT32_MAX)


def times(a: Int64Array, b: int) -> Int64Array:
    return doubling_high_multiply(a, np.asarray(b, np.int64))


def saturating_shift_left(x: Int64Array, shift: int) -> Int64Array:
    saturated: Int64Array = np.clip(x << shift, INT32_MIN, INT32_MAX)
    return saturated


def exp_near_zero(a: Int64Array) -> Int64Array:
    """exp of Q0 values in [-1/4, 0): four terms of the Taylor series around -1/8."""
    x = a + (1 << 28)
    x2 = doubling_high_multiply(x, x)
    x3 = doubling_high_multiply(x2, x)
    x4 = doubling_high_multiply(x2, x2)
    higher = times(rounding_shift_right(x4, 2) + x3, fixed_point(1.0 / 3.0)) + x2
    centre = fixed_point(math.exp(-0.125))
    return centre + times(x + rounding_shift_right(higher, 1), centre)


def exp_on_negative_values(a: Int64Array, integer_bits: int) -> Int64Array:
    """exp of values a <= 0 in Q(integer_bits), integer_bits <= 5, as Q0."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    inner = (a & (quarter - 1)) - quarter
    result = exp_near_zero(saturating_shift_left(inner, integer_bits))
    remainder = inner - a
    for exponent in range(-2, integer_bits):
        factor = times(result, fixed_point(math.exp(-(2.0**exponent))))
        result = np.where(remainder & (1 << (fraction_bits + exponent)), factor, result)
    return np.where(a == 0, INT32_MAX, result)


def reciprocal_of_half_sum(a: Int64Array) -> Int64Array:
    """2 / (1 + a) in Q2 for a in [0, 1) in Q0: three steps of Newton and Raphson."""
    half_denominator = (a + INT32_MAX + 1) >> 1
    x = fixed_point(48.0 / 17.0, 2) + times(half_denominator, fixed_point(-32.0 / 17.0, 2))
    one = 1 << 29
    for _ in range(3):
        error = one - doubling_high_multiply(half_denominator, x)
        x = x + saturating_shift_left(doubling_high_multiply(x, error), 2)
    return x


def one_over_one_plus(a: Int64Array) -> Int64Array:
    """1 / (1 + a) in Q0 for a in [0, 1) in Q0."""
    return saturating_shift_left(reciprocal_of_half_sum(a), 1)


def logistic(a: Int64Array, integer_bits: int) -> Int64Array:
    """1 / (1 + exp(-a)) in Q0 for a in Q(integer_bits)."""
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(a), integer_bits))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, INT32_MAX - positive))


def tanh(a: Int64Array, integer_bits: int) -> Int64Array:
    """tanh(a) in Q0 for a in Q(integer_bits), integer_bits <= 4."""
    exp = exp_on_negative_values(-np.abs(a), integer_bits + 1)
    size = saturating_shift_left(reciprocal_of_half_sum(exp) - (1 << 29), 2)
    return np.where(a == 0, 0, np.where(a < 0, -size, size))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """The largest |input| whose product with a multiplier of this shift stays in Q(integer_bits)."""
    reach = float((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits)
    return math.floor(reach / 2.0**left_shift)
