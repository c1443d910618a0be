"""Reading the attributes and operands of ONNX's shape operators; axes and shapes here include the batch."""

from __future__ import annotations

import numpy as np

from rnnc.ir.importing import Builder, SourceNode

KEEP_BATCH = "rnnc compiles for one sample at a time, so the batch axis must stay first and alone"


def ints(node: SourceNode, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    given = node.attributes.get(name, default)
    return (given,) if isinstance(given, int) else tuple(given)  # type: ignore[arg-type]


def operand(node: SourceNode, b: Builder, index: int, attribute: str) -> tuple[int, ...] | None:
    """Integers that are an input in newer opsets and an attribute in older ones."""
    if len(node.inputs) > index and node.inputs[index] is not None:
        const = b.const(node, index)
        values = const.values if const.stored is None else const.stored
        return tuple(int(value) for value in values.ravel())
    return ints(node, attribute) if attribute in node.attributes else None


def without_batch(node: SourceNode, b: Builder, axis: int, rank: int) -> int:
    """An ONNX axis as one of the tensor without batch."""
    if not -rank <= axis < rank:
        b.refuse(node, f"axis {axis} of a tensor of rank {rank}")
    if axis % rank == 0:
        b.refuse(node, f"{node.op_type} along the batch axis", why=KEEP_BATCH)
    return axis % rank - 1


def reshaped(node: SourceNode, b: Builder, given: tuple[int, ...]) -> tuple[int, ...]:
    """The output shape, batch included, of the ONNX operators that only reshape."""
    if node.op_type == "Flatten":
        axis = ints(node, "axis", (1,))[0] % (len(given) + 1)
        return int(np.prod(given[:axis])), int(np.prod(given[axis:]))
    if node.op_type == "Reshape":
        return _reshape_target(node, b, given)
    axes = operand(node, b, 1, "axes")
    if node.op_type == "Squeeze":
        if axes is None:
            b.refuse(node, "Squeeze without axes", why="it would remove the batch axis too", remedy="name the axes")
        gone = {axis % len(given) for axis in axes}
        if any(given[axis] != 1 for axis in gone):
            b.refuse(node, f"Squeeze of the axes {sorted(gone)} of {list(given)}", why="their extent is not 1")
        return tuple(extent for axis, extent in enumerate(given) if axis not in gone)
    new = {axis % (len(given) + len(axes or ())) for axis in axes or ()}
    if 0 in new:
        b.refuse(node, "Unsqueeze in front of the batch axis", why=KEEP_BATCH)
    extents = iter(given)
    return tuple(1 if axis in new else next(extents) for axis in range(len(given) + len(new)))


def _reshape_target(node: SourceNode, b: Builder, given: tuple[int, ...]) -> tuple[int, ...]:
    target = list(operand(node, b, 1, "shape") or ())
    if not ints(node, "allowzero", (0,))[0]:
        target = [given[i] if extent == 0 and i < len(given) else extent for i, extent in enumerate(target)]
    known = int(np.prod([extent for extent in target if extent != -1]))
    total = int(np.prod(given))
    if target.count(-1) > 1 or known < 1 or total % known or (-1 not in target and known != total):
        b.refuse(node, f"Reshape of {list(given)} to {target}", why="the numbers of elements differ")
    return tuple(total // known if extent == -1 else extent for extent in target)
