"""Small float graphs for pass tests, and their outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rnnc.ir.graph import Graph, Node, Port, PortDType, Value
from rnnc.ir.interpret import model_output, run_float
from rnnc.ir.op import Const, FloatOp
from rnnc.ir.types import Array, Quant, TensorType
from rnnc.ir.verify import verify
from rnnc.passes.base import Pass


@dataclass
class Net:
    """A graph under construction; values are named as they are made, nodes as their outputs."""

    graph: Graph = field(default_factory=lambda: Graph("test"))

    def input(self, name: str, *shape: int, dtype: PortDType = "float32", quant: Quant | None = None) -> Value:
        value = Value(name, TensorType(shape, quant=quant))
        self.graph.inputs.append(Port(name, value, shape, dtype))
        return value

    def op(self, name: str, op: FloatOp, *inputs: Value, quant: Quant | None = None) -> Value:
        value = Value(name, op.infer([item.type for item in inputs]).with_quant(quant))
        self.graph.nodes.append(Node(name, op, list(inputs), value))
        return value

    def output(self, *values: Value, dtype: PortDType = "float32") -> Graph:
        for value in values:
            self.graph.outputs.append(Port(value.name, value, value.type.shape, dtype))
        verify(self.graph)
        return self.graph

    def value(self, name: str) -> Value:
        return next(value for value in self.graph.values() if value.name == name)


def const(rng: np.random.Generator, *shape: int) -> Const:
    return Const(rng.normal(size=shape).astype(np.float32))


def outputs(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Real outputs by port name, in the model's own layout."""
    values = run_float(graph, inputs)
    return {port.name: model_output(port, values[port.value.name]) for port in graph.outputs}


def samples(graph: Graph, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Standard normal inputs."""
    rng = np.random.default_rng(seed)
    return {port.name: rng.normal(size=port.shape).astype(np.float32) for port in graph.inputs}


def run_pass(item: Pass, graph: Graph, tolerance: float = 1e-5) -> list[str]:
    """Run a pass; the outputs must stay what they were. Returns its notes."""
    inputs, notes = samples(graph), list[str]()
    before = outputs(graph, inputs)
    item.run(graph, notes.append)
    verify(graph)
    after = outputs(graph, inputs)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, rtol=tolerance, atol=tolerance, err_msg=name)
    return notes


def op_names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]
