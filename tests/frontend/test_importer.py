"""Import: the graph computes what onnxruntime computes, before and after the passes on real numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto

from rnnc.frontend.importer import import_model, supported_operators
from rnnc.frontend.load import prepare_model
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import model_output, run_float
from rnnc.ir.ops import FLOAT_OPS
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.dense import Dense
from rnnc.ir.verify import verify
from rnnc.passes import FLOAT_PASSES, run_passes
from rnnc.zoo import build
from tests.onnx_models import onnx_model, onnxruntime_outputs, random_inputs

Shapes = dict[str, tuple[int, ...]]


def imported(model: ModelProto) -> Graph:
    graph = import_model(prepare_model(model, "test"), FLOAT_OPS)
    verify(graph)
    return graph


def weights(shapes: Shapes) -> dict[str, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    made = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.abs(array) + 0.5 if name.startswith("var") else array for name, array in made.items()}


def compare(model: ModelProto) -> Graph:
    """Compare a model with onnxruntime as imported and after all float passes; returns the final graph."""
    graph = imported(model)
    inputs = random_inputs(model, np.random.default_rng(2))
    expected = onnxruntime_outputs(model, inputs)
    for stage in ("import", "passes"):
        if stage == "passes":
            run_passes(graph, FLOAT_PASSES, lambda name, text: None)
        values = run_float(graph, inputs)
        for port in graph.outputs:
            actual = model_output(port, values[port.value.name])
            assert actual.shape == expected[port.name].shape
            np.testing.assert_allclose(actual, expected[port.name], rtol=1e-4, atol=1e-4, err_msg=stage)
    assert all(len(value.type.shape) == 3 for value in graph.values())
    return graph


IMAGE = "g (float[N, 3, 8, 6] x) => (float y)"
VECTOR = "g (float[N, 10] x) => (float y)"
CONV = {"w": (4, 3, 3, 3), "b": (4,)}

CASES: dict[str, tuple[str, Shapes]] = {
    "conv": (f"{IMAGE} {{ y = Conv<strides = [2, 1], pads = [1, 0, 2, 1]>(x, w, b) }}", CONV),
    "conv dilated": (f"{IMAGE} {{ y = Conv<dilations = [2, 2], pads = [2, 2, 2, 2]>(x, w) }}", CONV),
    "conv same upper": (f'{IMAGE} {{ y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w) }}', CONV),
    "conv same lower": (f'{IMAGE} {{ y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w) }}', CONV),
    "conv valid": (f'{IMAGE} {{ y = Conv<auto_pad = "VALID">(x, w) }}', CONV),
    "conv depthwise": (f"{IMAGE} {{ y = Conv<group = 3, pads = [1, 1, 1, 1]>(x, w) }}", {"w": (3, 1, 3, 3)}),
    "conv grouped": (
        "g (float[N, 4, 5, 5] x) => (float y) { y = Conv<group = 2>(x, w, b) }",
        {"w": (6, 2, 3, 3), "b": (6,)},
    ),
    "conv 1-d": (
        "g (float[N, 3, 20] x) => (float y) { y = Conv<strides = [2], pads = [1, 2]>(x, w, b) }",
        {"w": (5, 3, 4), "b": (5,)},
    ),
    "batch norm": (
        f"{IMAGE} {{ c = Conv(x, w) r = Relu(c) y = BatchNormalization(r, s, o, m, var) }}",
        {"w": (4, 3, 3, 3), "s": (4,), "o": (4,), "m": (4,), "var": (4,)},
    ),
    "batch norm folded": (
        f"{IMAGE} {{ c = Conv(x, w) n = BatchNormalization(c, s, o, m, var) y = Relu(n) }}",
        {"w": (4, 3, 3, 3), "s": (4,), "o": (4,), "m": (4,), "var": (4,)},
    ),
    "batch norm of a sequence": (
        "g (float[N, 4, 9] x) => (float y) { y = BatchNormalization<epsilon = 0.1>(x, s, o, m, var) }",
        {"s": (4,), "o": (4,), "m": (4,), "var": (4,)},
    ),
    "activations": (
        f"{IMAGE} {{ a = Relu(x) b = LeakyRelu<alpha = 0.2>(x) c = Sigmoid(x) d = Tanh(x) e = HardSigmoid(x)"
        " f = HardSwish(x) g1 = Add(a, b) g2 = Add(c, d) g3 = Mul(e, f) g4 = Add(g1, g2) y = Sub(g4, g3) }",
        {},
    ),
    "clip": (
        f"{IMAGE} {{ lo = Constant<value_float = -0.5>() hi = Constant<value_float = 1.5>() y = Clip(x, lo, hi) }}",
        {},
    ),
    "squeeze and excite": (
        f"{IMAGE} {{ c = Conv(x, w) p = GlobalAveragePool(c) s = Sigmoid(p) y = Mul(c, s) }}",
        {"w": (4, 3, 3, 3)},
    ),
    "constants": (
        f"{IMAGE} {{ two = Constant<value_float = 2.0>() a = Mul(x, two) b = Sub(two, a) c = Div(b, k)"
        " d = Add(k, c) y = Sub(d, two) }",
        {"k": (3, 1, 1)},
    ),
    "constants channels last": (
        "g (float[N, 8, 6, 3] x) => (float y) { a = Mul(x, k) t = Transpose<perm = [0, 3, 1, 2]>(a)"
        " y = Conv(t, w, b) }",
        {"k": (3,), **CONV},
    ),
    "preprocessing before padding": (
        f"{IMAGE} {{ a = Add(x, k) y = Conv<pads = [1, 1, 1, 1]>(a, w, b) }}",
        {"k": (1, 3, 1, 1), **CONV},
    ),
    "preprocessing folded": (
        f"{IMAGE} {{ m = Mul(x, g1) a = Add(m, k) y = Conv(a, w, b) }}",
        {"g1": (1, 3, 1, 1), "k": (1, 3, 1, 1), **CONV},
    ),
    "max pool": (f"{IMAGE} {{ y = MaxPool<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 1, 0]>(x) }}", {}),
    "average pool": (
        f"{IMAGE} {{ y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x) }}",
        {},
    ),
    "average pool counting pads": (
        f"{IMAGE} {{ y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x) }}",
        {},
    ),
    "global pools": (
        f"{IMAGE} {{ a = GlobalAveragePool(x) b = ReduceMean<axes = [2, 3], keepdims = 1>(x) y = Add(a, b) }}",
        {},
    ),
    "reduced to a vector": (f"{IMAGE} {{ a = ReduceMean<axes = [2, 3], keepdims = 0>(x) y = Relu(a) }}", {}),
    "concat channels": (
        f"{IMAGE} {{ c = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = Concat<axis = 1>(x, c, x) }}",
        CONV,
    ),
    "concat rows": (f"{IMAGE} {{ c = Relu(x) d = Concat<axis = 2>(x, c) y = Conv(d, w, b) }}", CONV),
    "concat columns": (f"{IMAGE} {{ c = Relu(x) y = Concat<axis = -1>(x, c) }}", {}),
    "slices": (
        f"{IMAGE} {{ s = Constant<value = int64[2] {{1, -5}}>()"
        " e = Constant<value = int64[2] {3, 9223372036854775807}>()"
        " a = Constant<value = int64[2] {1, 2}>() p = Slice(x, s, e, a) y = Relu(p) }",
        {},
    ),
    "slice steps": (
        f"{IMAGE} {{ s = Constant<value = int64[2] {{0, 1}}>() e = Constant<value = int64[2] {{9, 6}}>()"
        " a = Constant<value = int64[2] {2, 3}>() t = Constant<value = int64[2] {3, 2}>() y = Slice(x, s, e, a, t) }",
        {},
    ),
    "split": (
        f"{IMAGE} {{ s = Constant<value = int64[2] {{1, 2}}>() a, b = Split<axis = 1>(x, s) c = Relu(b)"
        " y = Concat<axis = 1>(c, a) }",
        {},
    ),
    "pad zero": (
        f"{IMAGE} {{ p = Constant<value = int64[8] {{0, 0, 1, 2, 0, 0, 0, 1}}>() q = Pad(x, p)"
        " y = Conv<pads = [1, 1, 1, 1]>(q, w, b) }",
        CONV,
    ),
    "pad edge": (
        f'{IMAGE} {{ p = Constant<value = int64[8] {{0, 0, 1, 2, 0, 0, 2, 1}}>() q = Pad<mode = "edge">(x, p)'
        " y = Conv(q, w, b) }",
        CONV,
    ),
    "pad channels": (
        f"{IMAGE} {{ p = Constant<value = int64[8] {{0, 1, 0, 0, 0, 2, 0, 0}}>() y = Pad(x, p) }}",
        {},
    ),
    "flatten and gemm": (
        f"{IMAGE} {{ c = Conv(x, w, b) r = Relu(c) f = Flatten(r) h = Gemm<transB = 1>(f, v, u) y = Relu(h) }}",
        {**CONV, "v": (5, 96), "u": (5,)},
    ),
    "flattened map": (f"{IMAGE} {{ c = Conv(x, w, b) y = Flatten(c) }}", CONV),
    "gemm scaled": (f"{VECTOR} {{ y = Gemm<alpha = 0.5, beta = 2.0>(x, v, u) }}", {"v": (10, 3), "u": (3,)}),
    "matmul and add": (f"{VECTOR} {{ m = MatMul(x, v) y = Add(m, u) }}", {"v": (10, 3), "u": (3,)}),
    "computed reshape": (
        f"{IMAGE} {{ c = Conv(x, w, b) s = Shape(c) i = Constant<value = int64[1] {{0}}>()"
        " n = Gather(s, i) m = Constant<value = int64[1] {-1}>() t = Concat<axis = 0>(n, m) f = Reshape(c, t)"
        " y = MatMul(f, v) }",
        {**CONV, "v": (96, 4)},
    ),
    "softmax": (f"{VECTOR} {{ m = MatMul(x, v) y = Softmax(m) }}", {"v": (10, 3)}),
    "norm with gain": (f"{IMAGE} {{ n = LpNormalization<axis = 1>(x) y = Mul(n, k) }}", {"k": (1, 3, 1, 1)}),
    "channels last": (
        "g (float[N, 8, 6, 3] x) => (float y) { t = Transpose<perm = [0, 3, 1, 2]>(x) c = Conv(t, w, b)"
        " y = Transpose<perm = [0, 2, 3, 1]>(c) }",
        CONV,
    ),
    "activation between transpositions": (
        "g (float[N, 8, 6, 3] x) => (float y) { t = Transpose<perm = [0, 3, 1, 2]>(x) c = Conv(t, w, b)"
        " u = Transpose<perm = [0, 2, 3, 1]>(c) r = Relu(u) v = Transpose<perm = [0, 3, 1, 2]>(r)"
        " y = Conv(v, w2) }",
        {**CONV, "w2": (2, 4, 3, 3)},
    ),
    "residual through transpositions": (
        "g (float[N, 3, 8, 6] x) => (float y) { t = Transpose<perm = [0, 2, 3, 1]>(x)"
        " c = Conv<pads = [1, 1, 1, 1]>(x, w) u = Transpose<perm = [0, 2, 3, 1]>(c) y = Add(u, t) }",
        {"w": (3, 3, 3, 3)},
    ),
    "detection head": (
        "g (float[N, 3, 8, 6] x) => (float y) { c = Conv(x, w, b) t = Transpose<perm = [0, 2, 3, 1]>(c)"
        " s = Constant<value = int64[3] {0, -1, 2}>() y = Reshape(t, s) }",
        CONV,
    ),
    "no-ops": (
        f"{IMAGE} {{ a = Identity(x) d, m = Dropout(a) c = Cast<to = 1>(d) u = Constant<value = int64[1] {{3}}>()"
        " v = Unsqueeze(c, u) w1 = Squeeze(v, u) y = Conv(w1, w, b) }",
        CONV,
    ),
    "two inputs": (
        "g (float[N, 3, 8, 6] x, float[N, 8, 6, 3] z) => (float y) { t = Transpose<perm = [0, 3, 1, 2]>(z)"
        " a = Add(x, t) y = Conv(a, w, b) }",
        CONV,
    ),
    "two outputs": (
        "g (float[N, 3, 8, 6] x) => (float y, float z) { y = Conv(x, w, b) p = GlobalAveragePool(y) z = Flatten(p) }",
        CONV,
    ),
    "fixed batch of one": ("g (float[1, 3, 8, 6] x) => (float y) { y = Conv(x, w, b) }", CONV),
}


@pytest.mark.parametrize("name", CASES)
def test_import_equals_onnxruntime(name: str) -> None:
    text, shapes = CASES[name]
    compare(onnx_model(text, weights(shapes)))


@pytest.mark.parametrize("name", ["ds-cnn", "resnet-8", "rnnpool-vww"])
def test_networks_equal_onnxruntime(name: str) -> None:
    compare(build(name))


def test_passes_leave_only_the_layers() -> None:
    """Convolution, batch norm and clamp become one node; flatten costs nothing; names are the model's own."""
    text, shapes = CASES["batch norm folded"]
    graph = compare(onnx_model(text, weights(shapes)))
    assert [(node.op.name, node.output.name) for node in graph.nodes] == [("conv", "y")]
    text, shapes = CASES["flatten and gemm"]
    graph = compare(onnx_model(text, weights(shapes)))
    assert [(node.op.name, node.output.name) for node in graph.nodes] == [("conv", "r"), ("dense", "y")]
    assert graph.nodes[0].output.type.shape == (6, 4, 4)


