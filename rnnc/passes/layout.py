"""From the model's own axis orders to (height, width, channels) throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import Const, Op
from rnnc.ir.ops.activation import Unary
from rnnc.ir.ops.affine import Affine
from rnnc.ir.ops.dense import Dense
from rnnc.ir.ops.elementwise import Elementwise
from rnnc.ir.ops.quantize import Grid
from rnnc.ir.ops.requantise import Requantise
from rnnc.ir.ops.shape import AxisOp, Rearrange
from rnnc.passes.base import Note, Pass, Property

Index = npt.NDArray[np.int64]
Shape = tuple[int, ...]
Layout = tuple[tuple[int, ...], Shape]
"""Axes by which a graph input is transposed, and the (height, width, channels) it then has."""

# Channels first, as ONNX has it, is preferred where extents of 1 leave a choice.
ORDERS = tuple(sorted(permutations(range(3)), key=lambda order: order != (2, 0, 1)))


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of ``shape`` as the model has it: element i is element index[i] of ``value`` (None: element i).

    ``moved_by`` names the model's node that rearranged it last.
    """

    value: Value
    index: Index | None
    shape: Shape
    moved_by: str = ""

    @property
    def elements(self) -> Index:
        return np.arange(self.value.type.elements) if self.index is None else self.index


class ChannelsLast(Pass):
    """No number moves at run time; every Rearrange is a view of a channels-last value until it meets:

    1. another Rearrange: both become one view, which disappears where they cancel;
    2. an elementwise operator: it works on the values behind the views, which must agree element by element
       (broadcasting included), and its output is the same view;
    3. Concat, Slice, Pad: their axes are renamed to those of the value behind the view;
    4. Dense: its weight columns are permuted;
    5. a graph input: it takes the layout that its first reader needs, and the port transposes;
    6. a graph output: the port transposes;
    7. any other operator: the view must have disappeared, otherwise the Rearrange is refused.
    """

    name: ClassVar[str] = "channels-last"
    ensures: ClassVar[frozenset[Property]] = frozenset({"channels_last"})

    def run(self, graph: Graph, note: Note) -> None:
        users = graph.users()
        views = {port.value: _place_input(port, users) for port in graph.inputs}
        kept: list[Node] = []
        for node in graph.nodes:
            if isinstance(node.op, Rearrange):
                views[node.output] = _rearranged(node, node.op, views[node.inputs[0]])
                continue
            views[node.output] = _rewrite(node, [views[value] for value in node.inputs])
            kept.append(node)
        for port in graph.outputs:
            _place_output(port, views[port.value])
        if len(kept) < len(graph.nodes):
            note(f"{len(graph.nodes) - len(kept)} transpositions and reshapes cancelled or absorbed")
        graph.nodes = kept


def _elementwise(op: Op) -> bool:
    return isinstance(op, Unary | Elementwise | Requantise | Grid) or (isinstance(op, Affine) and op.uniform)


def _rearranged(node: Node, op: Rearrange, view: View) -> View:
    index = view.elements.reshape(view.shape).transpose(op.axes).ravel()
    identical = bool(np.array_equal(index, np.arange(index.size)))
    if view.value.type.quant is None:
        view.value.type = view.value.type.with_quant(node.output.type.quant)
    moved_by = view.moved_by if op.implied else node.name
    return View(view.value, None if identical else index, op.shape, moved_by)


def _rewrite(node: Node, views: Sequence[View]) -> View:
    """Let ``node`` read the values behind ``views``; returns the view that its output is of the new one."""
    given = node.output.type.shape
    node.inputs = [view.value for view in views]
    if isinstance(node.op, Dense):
        node.op = _permuted(node.op, views[0])
        index = None
    elif isinstance(node.op, AxisOp):
        order = _common_order(node, views)
        node.op = node.op.along(order)
        physical = node.op.infer(node.input_types).shape
        index = np.arange(int(np.prod(given))).reshape(physical).transpose(order).ravel()
    elif _elementwise(node.op):
        index = _common_view(node, views).index
    else:
        for view in views:
            if view.index is not None or view.value.type.shape != view.shape:
                raise _stuck(node, view)
        index = None
    node.output.type = node.output.type.with_shape(node.op.infer(node.input_types).shape)
    if index is not None and np.array_equal(index, np.arange(index.size)):
        index = None
    return View(node.output, index, given)


def _permuted(op: Dense, view: View) -> Dense:
    """The layer that reads the value behind ``view``."""
    if view.index is None:
        return op
    columns = np.argsort(view.index)
    weight = op.weight
    stored = None if weight.stored is None else weight.stored[:, columns]
    return replace(op, weight=Const(weight.values[:, columns], stored, weight.scale, weight.axis))


def _common_view(node: Node, views: Sequence[View]) -> View:
    """The view of the operand of full shape; the others must line up with it in memory."""
    full = max(views, key=lambda view: int(np.prod(view.shape)))
    for view in views:
        inner, outer = view.value.type.shape, full.value.type.shape
        if any(extent not in (1, whole) for extent, whole in zip(inner, outer, strict=True)):
            raise _stuck(node, view)
        wanted = np.broadcast_to(view.elements.reshape(view.shape), full.shape).ravel()
        there = np.broadcast_to(np.arange(view.value.type.elements).reshape(inner), outer).ravel()
        if not np.array_equal(wanted, there[full.elements]):
            raise _stuck(node, view if view.moved_by else full)
    return full


