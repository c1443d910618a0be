"""MobileNetV1 (Howard et al., arXiv 1704.04861), width 0.25, as MLPerf Tiny has it for visual wake words."""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, same

# Channels and stride of each depthwise-separable block.
BLOCKS = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2), (256, 1))


def mobilenet_v1() -> ModelProto:
    """Colour 96x96, 2 classes."""
    net = Network("mobilenetv1_025_96", (3, 96, 96), seed=96)
    x = net.conv_bn(net.input, 8, same((96, 96), (3, 3), (2, 2)))
    for channels, stride in BLOCKS:
        x = net.conv_bn(x, x.channels, same(x.size, (3, 3), (stride, stride)), groups=x.channels)
        x = net.conv_bn(x, channels, same(x.size, (1, 1)))
    logits = net.dense(net.average_all(x), 2)
    return net.model([net.renamed(net.node("Softmax", [logits], (2,), axis=-1), "output")])
