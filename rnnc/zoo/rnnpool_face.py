"""Face detectors of the RNNPool paper (Saha et al., arXiv 2002.11921): S3FD heads behind RNNPool.

The layer lists follow the authors' published PyTorch models: a few convolutions, RNNPool over
8x8 patches with stride 4, one row and column repeated to make the map even, inverted bottlenecks, and a
detection layer after some of them. Outputs ``loc<i>`` [N, 4, H, W] and ``conf<i>`` [N, 2, H, W] are raw maps:
priors, softmax over the two classes and non-maximum suppression are left to the caller.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from rnnc.zoo.layers import Network, Tensor, Window, centred

PATCH = Window((8, 8), (4, 4))
CLASSES = 2
# S3FD keeps the best of three background scores on the densest map, where false alarms come from.
BACKGROUND_SCORES = 3


def face_m4() -> ModelProto:
    """RNNPool-Face-M4: monochrome 320x240 (width x height), four detection layers (Table 15, section F.2)."""
    net = Network("rnnpool_face_m4", (1, 240, 320), seed=15)
    x = net.conv_bn(net.input, 4, centred(3, 2), activation="Relu6")
    x = _repeat_edge(net, net.rnnpool(x, (16, 16), PATCH))
    outputs: list[Tensor] = []
    # Channels and stride of the bottleneck (all expand by 2), and the first scale of L2Norm, 0 for none.
    for i, (channels, stride, norm) in enumerate(((32, 1, 10), (32, 1, 8), (64, 2, 5), (64, 1, 0))):
        x = net.inverted_residual(x, channels, stride, 2)
        outputs += _detection(net, _l2_norm(net, x, norm) if norm else x, i)
    return net.model(outputs)


def face_quant() -> ModelProto:
    """RNNPool-Face-Quant: colour 640x480 (width x height), six detection layers, the first before RNNPool."""
    net = Network("rnnpool_face_quant", (3, 480, 640), seed=16)
    x = net.conv_bn(net.input, 4, centred(3, 2), activation="Relu6")
    x = net.conv_bn(x, 4, centred(3), activation="Relu6")
    normed = _l2_norm(net, x, 10)
    branches = [net.conv_bn(normed, 8, centred(3, 2), activation="Relu6") for _ in ("loc", "conf")]
    outputs = [_loc(net, branches[0], 0), _conf(net, branches[1], 0)]
    x = _repeat_edge(net, net.rnnpool(x, (8, 8), PATCH))
    # Channels, blocks, stride of the first block (all expand by 2), first scale of L2Norm.
    stages = ((16, 4, 1, 8), (24, 4, 2, 5), (32, 2, 2, 0), (64, 1, 2, 0), (96, 1, 2, 0))
    for i, (channels, blocks, stride, norm) in enumerate(stages, 1):
        for block in range(blocks):
            x = net.inverted_residual(x, channels, 1 if block else stride, 2)
        outputs += _detection(net, _l2_norm(net, x, norm) if norm else x, i)
    return net.model(outputs)


def _repeat_edge(net: Network, x: Tensor) -> Tensor:
    pads = net.constant("edge.pads", np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    height, width = x.size
    return net.node_with("Pad", [x.name, pads], (x.channels, height + 1, width + 1), mode="edge")


def _l2_norm(net: Network, x: Tensor, scale: float) -> Tensor:
    """Every pixel's channels scaled to length 1, then by a factor per channel (S3FD's L2Norm)."""
    unit = net.node("LpNormalization", [x], x.shape, axis=1, p=2)
    factors = net.constant(f"{unit.name}.scale", np.linspace(0.9, 1.1, x.channels).reshape(1, -1, 1, 1) * scale)
    return net.node_with("Mul", [unit.name, factors], x.shape)


def _detection(net: Network, x: Tensor, index: int) -> list[Tensor]:
    return [_loc(net, x, index), _conf(net, x, index)]


def _loc(net: Network, x: Tensor, index: int) -> Tensor:
    return net.renamed(net.conv(x, 4, centred(3), gain=1.0), f"loc{index}")


def _conf(net: Network, x: Tensor, index: int) -> Tensor:
    """Scores of background and face; on the first map background is the largest of three (max-out)."""
    name = f"conf{index}"
    if index:
        return net.renamed(net.conv(x, CLASSES, centred(3), gain=1.0), name)
    scores = net.conv(x, BACKGROUND_SCORES + CLASSES - 1, centred(3), gain=1.0)
    background = _channels(net, scores, 0, BACKGROUND_SCORES)
    best = net.node("ReduceMax", [background], (1, *x.size), axes=[1], keepdims=1)
    face = _channels(net, scores, BACKGROUND_SCORES, scores.channels)
    return net.renamed(net.node("Concat", [best, face], (CLASSES, *x.size), axis=1), name)


def _channels(net: Network, x: Tensor, start: int, end: int) -> Tensor:
    parts = {"starts": start, "ends": end, "axes": 1}
    inputs = [net.constant(f"{x.name}.{key}{start}", np.array([value])) for key, value in parts.items()]
    return net.node_with("Slice", [x.name, *inputs], (end - start, *x.size))
