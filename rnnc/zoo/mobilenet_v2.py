"""MobileNetV2 (Sandler et al., arXiv 1801.04381) with width 0.35."""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, centred, make_divisible

WIDTH = 0.35
# Expansion, channels at width 1, blocks, stride of the first block (Table 2).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# The head is never narrower than this (section 4 of the paper: it is not scaled below width 1).
HEAD = 1280


def mobilenet_v2(resolution: int) -> ModelProto:
    """Colour, ``resolution`` pixels high and wide, 1000 classes."""
    net = Network(f"mobilenetv2_035_{resolution}", (3, resolution, resolution), seed=resolution)
    x = net.conv_bn(net.input, make_divisible(32 * WIDTH), centred(3, 2), activation="Relu6")
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            x = net.inverted_residual(x, make_divisible(channels * WIDTH), 1 if block else stride, expansion)
    x = net.conv_bn(x, HEAD, centred(1), activation="Relu6")
    logits = net.dense(net.average_all(x), 1000)
    return net.model([net.renamed(net.node("Softmax", [logits], (1000,), axis=-1), "output")])
