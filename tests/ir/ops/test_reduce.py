"""ReduceMax over channels, and over whole maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.ir.ops.global_pool import GlobalMaxPool
from rnnc.ir.ops.reduce import ReduceMax
from rnnc.ir.types import Quant
from tests.ir.ops.single_node import assert_as_onnxruntime, imported, model_of, only_op, quantised_error

IMAGE = (1, 3, 4, 5)


@pytest.mark.parametrize("axis", [1, -3])
def test_over_channels(axis: int) -> None:
    assert_as_onnxruntime(model_of("ReduceMax", [IMAGE], {1: np.array([axis], np.int64)}))
    assert_as_onnxruntime(model_of("ReduceMax", [IMAGE], opset=13, axes=[axis]))


@pytest.mark.parametrize("keepdims", [0, 1])
def test_over_height_and_width_is_global_pooling(keepdims: int) -> None:
    model = model_of("ReduceMax", [IMAGE], opset=13, axes=[2, 3], keepdims=keepdims)
    assert_as_onnxruntime(model)
    only_op(model, GlobalMaxPool)


@pytest.mark.parametrize("attributes", [{"axes": [2]}, {"axes": [1], "keepdims": 0}, {}])
def test_refusals(attributes: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match=r"(?s)the_node.*ReduceMax over the axes.*over the channels"):
        imported(model_of("ReduceMax", [IMAGE], opset=13, **attributes))


def test_the_maximum_is_exact() -> None:
    codes = np.random.default_rng(0).integers(-128, 128, (4, 5, 3)).astype(np.int8)
    error, _ = quantised_error(ReduceMax(), [(codes, Quant(0.25, 3))], Quant(0.25, 3), "fast")
    assert error == 0