def test_preprocessing_folds_into_a_convolution_without_padding() -> None:
    text, shapes = CASES["preprocessing folded"]
    assert [node.op.name for node in compare(onnx_model(text, weights(shapes))).nodes] == ["conv"]
    text, shapes = CASES["preprocessing before padding"]
    assert [node.op.name for node in compare(onnx_model(text, weights(shapes))).nodes] == ["affine", "conv"]


def test_nominal_macs_count_the_network_as_given() -> None:
    text, shapes = CASES["flatten and gemm"]
    assert imported(onnx_model(text, weights(shapes))).nominal_macs == 6 * 4 * 4 * 27 + 5 * 96


QDQ = """g (int8[N, 3, 8, 6] x) => (int8[N, 4, 6, 4] y) {
    f = DequantizeLinear(x, s0, z0) k = DequantizeLinear<axis = 0>(w, sw, zw) c0 = DequantizeLinear<axis = 0>(b, sb)
    c = Conv(f, k, c0) r = Relu(c) y = QuantizeLinear(r, s1, z1) }"""


def qdq_weights() -> dict[str, npt.NDArray[np.generic]]:
    rng = np.random.default_rng(3)
    scales = rng.uniform(0.01, 0.03, 4).astype(np.float32)
    return {
        "s0": np.float32(0.05),
        "z0": np.int8(-3),
        "w": rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "sw": scales,
        "zw": np.zeros(4, np.int8),
        "b": rng.integers(-900, 900, 4).astype(np.int32),
        "sb": scales * np.float32(0.05),
        "s1": np.float32(0.1),
        "z1": np.int8(-128),
    }