def _orders(view: View) -> list[tuple[int, ...]]:
    """All ways in which the axes of the view are axes of the value; missing axes count as extent 1."""
    shape = (*view.shape, *(1,) * (3 - len(view.shape)))
    elements = np.arange(view.value.type.elements).reshape(view.value.type.shape)
    return [
        order
        for order in ORDERS
        if elements.transpose(order).shape == shape and np.array_equal(elements.transpose(order).ravel(), view.elements)
    ]


def _common_order(node: Node, views: Sequence[View]) -> tuple[int, ...]:
    common = _orders(views[0])
    for view in views[1:]:
        other = _orders(view)
        common = [order for order in common if order in other]
    if not common:
        raise _stuck(node, next((view for view in views if view.moved_by), views[0]))
    return common[0]


def _stuck(node: Node, view: View) -> CompileError:
    what = "its inputs lie in memory in different orders"
    if view.moved_by:
        what = f"the transposition or reshape of '{view.value.name}' cannot be removed"
    return CompileError(
        what,
        where=f"node '{view.moved_by or node.name}'",
        why=f"'{view.value.name}' lies in memory as {list(view.value.type.shape)} (height, width, channels), "
        f"'{node.name}' ({node.op.name}) reads it as {list(view.shape)}, and no kernel moves data",
        remedy="undo it in the model before this node, or end the model here and do the rest on the host",
    )


def _place_input(port: Port, users: Mapping[Value, Sequence[Node]]) -> View:
    axes, shape = _wanted(port.value, users) or _default_layout(port.shape)
    port.axes = () if axes == tuple(range(len(axes))) else axes
    port.value.type = port.value.type.with_shape(shape)
    index: Index = np.argsort(np.arange(int(np.prod(port.shape))).reshape(port.shape).transpose(axes).ravel())
    return View(port.value, index if port.axes else None, port.shape)


def _default_layout(shape: Shape) -> Layout:
    """Channels first for images and sequences; what has more axes is one pixel."""
    if len(shape) == 3:
        return (1, 2, 0), (shape[1], shape[2], shape[0])
    if len(shape) == 2:
        return (1, 0), (shape[1], 1, shape[0])
    return tuple(range(len(shape))), (1, 1, int(np.prod(shape)))


def _wanted(root: Value, users: Mapping[Value, Sequence[Node]]) -> Layout | None:
    """The layout in which the first reader of ``root`` takes it as it is, looking through views; where only Concat,
    Slice or Pad ever read it, channels first as they see it."""
    shape = root.type.shape
    pending = [(root, np.arange(root.type.elements))]
    fallback: Layout | None = None
    while pending:
        value, index = pending.pop(0)
        for user in users[value]:
            if isinstance(user.op, Rearrange):
                moved = index.reshape(value.type.shape).transpose(user.op.axes).ravel()
                pending.append((user.output, moved))
            elif _elementwise(user.op):
                if user.output.type.shape == value.type.shape:
                    pending.append((user.output, index))
            elif isinstance(user.op, AxisOp):
                found = _wanted_beyond(user, users)
                if found and (layout := _along(found, shape, value.type.shape, index)):
                    return layout
                if len(value.type.shape) == 3:
                    fallback = fallback or _along((1, 2, 0), shape, value.type.shape, index)
            elif not isinstance(user.op, Dense):
                axes = _transposition(shape, index)
                if axes is not None:
                    return axes, value.type.shape
    return fallback


def _along(order: tuple[int, ...], shape: Shape, view: Shape, index: Index) -> Layout | None:
    """The layout of a root of ``shape`` that brings the axes of its view (of shape ``view``) into ``order``."""
    axes = _transposition(shape, index.reshape(view).transpose(order).ravel())
    return None if axes is None else (axes, tuple(view[axis] for axis in order))


def _wanted_beyond(node: Node, users: Mapping[Value, Sequence[Node]]) -> tuple[int, ...] | None:
    """The axes wanted behind Concat, Slice or Pad, where these are wanted of all three axes alike."""
    found = _wanted(node.output, users)
    shape = node.output.type.shape
    if found is None or len(shape) != 3 or tuple(shape[axis] for axis in found[0]) != found[1]:
        return None
    return found[0]


def _transposition(shape: Shape, index: Index) -> tuple[int, ...] | None:
    """The axes by which a tensor of ``shape`` must be transposed so that its elements come in order ``index``."""
    elements = np.arange(index.size).reshape(shape)
    for axes in permutations(range(len(shape))):
        if np.array_equal(elements.transpose(axes).ravel(), index):
            return axes
    return None


def _place_output(port: Port, view: View) -> None:
    # element i of the output is element index[i] of the value: in the value's order, the output's elements are
    index = np.argsort(view.elements)
    shape = port.shape
    axes = _transposition(shape, index)
    if axes is None:
        # a flattened map: its axes are merged in the model, and still apart in the value
        for order in permutations(range(len(view.value.type.shape))):
            shape = tuple(view.value.type.shape[axis] for axis in order)
            axes = _transposition(shape, index)
            if axes is not None:
                port.unmerged = shape
                break
    if axes is None:
        raise CompileError(
            f"the output '{port.name}' {list(port.shape)} is not a transposition of '{view.value.name}' "
            f"{list(view.value.type.shape)} (height, width, channels)",
            where=f"node '{view.moved_by}'" if view.moved_by else f"output '{port.name}'",
            why="the axes that it merges lie apart in memory, and no kernel moves data",
            remedy="transpose to channels-last before the reshape, or give out the tensor before it",
        )
    port.value = view.value
    port.axes = () if axes == tuple(range(len(axes))) else axes
