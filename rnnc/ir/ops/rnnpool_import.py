"""Attributes and optional inputs of an ONNX RNNPool node."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from rnnc.ir.importing import Builder, SourceNode
from rnnc.ir.ops.rnnpool_geometry import Pads, Pair

Name = TypeVar("Name", bound=str)
MAX_PATCH_ROWS = 64
"""RNNC_MAX_ROWS of runtime/c/include/rnnc.h."""


def choice(node: SourceNode, b: Builder, attribute: str, supported: tuple[Name, ...]) -> Name:
    """A named option, the first of ``supported`` by default."""
    given = node.attributes.get(attribute, supported[0])
    for name in supported:
        if given == name:
            return name
    b.refuse(
        node,
        f"RNNPool with {attribute}={given}",
        why=f"supported: {', '.join(supported)}",
        remedy=f"export the model with one of these for {attribute}",
    )


def kernel_shape(node: SourceNode, b: Builder) -> Pair:
    kernel = integers(node, b, "kernel_shape", ())
    if len(kernel) != 2 or min(kernel) < 1:
        b.refuse(node, f"RNNPool with kernel_shape={list(kernel)}", why="it gives the rows and columns of a patch")
    if kernel[0] > MAX_PATCH_ROWS:
        b.refuse(
            node,
            f"RNNPool over patches of {kernel[0]} rows",
            why=f"a kernel reads at most {MAX_PATCH_ROWS} rows at a time",
            remedy="pool smaller patches",
        )
    return kernel[0], kernel[1]


def strides(node: SourceNode, b: Builder) -> Pair:
    given = integers(node, b, "strides", (1, 1))
    if len(given) != 2 or min(given) < 1:
        b.refuse(node, f"RNNPool with strides={list(given)}", why="it gives two steps of at least 1")
    return given[0], given[1]


def pads(node: SourceNode, b: Builder) -> Pads:
    given = integers(node, b, "pads", (0, 0, 0, 0))
    if len(given) != 4 or min(given) < 0:
        b.refuse(
            node,
            f"RNNPool with pads={list(given)}",
            why="it gives four counts of zeros (top, left, bottom, right), none negative",
        )
    return given[0], given[1], given[2], given[3]


def integers(node: SourceNode, b: Builder, attribute: str, default: tuple[int, ...]) -> tuple[int, ...]:
    given = node.attributes.get(attribute, default)
    if not isinstance(given, tuple):
        b.refuse(node, f"RNNPool with {attribute}={given}", why="it must be a list of integers")
    return tuple(int(value) for value in given)


def zeta_nu(node: SourceNode, b: Builder, index: int) -> tuple[float, float]:
    """S = (zeta, nu); (1, 0) where it is absent."""
    if len(node.inputs) <= index or node.inputs[index] is None:
        return 1.0, 0.0
    values = b.const(node, index).values
    if values.shape != (2,) or not (np.all(values >= 0) and np.all(values <= 1)):
        b.refuse(
            node,
            f"S{index - 6} = {values.tolist()}",
            why="it must be (zeta, nu), both from 0 to 1",
            remedy="store zeta and nu after their sigmoid",
        )
    return float(values[0]), float(values[1])
