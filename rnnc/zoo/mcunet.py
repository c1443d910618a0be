"""A network in the manner of MCUNet (Lin et al., NeurIPS 2020, arXiv 2007.10319): inverted bottlenecks whose kernels
and expansions differ from block to block, and no wide layer before the classifier.

The blocks are chosen here, in the proportions of the published networks for 176x176; they are not the searched ones.
"""

from __future__ import annotations

from onnx import ModelProto

from rnnc.zoo.layers import Network, centred

PIXELS = 176
# Kernel, expansion, channels, stride.
BLOCKS = (
    (3, 1, 8, 1),
    (7, 3, 16, 2),
    (3, 6, 16, 1),
    (5, 5, 16, 1),
    (7, 5, 24, 2),
    (5, 5, 24, 1),
    (3, 4, 24, 1),
    (7, 5, 40, 2),
    (5, 6, 40, 1),
    (3, 5, 40, 1),
    (5, 5, 48, 1),
    (7, 4, 48, 1),
    (7, 5, 96, 2),
    (3, 4, 96, 1),
    (5, 5, 96, 1),
    (7, 6, 160, 1),
)


def mcunet() -> ModelProto:
    """Colour 176x176, 1000 classes."""
    net = Network("mcunet_176", (3, PIXELS, PIXELS), seed=176)
    x = net.conv_bn(net.input, 16, centred(3, 2), activation="Relu6")
    for kernel, expansion, channels, stride in BLOCKS:
        x = net.inverted_residual(x, channels, stride, expansion, kernel)
    logits = net.dense(net.average_all(x), 1000)
    return net.model([net.renamed(net.node("Softmax", [logits], (1000,), axis=-1), "output")])