def test_dequantised_constants_keep_their_integers() -> None:
    given = qdq_weights()
    graph = imported(onnx_model(QDQ, given))
    conv = next(node.op for node in graph.nodes if isinstance(node.op, Conv))
    assert conv.bias is not None and conv.bias.stored is not None and conv.weight.stored is not None
    np.testing.assert_array_equal(conv.weight.stored, given["w"].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(conv.weight.scale, given["sw"].astype(np.float64))
    np.testing.assert_array_equal(conv.bias.stored, given["b"])
    assert (graph.inputs[0].dtype, graph.outputs[0].dtype) == ("int8", "int8")


def test_quantised_model_equals_onnxruntime_before_the_passes() -> None:
    model = onnx_model(QDQ, qdq_weights())
    graph = imported(model)
    x = np.random.default_rng(4).integers(-128, 128, (3, 8, 6)).astype(np.int8)
    expected = onnxruntime_outputs(model, {"x": x})["y"]
    values = run_float(graph, {"x": x})
    np.testing.assert_array_equal(values[graph.outputs[0].value.name], expected)


def test_weights_quantised_in_the_file_are_folded() -> None:
    """float weights -> QuantizeLinear -> DequantizeLinear, then transposed: the integers survive."""
    text = f"""{VECTOR} {{ q = QuantizeLinear<axis = 0>(v, s, z) d = DequantizeLinear<axis = 0>(q, s, z)
        t = Transpose<perm = [1, 0]>(d) y = MatMul(x, t) }}"""
    rng = np.random.default_rng(5)
    scale = np.array([0.02, 0.03, 0.04], np.float32)
    stored = rng.integers(-127, 128, (3, 10)).astype(np.int8)
    given = {"v": stored * scale[:, None], "s": scale, "z": np.zeros(3, np.int8)}
    graph = compare(onnx_model(text, given))
    dense = graph.nodes[0].op
    assert isinstance(dense, Dense) and dense.weight.stored is not None
    np.testing.assert_array_equal(dense.weight.stored, stored)
    np.testing.assert_array_equal(dense.weight.scale, scale.astype(np.float64))


def test_uint8_image_cast_to_float() -> None:
    text = """g (uint8[N, 3, 8, 6] x) => (float y) { f = Cast<to = 1>(x)
        k = Constant<value_float = 0.0039215689>() s = Mul(f, k) y = Conv(s, w, b) }"""
    model = onnx_model(text, weights(CONV))
    graph = imported(model)
    x = np.random.default_rng(4).integers(0, 256, (3, 8, 6)).astype(np.uint8)
    expected = onnxruntime_outputs(model, {"x": x})["y"]
    run_passes(graph, FLOAT_PASSES, lambda name, text: None)
    port = graph.outputs[0]
    np.testing.assert_allclose(
        model_output(port, run_float(graph, {"x": x})[port.value.name]), expected, rtol=1e-4, atol=1e-4
    )
    quant = graph.inputs[0].value.type.required_quant
    assert (graph.inputs[0].dtype, quant.scale, quant.zero_point) == ("uint8", 1.0, -128)


def test_supported_operators_are_listed() -> None:
    listed = supported_operators(FLOAT_OPS)
    assert {"Conv", "Gemm", "RNNPool", "Transpose", "Dropout"} <= set(listed)
    assert listed == sorted(listed)
