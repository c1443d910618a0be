"""Small whole models for the tests of the command line: what users have, in the sizes that tests can afford."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from rnnc.zoo.layers import Network, centred

FLOAT, UINT8, INT8 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8


def classifier() -> ModelProto:
    """Convolution, ReLU, max pooling, dense layer, softmax; input (batch, 2, 8, 8), symbolic batch."""
    net = Network("classifier", (2, 8, 8), seed=1)
    x = net.node("Relu", [net.conv(net.input, 4, centred(3))], (4, 8, 8))
    x = net.node("MaxPool", [x], (4, 4, 4), kernel_shape=[2, 2], strides=[2, 2])
    x = net.dense(net.node("Flatten", [x], (64,), axis=1), 3)
    return net.model([net.renamed(net.node("Softmax", [x], (3,), axis=1), "scores")])


def with_rnnpool() -> ModelProto:
    """RNNPool between a convolution and a dense layer."""
    net = Network("pooled", (1, 12, 12), seed=2)
    x = net.node("Relu", [net.conv(net.input, 4, centred(3, 2))], (4, 6, 6))
    x = net.rnnpool(x, (4, 3), centred(3, 3))
    return net.model([net.dense(net.average_all(x), 2)])


def two_in_two_out() -> ModelProto:
    """y = relu(a + conv(b)) and z = the pixel means of y; `a` is channels first, `b` (1, 6, 6, 3) channels last."""
    rng = np.random.default_rng(3)
    weights = {"w": rng.normal(size=(2, 3, 1, 1)), "bias": rng.normal(size=2)}
    nodes = [
        helper.make_node("Transpose", ["b"], ["b_nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["b_nchw", "w", "bias"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["z"]),
    ]
    values = [("a", [1, 2, 6, 6]), ("b", [1, 6, 6, 3]), ("y", [1, 2, 6, 6]), ("z", [1, 2, 1, 1])]
    infos = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in values]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "two", infos[:2], infos[2:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def uint8_qdq() -> ModelProto:
    """A quantised convolution with uint8 input and output, (batch, 1, 5, 5) to (batch, 2, 5, 5)."""
    rng = np.random.default_rng(4)
    constants = {
        "xs": np.float32(0.02),
        "xz": np.uint8(128),
        "ws": np.array([0.01, 0.02], np.float32),
        "wz": np.zeros(2, np.int8),
        "ys": np.float32(0.05),
        "yz": np.uint8(120),
        "w": rng.integers(-127, 128, (2, 1, 3, 3)).astype(np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("Conv", ["xf", "wf"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", UINT8, ["batch", 1, 5, 5])],
        [helper.make_tensor_value_info("y", UINT8, ["batch", 2, 5, 5])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS = {
    "classifier": classifier,
    "pooled": with_rnnpool,
    "two": two_in_two_out,
    "quantised": uint8_qdq,
}
