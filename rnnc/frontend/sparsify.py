"""Sparse RNNPool cells: all but the largest weights become zero.

This happens in the ONNX model, not in a pass over the graph, so that calibration sees the network that will run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, TensorProto, numpy_helper

from rnnc.diagnostics import CompileError
from rnnc.frontend import Model
from rnnc.frontend.rnnpool_function import DOMAIN, OP_TYPE

KINDS: Mapping[str, tuple[int, int]] = {"W": (1, 4), "R": (2, 5)}
"""The matrices of each kind, by their places in the inputs of a node: W1, W2 and R1, R2."""


@dataclass
class _Tally:
    kept: int = 0
    total: int = 0
    lost: float = 0.0
    energy: float = 0.0


def parse_sparsity(text: str) -> dict[str, float]:
    """The fraction of nonzeros by kind from "W=0.5,R=0.3". Raises ValueError, saying what is wrong."""
    result: dict[str, float] = {}
    for part in text.split(","):
        kind, _, fraction = part.partition("=")
        kind = kind.strip()
        if kind not in KINDS or kind in result:
            raise ValueError(f"'{part}': give W=FRACTION, R=FRACTION or both, each once")
        try:
            result[kind] = float(fraction)
        except ValueError:
            raise ValueError(f"'{fraction}' is not a number") from None
        if not 0 < result[kind] <= 1:
            raise ValueError(f"{kind}={fraction}: the fraction of weights to keep is above 0 and at most 1")
    return result


def sparsify(model: Model, fractions: Mapping[str, float]) -> str:
    """Zero the smallest weights of every RNNPool cell of ``model``, in place; returns what was done in a sentence.

    ``fractions`` is the part of each matrix W1, W2 ("W") and R1, R2 ("R") that stays, as the RNNPool paper counts.
    Raises CompileError where there is nothing to do or the weights are not float constants.
    """
    nodes = [node for node in model.graph.node if node.op_type == OP_TYPE and node.domain == DOMAIN]
    if not nodes:
        raise CompileError(
            "--sparsity, but no RNNPool layer", why="it is for the cells of RNNPool", remedy="leave --sparsity out"
        )
    constants = _constants(model.graph)
    tallies = {kind: _Tally() for kind in fractions}
    for name in {node.input[place]: None for node in nodes for kind in fractions for place in KINDS[kind]}:
        kind = next(k for k in fractions if any(node.input[p] == name for node in nodes for p in KINDS[k]))
        tensor = constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            raise CompileError(
                f"'{name}' cannot be made sparse",
                why="it is not a constant of type float",
                remedy="apply --sparsity to the float model, or train and quantise the model with sparse weights",
            )
        weights = numpy_helper.to_array(tensor)
        left = _largest(weights, fractions[kind])
        tensor.CopyFrom(numpy_helper.from_array(left, tensor.name))
        _count(tallies[kind], weights, left)
    return "; ".join(
        f"{item.kept} of {item.total} weights of {kind} stay, {100 * item.lost / max(item.energy, 1e-30):.2g} % of "
        "their squares went"
        for kind, item in tallies.items()
    )


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for item in node.attribute if node.op_type == "Constant" else ():
            if item.name == "value":
                found[node.output[0]] = item.t
    return found


def _largest(weights: npt.NDArray[np.float32], fraction: float) -> npt.NDArray[np.float32]:
    """The matrix with all but its largest magnitudes, ``fraction`` of them to the nearest count, set to 0."""
    smallest = np.argsort(np.abs(weights), axis=None, kind="stable")[: weights.size - round(fraction * weights.size)]
    left = weights.copy()
    left.flat[smallest] = 0
    return left


def _count(tally: _Tally, weights: npt.NDArray[np.float32], left: npt.NDArray[np.float32]) -> None:
    tally.kept += int(np.count_nonzero(left))
    tally.total += weights.size
    tally.lost += float(((weights - left).astype(np.float64) ** 2).sum())
    tally.energy += float((weights.astype(np.float64) ** 2).sum())
