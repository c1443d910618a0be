"""A small visual wake words classifier in the manner of the RNNPool paper's MobileNetV2-RNNPool."""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, Window, centred


def rnnpool_vww() -> ModelProto:
    """Monochrome 96x96: convolution, RNNPool (patch 6, stride 4), four inverted bottlenecks, 2 classes."""
    net = Network("rnnpool_vww", (1, 96, 96), seed=6)
    x = net.conv_bn(net.input, 8, centred(3, 2), activation="Relu6")
    x = net.rnnpool(x, (8, 8), Window((6, 6), (4, 4), (1, 1, 1, 1)))
    for channels, stride in ((24, 1), (24, 1), (40, 2), (40, 1)):
        x = net.inverted_residual(x, channels, stride, 3)
    x = net.conv_bn(x, 96, centred(1), activation="Relu6")
    logits = net.dense(net.average_all(x), 2)
    return net.model([net.renamed(net.node("Softmax", [logits], (2,), axis=-1), "output")])
