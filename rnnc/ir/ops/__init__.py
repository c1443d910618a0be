"""The registry: every operator, by hand; nothing registers itself."""

from __future__ import annotations

from rnnc.ir.op import FloatOp, IntOp, Op
from rnnc.ir.ops.activation import Clamp, HardSigmoid, HardSwish, LeakyRelu, Lut, Sigmoid, Tanh
from rnnc.ir.ops.affine import Affine
from rnnc.ir.ops.conv import Conv, Conv2D
from rnnc.ir.ops.conv_wide import PairedConv2D, WideConv2D
from rnnc.ir.ops.dense import Dense, DenseInt
from rnnc.ir.ops.elementwise import (
    Add,
    AddInt8,
    AddPixelInt8,
    AddPixelTflite,
    AddTflite,
    Mul,
    MulInt8,
    MulPixelInt8,
    Sub,
)
from rnnc.ir.ops.global_pool import GlobalAverage, GlobalAveragePool, GlobalMax, GlobalMaxPool
from rnnc.ir.ops.inverted import InvertedBottleneck, Separable
from rnnc.ir.ops.norm import LpNorm, LpNormInt8
from rnnc.ir.ops.normed import NormedConv
from rnnc.ir.ops.pad import Pad, PadRows
from rnnc.ir.ops.pool import AveragePool, AveragePool2D, MaxPool, MaxPool2D
from rnnc.ir.ops.pooled import PooledPointwise
from rnnc.ir.ops.quantize import Dequantize, Quantize
from rnnc.ir.ops.reduce import ChannelMax, ReduceMax
from rnnc.ir.ops.requantise import Requantise
from rnnc.ir.ops.rnnpool import RnnPool
from rnnc.ir.ops.rnnpool_int import RnnPoolInt
from rnnc.ir.ops.scattered import ScatteredConv
from rnnc.ir.ops.shape import Concat, ConcatRows, Rearrange, Slice, SliceRows
from rnnc.ir.ops.softmax import Softmax, SoftmaxInt8, SoftmaxTflite

FLOAT_OPS: tuple[type[FloatOp], ...] = (
    Add,
    Affine,
    AveragePool,
    Clamp,
    Concat,
    Conv,
    Dense,
    Dequantize,
    GlobalAveragePool,
    GlobalMaxPool,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    LpNorm,
    MaxPool,
    Mul,
    Pad,
    Quantize,
    Rearrange,
    ReduceMax,
    Requantise,
    RnnPool,
    Sigmoid,
    Slice,
    Softmax,
    Sub,
    Tanh,
)

INT_OPS: tuple[type[IntOp], ...] = (
    AddInt8,
    AddPixelInt8,
    AddPixelTflite,
    AddTflite,
    AveragePool2D,
    InvertedBottleneck,
    Separable,
    ChannelMax,
    ConcatRows,
    Conv2D,
    DenseInt,
    GlobalAverage,
    GlobalMax,
    LpNormInt8,
    Lut,
    MaxPool2D,
    MulInt8,
    MulPixelInt8,
    NormedConv,
    PadRows,
    PairedConv2D,
    PooledPointwise,
    RnnPoolInt,
    ScatteredConv,
    SliceRows,
    SoftmaxInt8,
    SoftmaxTflite,
    WideConv2D,
)

OPS: tuple[type[Op], ...] = (*FLOAT_OPS, *INT_OPS)
