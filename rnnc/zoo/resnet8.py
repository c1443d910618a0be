"""ResNet-8 for CIFAR-10, in the shapes of MLPerf Tiny."""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, Tensor, same


def resnet8() -> ModelProto:
    """Colour 32x32: convolution, three residual stages of 16, 32 and 64 channels, 10 classes."""
    net = Network("resnet_8", (3, 32, 32), seed=8)
    x = net.conv_bn(net.input, 16, same((32, 32), (3, 3)))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        x = _stage(net, x, channels, stride)
    logits = net.dense(net.average_all(x), 10)
    return net.model([net.renamed(net.node("Softmax", [logits], (10,), axis=-1), "output")])


def _stage(net: Network, x: Tensor, channels: int, stride: int) -> Tensor:
    """Two 3x3 convolutions; the shortcut is a 1x1 convolution where the shape changes."""
    strides = (stride, stride)
    y = net.conv_bn(x, channels, same(x.size, (3, 3), strides))
    y = net.conv_bn(y, channels, same(y.size, (3, 3)), activation="")
    if x.shape != y.shape:
        x = net.conv(x, channels, same(x.size, (1, 1), strides), gain=1.0)
    return net.node("Relu", [net.node("Add", [x, y], y.shape)], y.shape)
