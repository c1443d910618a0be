"""Small operators and graphs for the scheduler's tests: cheap, but every output byte depends on every row read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from rnnc.ir.fixedpoint import make_requant
from rnnc.ir.graph import Graph, Node, Port, Value
from rnnc.ir.op import IntOp, Kernel, Sample, Window, WindowRows, evaluate
from rnnc.ir.ops.conv import Conv2D
from rnnc.ir.ops.linear import accumulator_bound
from rnnc.ir.types import Array, Quant, TensorType
from rnnc.scheduler.plan import Plan
from rnnc.target import Bank, Target

Shape = tuple[int, int, int]


def wrapped(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return values.astype(np.int8).astype(np.int64)


class TestOp(IntOp):
    """Without a C kernel."""

    __test__ = False

    def kernel(self, inputs: Sequence[TensorType], output: TensorType) -> Kernel:
        return Kernel("none", "none", {}, "none")

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        return iter(())


@dataclass(frozen=True, eq=False)
class Mix(TestOp):
    """Weighted sum of a window of rows, wrapped to int8; channels repeated or dropped, columns strided."""

    rows: int = 3
    stride: int = 1
    pad: int = 1
    dilation: int = 1
    channels: int = 0
    scratch: int = 0

    name: ClassVar[str] = "mix"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        x = inputs[0]
        height = (x.height + 2 * self.pad - (self.rows - 1) * self.dilation - 1) // self.stride + 1
        return TensorType((height, -(-x.width // self.stride), self.channels or x.channels), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, self.rows, self.stride, self.dilation, self.pad),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        values = np.where(windows[0].present[..., None, None], windows[0].values, 91)
        weights = (2 * np.arange(self.rows) + 3)[None, :, None, None]
        total = (values * weights).sum(axis=1)[:, :: self.stride]
        return wrapped(total[..., np.arange(self.channels or total.shape[-1]) % total.shape[-1]] + 17)

    def scratch_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return self.scratch


@dataclass(frozen=True, eq=False)
class Sum(TestOp):
    """Sum of two values, in place of either."""

    name: ClassVar[str] = "sum"
    arity: ClassVar[tuple[int, int]] = (2, 2)
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return Window(0, 1), Window(1, 1)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return wrapped(windows[0].values[:, 0] + 3 * windows[1].values[:, 0] + 1)


@dataclass(frozen=True, eq=False)
class Negate(TestOp):
    """In place of its only input."""

    name: ClassVar[str] = "negate"
    in_place: ClassVar[tuple[int, ...]] = (0,)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType(inputs[0].shape, "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return wrapped(5 - windows[0].values[:, 0])


@dataclass(frozen=True, eq=False)
class Join(TestOp):
    """Concatenation of channels."""

    name: ClassVar[str] = "join"
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        height, width, channels = inputs[0].shape
        return TensorType((height, width, channels + inputs[1].channels), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return Window(0, 1), Window(1, 1)

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        return np.concatenate([window.values[:, 0] for window in windows], axis=-1)


@dataclass(frozen=True, eq=False)
class Total(TestOp):
    """Sum over all rows, accumulated row by row in 32 bits."""

    name: ClassVar[str] = "total"

    def infer(self, inputs: Sequence[TensorType]) -> TensorType:
        return TensorType((1, *inputs[0].shape[1:]), "int8")

    def windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, 1),)

    def output_windows(self, inputs: Sequence[TensorType]) -> tuple[Window, ...]:
        return (Window(0, inputs[0].height),)

    def jobs(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return inputs[0].height

    def compute(self, windows: Sequence[WindowRows]) -> npt.NDArray[np.int64]:
        weights = np.arange(1, windows[0].values.shape[1] + 1)[None, :, None, None]
        return wrapped((windows[0].values * weights).sum(axis=1))

    def state_bytes(self, inputs: Sequence[TensorType], output: TensorType) -> int:
        return 4 * output.row_bytes


class Builder:
    """Builds a graph node by node; the names are t1, t2, ... with nodes n1, n2, ..."""

    def __init__(self, *shapes: Shape) -> None:
        self.graph = Graph("test")
        self.inputs: list[Value] = []
        for index, shape in enumerate(shapes):
            value = Value(f"x{index}", TensorType(shape, "int8", Quant(1.0)))
            self.inputs.append(value)
            self.graph.inputs.append(Port(value.name, value, shape))

    def add(self, op: IntOp, *inputs: Value) -> Value:
        number = len(self.graph.nodes) + 1
        kind = op.infer([value.type for value in inputs]).with_quant(Quant(1.0))
        value = Value(f"t{number}", kind)
        self.graph.nodes.append(Node(f"n{number}", op, list(inputs), value))
        return value

    def done(self, *outputs: Value) -> Graph:
        for value in outputs:
            self.graph.outputs.append(Port(value.name, value, value.type.shape))
        return self.graph


def conv(
    rng: np.random.Generator, x: Value, out: int, kernel: int = 3, stride: int = 1, depthwise: bool = False
) -> Conv2D:
    depth = 1 if depthwise else x.type.channels
    weight = rng.integers(-127, 128, (out, kernel, kernel, depth)).astype(np.int8)
    bias = rng.integers(-999, 1000, out).astype(np.int32)
    bound = accumulator_bound(weight, bias)
    requant = make_requant("fast", np.full(out, 1000.0 / bound), bound, 3)
    pads = (kernel // 2,) * 4
    group = out if depthwise else 1
    return Conv2D(weight, bias, requant, 0, (stride, stride), (pads[0], pads[1], pads[2], pads[3]), group=group)


def random_inputs(graph: Graph, rng: np.random.Generator) -> dict[str, Array]:
    return {port.name: rng.integers(-128, 128, port.value.type.shape).astype(np.int8) for port in graph.inputs}


def whole_tensors(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the graph, by name, each operator applied to whole tensors."""
    values: dict[str, Array] = {port.value.name: inputs[port.name] for port in graph.inputs}
    for node in graph.nodes:
        arrays = [values[value.name] for value in node.inputs]
        assert isinstance(node.op, IntOp)
        values[node.output.name] = evaluate(node.op, arrays, node.input_types, node.output.type)
    return values


def target(*sizes: int) -> Target:
    """Banks of these sizes; peripherals reach only the first."""
    banks = tuple(Bank(f"bank{index}", 0, size, dma=index == 0) for index, size in enumerate(sizes))
    return Target("test", "test", "host", banks, 1 << 20)


ROOMY = target(1 << 30)


def buffer(plan: Plan, name: str) -> tuple[int, int, str]:
    """Rows, bytes and the sharing of a value's buffer."""
    place = plan.place_of(name)
    return place.rows, place.size, place.shares_with
