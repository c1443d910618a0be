"""Gains and offsets per channel (BatchNormalization, biases) move into the layers around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.op import Const, Op
from rnnc.ir.ops.affine import Affine, constant
from rnnc.ir.ops.conv import Conv
from rnnc.ir.ops.dense import Dense
from rnnc.ir.ops.linear import merge_clamp
from rnnc.ir.ops.norm import LpNorm
from rnnc.passes.base import Note, Pass, Property

Float64Array = npt.NDArray[np.float64]


class FoldAffine(Pass):
    """y = x * scale + offset, where nobody else reads the value between and it has no quantisation of its own:

    1. behind Conv or Dense that does not clamp: into weights and bias;
    2. behind LpNorm, without an offset: into its gain;
    3. behind another Affine that does not clamp: both become one;
    4. before Conv or Dense, not clamping: into weights and bias; before Conv with padding only without an offset,
       because the padding lies behind it;
    5. scale 1 and offset 0, without a clamp or a quantisation of its own: it disappears.

    A QDQ model keeps its stored weights where only their scale changes, and its stored bias where it is all of
    the new bias.
    """

    name: ClassVar[str] = "fold-affine"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last"})

    def run(self, graph: Graph, note: Note) -> None:
        folded = 0
        while _fold_one(graph):
            folded += 1
        if folded:
            note(f"{folded} gains and offsets folded into their neighbours")


def _fold_one(graph: Graph) -> bool:
    producers, users = graph.producers(), graph.users()
    for node in graph.nodes:
        if not isinstance(node.op, Affine):
            continue
        done = _drop(graph, node, node.op) or _fold_back(graph, node, node.op, producers, users)
        if done or _fold_forward(graph, node, node.op, users):
            graph.nodes.remove(node)
            return True
    return False


def _drop(graph: Graph, node: Node, op: Affine) -> bool:
    """Case 5."""
    neutral = np.all(op.scale.values == 1) and not np.any(op.offset.values) and op.low is None and op.high is None
    source, output = node.inputs[0], node.output
    if not neutral or output.type.quant not in (None, source.type.quant) or graph.is_output(output):
        return False
    graph.replace_value(output, source)
    return True


def _private(graph: Graph, value: Value, users: Mapping[Value, list[Node]]) -> bool:
    return len(users[value]) == 1 and not graph.is_output(value) and value.type.quant is None


def _fold_back(
    graph: Graph,
    node: Node,
    op: Affine,
    producers: Mapping[Value, Node],
    users: Mapping[Value, list[Node]],
) -> bool:
    """Cases 1 to 3."""
    producer = producers.get(node.inputs[0])
    if producer is None or not _private(graph, node.inputs[0], users):
        return False
    folded = followed(producer.op, op)
    if folded is None:
        return False
    producer.op, producer.output = folded, node.output
    return True


def _fold_forward(graph: Graph, node: Node, op: Affine, users: Mapping[Value, list[Node]]) -> bool:
    """Case 4."""
    if not _private(graph, node.output, users):
        return False
    reader = users[node.output][0]
    folded = preceded(reader.op, op, node.output.type.channels)
    if folded is None:
        return False
    reader.op, reader.inputs = folded, list(node.inputs)
    return True


def followed(op: Op, affine: Affine) -> Op | None:
    """``op`` and then ``affine`` as one operator, if there is one."""
    scale, offset = _real(affine.scale), _real(affine.offset)
    clamp = merge_clamp(None, None, affine.low, affine.high)
    if isinstance(op, LpNorm):
        plain = not np.any(offset) and affine.low is None and affine.high is None
        return op.with_gain(affine.scale.values) if plain else None
    if not isinstance(op, Conv | Dense | Affine) or op.low is not None or op.high is not None:
        return None
    if isinstance(op, Affine):
        merged = constant(_real(op.scale) * scale), constant(_real(op.offset) * scale + offset)
        return Affine(*merged, clamp["low"], clamp["high"])
    out = op.weight.values.shape[0]
    weight = _rows_scaled(op.weight, np.broadcast_to(scale, out))
    bias = _bias(op.bias, scale, affine.offset, out)
    return replace(op, weight=weight, bias=bias, low=clamp["low"], high=clamp["high"])


def preceded(op: Op, affine: Affine, channels: int) -> Op | None:
    """``affine`` and then ``op`` as one operator, if there is one."""
    if not isinstance(op, Conv | Dense) or affine.low is not None or affine.high is not None:
        return None
    offset = np.broadcast_to(_real(affine.offset), channels)
    scale = np.broadcast_to(_real(affine.scale), channels)
    if isinstance(op, Conv) and any(op.pads) and np.any(offset):
        return None
    values = op.weight.values.astype(np.float64)
    if isinstance(op, Conv):
        # output channel o reads the input channels of its group
        group = np.arange(values.shape[0]) // (values.shape[0] // op.group)
        inputs = group[:, None] * values.shape[3] + np.arange(values.shape[3])
        gain, shift = scale[inputs][:, None, None], offset[inputs][:, None, None]
    else:
        repeats = values.shape[1] // channels
        gain, shift = np.tile(scale, repeats), np.tile(offset, repeats)
    added = (values * shift).reshape(values.shape[0], -1).sum(axis=1)
    uniform = affine.scale.values.size == 1 or bool(np.all(scale == scale[0]))
    rows = np.full(values.shape[0], scale[0])
    weight = _rows_scaled(op.weight, rows) if uniform else constant(values * gain)
    bias = op.bias
    if np.any(offset):
        bias = constant(added + (0.0 if op.bias is None else _real(op.bias)))
    return replace(op, weight=weight, bias=bias)


def _real(const: Const) -> Float64Array:
    return const.values.astype(np.float64).ravel()


def _rows_scaled(weight: Const, scale: Float64Array) -> Const:
    """The weights [O, ...] times scale [O]; stored integers stay, negated where a scale is negative."""
    by_row = scale.reshape(-1, *(1,) * (weight.values.ndim - 1))
    values = (weight.values * by_row).astype(np.float32)
    if weight.stored is None or weight.scale is None or np.any(scale == 0):
        return Const(values)
    stored = weight.stored * np.sign(by_row).astype(np.int64)
    if stored.max(initial=0) > 127:
        return Const(values)
    scales = np.broadcast_to(weight.scale.ravel(), scale.shape) * np.abs(scale)
    same = np.all(scales == scales[0]) and weight.scale.size == 1
    return Const(values, stored, scales[:1] if same else scales, 0)


def _bias(bias: Const | None, scale: Float64Array, offset: Const, out: int) -> Const:
    """bias * scale + offset; the offset itself, with its stored integers, where there was no bias."""
    if bias is None and offset.values.size == out:
        return offset
    old = np.zeros(out) if bias is None else np.broadcast_to(_real(bias), out)
    if bias is not None and not np.any(offset.values) and np.all(scale == 1):
        return bias
    return constant(old * scale + _real(offset))
