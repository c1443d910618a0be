"""Networks to compile: those of the RNNPool paper, MLPerf Tiny's and MobileNets, with seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from onnx import ModelProto

from rnnc.diagnostics import CompileError
from rnnc.zoo.ds_cnn import ds_cnn
from rnnc.zoo.mcunet import mcunet
from rnnc.zoo.mobilenet_v1 import mobilenet_v1
from rnnc.zoo.mobilenet_v2 import mobilenet_v2
from rnnc.zoo.resnet8 import resnet8
from rnnc.zoo.rnnpool_face import face_m4, face_quant
from rnnc.zoo.rnnpool_vww import rnnpool_vww


@dataclass(frozen=True)
class Entry:
    """A network of the zoo; ``source`` says where its architecture is published."""

    name: str
    description: str
    builder: Callable[[], ModelProto]
    source: str


_RNNPOOL = "Saha et al., RNNPool, NeurIPS 2020, arXiv 2002.11921"
_EDGEML = "layers as in the authors' model"
_MLPERF_TINY = "Banbury et al., MLPerf Tiny, arXiv 2106.07597"
_MCUNET = "blocks of our own choice, in the manner of Lin et al., MCUNet, NeurIPS 2020, arXiv 2007.10319"
_MOBILENET_V2 = "Sandler et al., MobileNetV2, arXiv 1801.04381"

ZOO = (
    Entry(
        "rnnpool-face-m4",
        "face detector, 320x240 monochrome, 4 detection layers",
        face_m4,
        f"{_RNNPOOL}, Table 15 and section F.2; {_EDGEML} RPool_Face_M4 in microsoft/EdgeML",
    ),
    Entry(
        "rnnpool-face-quant",
        "face detector, 640x480 colour, 6 detection layers",
        face_quant,
        f"{_RNNPOOL}; {_EDGEML} RPool_Face_Quant in microsoft/EdgeML",
    ),
    Entry("rnnpool-vww", "small classifier with RNNPool, 96x96 monochrome", rnnpool_vww, _RNNPOOL),
    Entry("ds-cnn", "keyword spotting, 49x10 MFCCs, 12 classes", ds_cnn, _MLPERF_TINY),
    Entry("resnet-8", "image classification, 32x32 colour, 10 classes", resnet8, _MLPERF_TINY),
    Entry("mobilenetv1-0.25-96", "visual wake words, 96x96 colour", mobilenet_v1, _MLPERF_TINY),
    *(
        Entry(
            f"mobilenetv2-0.35-{pixels}",
            f"image classification, {pixels}x{pixels} colour, 1000 classes",
            partial(mobilenet_v2, pixels),
            _MOBILENET_V2,
        )
        for pixels in (96, 144, 224)
    ),
    Entry(
        "mcunet-176",
        "image classification with kernels 3, 5 and 7, 176x176 colour, 1000 classes; not the searched MCUNet",
        mcunet,
        _MCUNET,
    ),
)


def build(name: str) -> ModelProto:
    """The network ``name`` of the ZOO: float32, NCHW, symbolic batch, the same bytes on every call.

    Raises CompileError for a name that is not in the ZOO.
    """
    for entry in ZOO:
        if entry.name == name:
            return entry.builder()
    raise CompileError(
        f"the zoo has no network {name!r}",
        remedy=f"one of {', '.join(entry.name for entry in ZOO)}",
    )
