"""What convolution and dense layers share: quantising weights, biases and clamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import (
    INT32_MAX,
    Arithmetic,
    Int8Array,
    Int32Array,
    Requant,
    make_requant,
    quantize_multiplier,
)
from rnnc.ir.op import Const, Field, Table
from rnnc.ir.types import Quant


@dataclass(frozen=True, eq=False)
class Linear:
    """Integer weights [O, ...], bias [O] with the input zero point folded in, and the requantisation."""

    weight: Int8Array
    bias: Int32Array
    requant: Requant


def quantise_linear(
    weight: Const,
    bias: Const | None,
    x: Quant,
    y: Quant,
    arithmetic: Arithmetic,
    low: float | None,
    high: float | None,
    product_in_float32: bool = False,
) -> Linear:
    """Quantise weights by output channel (axis 0), keeping a QDQ model's own integers and scales.

    ``product_in_float32``: TensorFlow Lite multiplies the scales of a fully connected layer in float32.
    """
    stored, scale = stored_weights(weight)
    out = stored.shape[0]
    products = scale * x.scale
    if product_in_float32:
        products = (scale.astype(np.float32) * np.float32(x.scale)).astype(np.float64)
    raw_bias = stored_bias(bias, out, products)
    folded = raw_bias - x.zero_point * stored.reshape(out, -1).sum(axis=1)
    folded = np.clip(folded, -INT32_MAX, INT32_MAX)
    lowest, highest = quantised_clamp(y, low, high)
    requant = make_requant(
        arithmetic, products / y.scale, accumulator_bound(stored, folded), y.zero_point, lowest, highest
    )
    return Linear(stored.astype(np.int8), folded.astype(np.int32), requant)


def stored_weights(weight: Const) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Symmetric int8 weights and one scale per output channel."""
    out = weight.values.shape[0]
    if weight.stored is not None and weight.scale is not None and np.abs(weight.stored).max(initial=0) <= 128:
        return weight.stored, np.broadcast_to(weight.scale.astype(np.float64).ravel(), (out,)).copy()
    peak = np.abs(weight.values.reshape(out, -1)).max(axis=1, initial=0.0).astype(np.float64)
    scale = np.where(peak > 0, peak / 127.0, 1.0)
    shape = (out,) + (1,) * (weight.values.ndim - 1)
    return np.clip(np.rint(weight.values / scale.reshape(shape)), -127, 127).astype(np.int64), scale


def stored_bias(bias: Const | None, out: int, products: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    if bias is None:
        return np.zeros(out, np.int64)
    if bias.stored is not None and bias.scale is not None and np.allclose(bias.scale, products, rtol=1e-4, atol=0):
        return np.broadcast_to(bias.stored.ravel(), (out,)).astype(np.int64)
    limit = INT32_MAX // 4
    return np.clip(np.rint(bias.values.astype(np.float64) / products), -limit, limit).astype(np.int64)


def accumulator_bound(weight: npt.NDArray[np.generic], bias: npt.NDArray[np.generic]) -> int:
    """The largest |accumulator| that any int8 input can give, over all channels."""
    reach = np.abs(weight.astype(np.int64)).reshape(weight.shape[0], -1).sum(axis=1) * 128
    return int((reach + np.abs(bias.astype(np.int64))).max(initial=0))


def quantised_clamp(y: Quant, low: float | None, high: float | None) -> tuple[int, int]:
    """The real range [low, high] as stored int8, rounded half away from zero as TensorFlow Lite does."""
    return (
        -128 if low is None else clamp_code(y, low),
        127 if high is None else clamp_code(y, high),
    )


def clamp_code(y: Quant, real: float) -> int:
    scaled = np.float32(real) / np.float32(y.scale)
    rounded = int(np.floor(abs(scaled) + np.float32(0.5))) * (1 if scaled >= 0 else -1)
    return int(np.clip(y.zero_point + rounded, -128, 127))


def clamp_range(low: float | None, high: float | None) -> tuple[float, float]:
    return (-np.inf if low is None else low, np.inf if high is None else high)


class ClampFields(TypedDict):
    """The fields that hold the real clamps of an operator."""

    low: float | None
    high: float | None


def merge_clamp(low: float | None, high: float | None, then_low: float | None, then_high: float | None) -> ClampFields:
    """Fields of a clamp to [low, high] followed by one to [then_low, then_high]."""
    first, second = clamp_range(low, high), clamp_range(then_low, then_high)
    bottom = min(max(first[0], second[0]), second[1])
    top = max(min(first[1], second[1]), second[0])
    return {"low": None if np.isinf(bottom) else float(bottom), "high": None if np.isinf(top) else float(top)}


def requant_members(requant: Requant) -> Mapping[str, Field]:
    """Members of rnnc_requant (runtime/c/include/rnnc_requant.h) nested as ``requant``."""
    fast = requant.arithmetic == "fast"
    return {
        "requant.multipliers": Table("int32_t", requant.multipliers),
        "requant.shifts": None if fast else Table("int8_t", requant.shifts),
        "requant.left_shift": int(requant.shifts[0]) if fast else 0,
        "requant.zero_point": requant.zero_point,
        "requant.low": requant.low,
        "requant.high": requant.high,
    }


def pack_pairs(weight: npt.NDArray[np.int8]) -> Int8Array:
    """Weights [O, depth] of a dense kernel (rnnc_linear.h): zero-padded to whole words of four, the words of two
    output channels alternating."""
    out, depth = weight.shape
    words = -(-depth // 4)
    padded = np.zeros((out, words * 4), np.int8)
    padded[:, :depth] = weight
    rows = padded.reshape(out, words, 4)
    even = out // 2 * 2
    return np.concatenate([rows[:even].reshape(-1, 2, words, 4).swapaxes(1, 2).ravel(), rows[even:].ravel()])


def random_requant(rng: np.random.Generator, arithmetic: Arithmetic, channels: int, bound: int) -> Requant:
    """Parameters for tests: some channels saturate, some vanish, zero points and clamps at the edges."""
    real = 2.0 ** rng.uniform(-2, 4, channels) * 256 / max(bound, 1)
    real[rng.random(channels) < 0.1] = 0.0
    zero_point = int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))
    low, high = -128, 127
    if rng.random() < 0.5:
        # wide enough for values between the clamps
        ranges = [(-128, -32), (-63, 127), (-100, 99), (min(zero_point, 63), 127)]
        low, high = ranges[int(rng.integers(len(ranges)))]
    if arithmetic == "fast":
        return make_requant(arithmetic, real, bound, zero_point, low, high)
    pairs = [quantize_multiplier(float(v)) for v in real]
    return Requant(
        arithmetic,
        np.array([p[0] for p in pairs], np.int32),
        np.array([p[1] for p in pairs], np.int8),
        zero_point,
        low,
        high,
    )
