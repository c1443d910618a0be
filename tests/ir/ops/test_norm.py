"""L2 normalisation over channels."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.op import evaluate
from rnnc.ir.ops.norm import LpNorm, integer_square_root
from rnnc.ir.types import Quant, TensorType
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, quantised_error


@pytest.mark.parametrize("axis", [1, -3])
def test_as_onnxruntime(axis: int) -> None:
    assert_as_onnxruntime(model_of("LpNormalization", [(1, 6, 4, 5)], axis=axis, p=2))


@pytest.mark.parametrize(("attributes", "what"), [({"axis": 1, "p": 1}, "p=1"), ({"axis": -1}, "over axis -1")])
def test_refusals(attributes: dict[str, int], what: str) -> None:
    with pytest.raises(CompileError, match=what):
        imported(model_of("LpNormalization", [(1, 6, 4, 5)], **attributes))


@pytest.mark.parametrize("zero_point", [-128, 0, 77])
@pytest.mark.parametrize("channels", [1, 7, 256])
@pytest.mark.parametrize("gained", [False, True])
def test_within_half_a_step(channels: int, zero_point: int, gained: bool) -> None:
    rng = np.random.default_rng(channels)
    codes = rng.integers(-128, 128, (5, 4, channels)).astype(np.int8)
    codes[0] = zero_point  # a pixel of zeros
    codes[1] = np.clip(zero_point + rng.integers(-2, 3, codes[1].shape), -128, 127)
    op, output = LpNorm(), Quant(1 / 127, 3)
    if gained:
        op, output = op.with_gain(rng.uniform(-10, 10, channels).astype(np.float32)), Quant(10 / 127, 3)
    error, _ = quantised_error(op, [(codes, Quant(0.031, zero_point))], output, "fast")
    assert error <= 0.505


def test_gain_follows_the_normalisation() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    gain = np.array([1.0, -2.0, 0.0, 8.0], np.float32)
    expected = LpNorm().evaluate([x]) * gain
    np.testing.assert_allclose(LpNorm().with_gain(gain).evaluate([x]), expected, rtol=1e-6)
    twice = LpNorm().with_gain(gain).with_gain(np.array([2.0], np.float32))
    np.testing.assert_allclose(twice.evaluate([x]), 2 * expected, rtol=1e-6)
    with pytest.raises(CompileError, match="4 gains for 3 channels"):
        twice.infer([TensorType((2, 3, 3))])


def test_integer_square_root() -> None:
    roots = np.array([0, 1, 2, 2**15, 46340, 46341, 65535], np.int64)
    x = np.concatenate([roots**2, roots**2 - 1, roots**2 + 1, [2**32 - 1]]).clip(0)
    assert all(r * r <= v < (r + 1) * (r + 1) for r, v in zip(integer_square_root(x).tolist(), x.tolist(), strict=True))


def test_zero_pixels_give_the_zero_point() -> None:
    x = TensorType((1, 2, 3), "int8", Quant(0.1, -5))
    y = TensorType((1, 2, 3), "int8", Quant(0.01, 11))
    op = LpNorm().quantise([x], y, "fast")
    codes = np.full((1, 2, 3), -5, np.int8)
    assert (evaluate(op, [codes], [x], y) == 11).all()


def test_a_hopeless_output_scale_is_refused() -> None:
    x = TensorType((1, 1, 3), "int8", Quant(0.1))
    with pytest.raises(CompileError, match="too small for gains of up to 1"):
        LpNorm().quantise([x], x.with_quant(Quant(1e-7)), "fast")
