"""DS-CNN for keyword spotting, in the shapes of MLPerf Tiny (Zhang et al., arXiv 1711.07128)."""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, centred, same


def ds_cnn() -> ModelProto:
    """49 frames of 10 MFCCs: 10x4 convolution with stride 2, four depthwise-separable blocks, 12 classes."""
    net = Network("ds_cnn", (1, 49, 10), seed=12)
    x = net.conv_bn(net.input, 64, same((49, 10), (10, 4), (2, 2)))
    for _ in range(4):
        x = net.conv_bn(x, 64, centred(3), groups=64)
        x = net.conv_bn(x, 64, centred(1))
    logits = net.dense(net.average_all(x), 12)
    return net.model([net.renamed(net.node("Softmax", [logits], (12,), axis=-1), "output")])
