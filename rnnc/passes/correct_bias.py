"""Take the mean error that quantisation leaves in each layer off its bias."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import INT32_MAX
from rnnc.ir.graph import Graph, Node, Value
from rnnc.ir.interpret import stored_input
from rnnc.ir.op import IntOp, evaluate, gather
from rnnc.ir.ops.linear import accumulator_bound
from rnnc.ir.ops.linear_channels import LinearOp
from rnnc.ir.types import Array
from rnnc.passes.base import Calibration, Note, Pass, Property

MAX_SAMPLES = 64


class CorrectBias(Pass):
    """Layer by layer, the integer model runs on the samples; where the mean accumulator of a channel is not what the
    float model has (rounded activations, clipped ranges, rounded weights, and all that in the layers before), the
    difference goes into the bias (Nagel et al., Data-Free Quantization, 2019, section 4.2, measured on data).
    """

    name: ClassVar[str] = "correct-bias"
    requires: ClassVar[frozenset[Property]] = frozenset({"integer"})

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def run(self, graph: Graph, note: Note) -> None:
        means, samples = self.calibration.means, self.calibration.samples[:MAX_SAMPLES]
        if not means or not samples:
            return
        readers = {value: len(users) for value, users in graph.users().items()}
        arrays: dict[Value, list[Array]] = {
            port.value: [stored_input(port, sample[port.name]) for sample in samples] for port in graph.inputs
        }
        for node in graph.nodes:
            operands = [arrays[value] for value in node.inputs]
            if isinstance(node.op, LinearOp) and node.name in means:
                node.op = _corrected(node, node.op, operands[0], means[node.name])
            if isinstance(node.op, IntOp):
                arrays[node.output] = [
                    evaluate(node.op, one, node.input_types, node.output.type) for one in zip(*operands, strict=True)
                ]
            for value in dict.fromkeys(node.inputs):
                readers[value] -= 1
                if not readers[value]:
                    del arrays[value]
        note(f"biases of {len(means)} layers corrected by the mean error on {len(samples)} samples")


def _corrected(node: Node, op: LinearOp, inputs: list[Array], wanted: npt.NDArray[np.float64]) -> LinearOp:
    """The layer with a bias that gives the mean output ``wanted`` [O] on ``inputs``."""
    rows = range(node.output.type.height)
    found = np.mean(
        [op.accumulators(gather(op, [array], node.input_types, rows)).mean(axis=(0, 1)) for array in inputs], axis=0
    )
    scale = op.requant.real * node.output.type.required_quant.scale
    exact = np.divide(wanted, scale, out=found.copy(), where=scale > 0)
    limit = INT32_MAX // 4
    bias = np.clip(op.bias + np.rint(exact - found), -limit, limit).astype(np.int32)
    shift = max(int(op.requant.shifts.max(initial=0)), 0)
    if accumulator_bound(op.weight, bias) << shift > INT32_MAX:
        return op
    return replace(op, bias=bias)  # type: ignore[type-var]
