"""Round the weights of float layers to int8 so that the layers' outputs, not the weights, err least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.graph import Graph, Node
from rnnc.ir.interpret import run_float
from rnnc.ir.op import Const, LinearFloatOp
from rnnc.ir.ops.linear import stored_weights
from rnnc.passes.base import Calibration, Note, Pass, Property

Float64Array = npt.NDArray[np.float64]

POSITIONS = 1024
"""Output positions per sample and layer that the statistics are taken from."""
MAX_DEPTH = 2400
"""Above this many products per output only the bias is corrected: the matrices would be too large."""
DAMPING = 0.01
"""Part of the mean variance that is added to every variance, so that the matrix can be inverted."""


@dataclass
class _Moments:
    """Mean and covariance of what a layer multiplies its weights with, per group: [G, K] and [G, K, K]."""

    count: int
    total: Float64Array
    squares: Float64Array

    @property
    def mean(self) -> Float64Array:
        return self.total / self.count

    @property
    def covariance(self) -> Float64Array:
        mean = self.mean
        return self.squares / self.count - mean[:, :, None] * mean[:, None, :]


class RoundWeights(Pass):
    """For every convolution and dense layer whose weights the model has not quantised itself:

    1. weights are rounded one input at a time, and the error of each is made up for by those still to be rounded,
       as far as the inputs are correlated on the samples (Frantar et al., GPTQ, 2023, section 3; Hassibi et al., 1993);
    2. the mean error that is left on the samples is taken off the bias (Nagel et al., 2019, section 4.2).

    ``calibration`` has the samples; it is left with the mean output of every such layer.
    """

    name: ClassVar[str] = "round-weights"
    requires: ClassVar[frozenset[Property]] = frozenset({"channels_last"})

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def run(self, graph: Graph, note: Note) -> None:
        nodes = [node for node in graph.nodes if isinstance(node.op, LinearFloatOp) and node.op.weight.stored is None]
        if not nodes:
            return
        moments: dict[str, _Moments] = {}
        rng = np.random.default_rng(0)
        count = 0
        for sample in self.calibration.samples:
            values = run_float(graph, sample)
            for node in nodes:
                _collect(moments, node, values[node.inputs[0].name], rng)
            count += 1
        if count:
            for node in nodes:
                self.calibration.means[node.name] = _round(node, moments[node.name])
            note(f"weights of {len(nodes)} layers rounded for the outputs on {count} samples")


def _collect(moments: dict[str, _Moments], node: Node, x: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    op = node.op
    if not isinstance(op, LinearFloatOp):
        return
    operands = op.operands(x, rng, POSITIONS).astype(np.float64)
    count, groups, depth = operands.shape
    small = depth <= MAX_DEPTH
    found = moments.setdefault(
        node.name, _Moments(0, np.zeros((groups, depth)), np.zeros((groups, depth, depth) if small else (groups, 1, 1)))
    )
    found.count += count
    found.total += operands.sum(axis=0)
    if small:
        by_group = operands.transpose(1, 0, 2)
        found.squares += by_group.transpose(0, 2, 1) @ by_group


def _round(node: Node, moments: _Moments) -> Float64Array:
    """Round the weights of a layer; returns its mean output [O] with the exact ones, before any clamp."""
    op = node.op
    if not isinstance(op, LinearFloatOp):
        return np.zeros(0)
    nearest, scale = stored_weights(op.weight)
    out, groups = nearest.shape[0], moments.total.shape[0]
    exact = op.weight.values.reshape(groups, out // groups, -1).astype(np.float64)
    steps = scale.reshape(groups, out // groups)
    rounded = nearest.reshape(exact.shape)
    if exact.shape[2] <= MAX_DEPTH:
        covariance = moments.covariance
        rounded = np.stack([_compensated(exact[g], steps[g], covariance[g]) for g in range(groups)])
    error = exact - rounded * steps[:, :, None]
    correction = np.einsum("gok,gk->go", error, moments.mean).reshape(out)
    weight = Const(op.weight.values, rounded.reshape(nearest.shape), scale)
    bias = np.broadcast_to(op.bias.values.ravel(), (out,)).astype(np.float64) if op.bias is not None else np.zeros(out)
    node.op = replace(op, weight=weight, bias=Const((bias + correction).astype(np.float32)))  # type: ignore[type-var]
    mean: Float64Array = np.einsum("gok,gk->go", exact, moments.mean).reshape(out) + bias
    return mean


def _compensated(weight: Float64Array, steps: Float64Array, covariance: Float64Array) -> npt.NDArray[np.int64]:
    """Integers [O, K] for weights [O, K] of steps [O], rounded input by input."""
    variance = np.diag(covariance)
    damping = DAMPING * max(float(variance.mean()), 1e-12)
    inverse = np.linalg.inv(covariance + damping * np.eye(len(variance)))
    factor = np.linalg.cholesky(inverse).T
    left = weight.copy()
    result = np.zeros(weight.shape, np.int64)
    for k in range(weight.shape[1]):
        result[:, k] = np.clip(np.rint(left[:, k] / steps), -127, 127)
        error = (left[:, k] - result[:, k] * steps) / factor[k, k]
        left[:, k:] -= error[:, None] * factor[k, k:]
    return result
