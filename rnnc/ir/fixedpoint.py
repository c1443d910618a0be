"""The arithmetic of requantisation: the one definition that numpy, portable C and DSP C share.

``fast`` rounds once: the high word of a 32x32 multiply with rounding (SMMLAR on the Cortex-M4).
``tflite`` is what TensorFlow Lite's reference kernels do: a doubling high multiply, then a rounding shift.
docs/arithmetic.md derives both. All functions take and return int64 arrays that hold int32 values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError

Arithmetic = Literal["fast", "tflite"]
Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Int8Array = npt.NDArray[np.int8]

INT32_MAX = 2**31 - 1


def high_multiply(a: Int64Array, b: Int64Array) -> Int64Array:
    """(a * b + 2^31) >> 32: SMMULR."""
    return (a * b + (1 << 31)) >> 32


def doubling_high_multiply(a: Int64Array, b: Int64Array) -> Int64Array:
    """gemmlowp's SaturatingRoundingDoublingHighMul; rounds half up."""
    product = a * b
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    quotient = np.where(total >= 0, total >> 31, -((-total) >> 31))
    return np.minimum(quotient, INT32_MAX)


def rounding_shift_right(x: Int64Array, shift: Int64Array | int) -> Int64Array:
    """gemmlowp's RoundingDivideByPOT; rounds half away from zero."""
    shift = np.asarray(shift, np.int64)
    mask = (np.int64(1) << shift) - 1
    remainder = x & mask
    threshold = (mask >> 1) + (x < 0)
    return (x >> shift) + (remainder > threshold)


def multiply_by_quantized_multiplier(x: Int64Array, multiplier: Int64Array, shift: Int64Array) -> Int64Array:
    """TensorFlow Lite's MultiplyByQuantizedMultiplier with double rounding; shift > 0 is to the left."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    return rounding_shift_right(doubling_high_multiply(x << left, multiplier), right)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """TensorFlow Lite's QuantizeMultiplier: real = multiplier * 2^(shift - 31), multiplier in [2^30, 2^31)."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    return multiplier, shift


@dataclass(frozen=True, eq=False)
class Requant:
    """How int32 accumulators become int8: ``multipliers`` and ``shifts`` by channel (int32 [C], int8 [C]).

    fast:   clip(((acc << shift) * multiplier + 2^31 >> 32) + zero_point); one left shift for all channels.
    tflite: clip(MultiplyByQuantizedMultiplier(acc, multiplier, shift) + zero_point).
    """

    arithmetic: Arithmetic
    multipliers: Int32Array
    shifts: Int8Array
    zero_point: int
    low: int = -128
    high: int = 127

    def apply(self, acc: Int64Array) -> Int64Array:
        """Requantise accumulators [..., C] to the stored integers, still as int64."""
        multiplier, shift = self.multipliers.astype(np.int64), self.shifts.astype(np.int64)
        if self.arithmetic == "fast":
            scaled = high_multiply(acc << shift, multiplier)
        else:
            scaled = multiply_by_quantized_multiplier(acc, multiplier, shift)
        return np.clip(scaled + self.zero_point, self.low, self.high)

    @property
    def real(self) -> npt.NDArray[np.float64]:
        """What the accumulators are multiplied by, by channel."""
        exponents = self.shifts.astype(np.float64) - (32 if self.arithmetic == "fast" else 31)
        result: npt.NDArray[np.float64] = self.multipliers * 2.0**exponents
        return result

    def apply_once(self, acc: Int64Array) -> Int64Array:
        """The same with one rounding in either arithmetic, as LiteRT's fully connected kernel has it."""
        if self.arithmetic == "fast":
            return self.apply(acc)
        right = 31 - self.shifts.astype(np.int64)
        scaled: Int64Array = (acc * self.multipliers.astype(np.int64) + (np.int64(1) << (right - 1))) >> right
        result: Int64Array = np.clip(scaled + self.zero_point, self.low, self.high)
        return result


def make_requant(
    arithmetic: Arithmetic,
    real: npt.NDArray[np.float64],
    bound: int,
    zero_point: int,
    low: int = -128,
    high: int = 127,
) -> Requant:
    """Requantisation by the real multipliers ``real`` [C] of accumulators that are never above ``bound``.

    Raises CompileError when a multiplier is so large that the accumulators would not fit (output scale far
    too small for the inputs).
    """
    largest = float(np.max(real, initial=0.0))
    pairs = [quantize_multiplier(float(value)) for value in real]
    shift = left_shift_for(largest) if arithmetic == "fast" else max((pair[1] for pair in pairs), default=0)
    if bound << max(shift, 0) > INT32_MAX:
        raise CompileError(
            f"accumulators of up to {bound} are multiplied by up to {largest:g}, which does not fit 32 bits",
            why="the layer has too many weights, or the output scale is far too small for its inputs",
            remedy="calibrate with representative data, give this output a larger scale, or split the layer",
        )
    if arithmetic == "tflite":
        multipliers = np.array([pair[0] for pair in pairs], np.int32)
        return Requant(arithmetic, multipliers, np.array([p[1] for p in pairs], np.int8), zero_point, low, high)
    multipliers = np.round(real * 2.0 ** (32 - shift)).astype(np.int64).clip(0, INT32_MAX).astype(np.int32)
    return Requant(arithmetic, multipliers, np.full(len(real), shift, np.int8), zero_point, low, high)


def left_shift_for(real: float) -> int:
    """The smallest left shift s >= 0 with real * 2^(32 - s) below 2^31."""
    shift = 0
    while round(real * 2.0 ** (32 - shift)) > INT32_MAX:
        shift += 1
    return shift
