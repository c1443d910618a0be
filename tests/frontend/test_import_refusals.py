"""Import and layout: what is refused, and in which words."""

from __future__ import annotations

import numpy as np
import pytest

from rnnc.diagnostics import CompileError
from rnnc.frontend.importer import import_model
from rnnc.frontend.load import prepare_model
from rnnc.ir.ops import FLOAT_OPS
from rnnc.passes import FLOAT_PASSES, run_passes
from tests.onnx_models import onnx_model

Shapes = dict[str, tuple[int, ...]]

IMAGE = "g (float[N, 3, 8, 6] x) => (float y)"
CONV = {"w": (4, 3, 3, 3), "b": (4,)}


def ones(shapes: Shapes) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


REFUSED: dict[str, tuple[str, Shapes, tuple[str, ...]]] = {
    "unknown operators": (
        f"{IMAGE} {{ [first] a = Erf(x) [second] b = Exp(a) y = Relu(b) }}",
        {},
        ("not supported: Erf (node 'first'), Exp (node 'second')", "supported:", "Conv", "MaxPool"),
    ),
    "computed weights": (
        f"{IMAGE} {{ r = Relu(x) [c] y = Conv(x, r) }}",
        {},
        ("node 'c'", "input 1 of Conv is computed while the model runs", "constant weights"),
    ),
    "batch merged": (
        f"{IMAGE} {{ s = Constant<value = int64[2] {{-1, 3}}>() [r] y = Reshape(x, s) }}",
        {},
        ("node 'r'", "Reshape of [1, 3, 8, 6] to [48, 3] merges the batch axis", "Flatten with axis=1"),
    ),
    "batch transposed": (
        f"{IMAGE} {{ [t] y = Transpose<perm = [1, 0, 2, 3]>(x) }}",
        {},
        ("node 't'", "moves the batch axis"),
    ),
    "constant over two axes": (
        f"{IMAGE} {{ [a] y = Add(x, k) }}",
        {"k": (8, 6)},
        ("node 'a'", "[1, 3, 8, 6] and a constant [8, 6]", "one number per channel"),
    ),
    "reflect": (
        f"{IMAGE} {{ p = Constant<value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}>()"
        ' [p1] y = Pad<mode = "reflect">(x, p) }',
        {},
        ("node 'p1'", "mode=reflect", "constant (zero) and edge"),
    ),
    "constant output": (
        f"{IMAGE} {{ y = Constant<value_float = 1.0>() }}",
        {},
        ("output 'y'", "does not depend on any input"),
    ),
    "half precision": (
        f"{IMAGE} {{ [h] a = Cast<to = 10>(x) b = Relu(a) y = Cast<to = 1>(b) }}",
        {},
        ("node 'h'", "Cast from float32 to float16", "export the model in float32"),
    ),
    "stride of zero": (
        f"{IMAGE} {{ [c] y = Conv<strides = [0, 1]>(x, w) }}",
        CONV,
        ("node 'c'", "the attributes or constants of this Conv do not fit together", "ZeroDivisionError"),
    ),
    "negative variance": (
        f"{IMAGE} {{ [n] y = BatchNormalization<epsilon = -2.0>(x, k, k, k, k) }}",
        {"k": (3,)},
        ("node 'n'", "a variance that is not positive"),
    ),
    "infinite constant": (
        f"{IMAGE} {{ z = Constant<value_float = 0.0>() k = Div(w, z) [c] y = Conv(x, k) }}",
        CONV,
        ("constant 'k' of node 'c'", "NaN or infinity"),
    ),
    "impossible layer": (
        f"{IMAGE} {{ [c] y = Conv(x, w) }}",
        {"w": (4, 3, 9, 9)},
        ("node 'c'", "larger than its padded input 8x6"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    text, shapes, words = REFUSED[name]
    model = onnx_model(text, ones(shapes))
    with pytest.raises(CompileError) as caught:
        import_model(model, FLOAT_OPS)
    for word in words:
        assert word in str(caught.value), str(caught.value)


STUCK: dict[str, tuple[str, Shapes, tuple[str, ...]]] = {
    "transposed before a layer": (
        f"{IMAGE} {{ c = Conv(x, w, b) [t] u = Transpose<perm = [0, 1, 3, 2]>(c) y = Conv(u, v) }}",
        {**CONV, "v": (2, 4, 3, 3)},
        (
            "node 't': the transposition or reshape of 'c' cannot be removed",
            "'c' lies in memory as [6, 4, 4] (height, width, channels), 'y' (conv) reads it as [4, 6, 4]",
            "undo it in the model",
        ),
    ),
}


@pytest.mark.parametrize("name", STUCK)
def test_layouts_that_would_move_data_are_refused(name: str) -> None:
    text, shapes, words = STUCK[name]
    graph = import_model(prepare_model(onnx_model(text, ones(shapes)), "test"), FLOAT_OPS)
    with pytest.raises(CompileError) as caught:
        run_passes(graph, FLOAT_PASSES, lambda name, text: None)
    for word in words:
        assert word in str(caught.value), str(caught.value)
