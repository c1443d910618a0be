"""Random ONNX models for the whole compiler: what is drawn decides the structure, a seed the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from rnnc.frontend.rnnpool_function import attach_rnnpool, make_rnnpool_node
from rnnc.ir.types import Array

Draw = Callable[[st.SearchStrategy[Any]], Any]

ACTIVATIONS: tuple[tuple[str, dict[str, float]], ...] = (
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.1}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("HardSigmoid", {}),
    ("HardSwish", {}),
)


@dataclass(frozen=True)
class Tensor:
    """A value of the model and its shape (channels, height, width)."""

    name: str
    shape: tuple[int, int, int]


@dataclass
class Sketch:
    """An ONNX graph that grows by one drawn operator at a time."""

    draw: Draw
    rng: np.random.Generator
    inputs: list[ValueInfoProto] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    views: set[str] = field(default_factory=set)
    """Values that are an input, perhaps transposed."""

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def pick(self) -> Tensor:
        """One of the last few tensors: a small index, which is what shrinking leads to, is the newest."""
        return self.tensors[-1 - self.integer(0, min(3, len(self.tensors) - 1))]

    def constant(self, values: Array | np.ndarray[Any, Any]) -> str:
        kind = np.int64 if values.dtype.kind == "i" else np.float32
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def normal(self, *shape: int, deviation: float = 1.0) -> str:
        return self.constant(self.rng.normal(0, deviation, shape))

    def add(self, op_type: str, inputs: list[str], shape: tuple[int, int, int], **attributes: Any) -> Tensor:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"{op_type.lower()}{name}", **attributes))
        self.tensors.append(Tensor(name, shape))
        return self.tensors[-1]

    def input(self) -> None:
        """An image, channels first, or channels last with a Transpose behind it."""
        c, h, w = self.integer(1, 5), self.integer(1, 12), self.integer(1, 12)
        name, last = f"in{len(self.inputs)}", self.flag()
        shape = ["batch", h, w, c] if last else ["batch", c, h, w]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        if last:
            self.add("Transpose", [name], (c, h, w), perm=[0, 3, 1, 2])
        else:
            self.tensors.append(Tensor(name, (c, h, w)))
        self.views.add(self.tensors[-1].name)

    def axis(self, size: int, dilated: bool) -> tuple[int, int, int, int, int, int]:
        """Kernel, stride, dilation, pads and output size along one axis of ``size`` pixels."""
        kernel, dilation = self.integer(1, 4), self.integer(1, 2) if dilated else 1
        reach = (kernel - 1) * dilation
        before, after = self.integer(0, min(2, kernel - 1)), self.integer(0, min(2, kernel - 1))
        if size + before + after <= reach:
            kernel = dilation = 1
            reach = before = after = 0
        stride = self.integer(1, 3)
        return kernel, stride, dilation, before, after, (size + before + after - reach - 1) // stride + 1

    def windows(self, x: Tensor, dilated: bool) -> tuple[tuple[int, int], dict[str, Any]]:
        k, s, d, before, after, out = zip(*(self.axis(size, dilated) for size in x.shape[1:]), strict=True)
        attributes = {"kernel_shape": k, "strides": s, "pads": (*before, *after)}
        return out, attributes | ({"dilations": d} if dilated else {})

    # --- the operators ---

    def conv(self) -> None:
        x = self.pick()
        c, out = x.shape[0], self.integer(1, 6)
        groups = self.draw(st.sampled_from([1, c]))
        if groups != 1:
            out = c * self.integer(1, 2)
        size, attributes = self.windows(x, dilated=True)
        weights = self.normal(out, c // groups, *attributes["kernel_shape"], deviation=0.5)
        bias = [self.normal(out, deviation=0.3)] if self.flag() else []
        self.add("Conv", [x.name, weights, *bias], (out, *size), group=groups, **attributes)

    def pointwise(self) -> None:
        x = self.pick()
        out = self.integer(1, 8)
        self.add("Conv", [x.name, self.normal(out, x.shape[0], 1, 1)], (out, *x.shape[1:]))

    def activation(self) -> None:
        x = self.pick()
        kind, attributes = self.draw(st.sampled_from(ACTIVATIONS))
        self.add(kind, [x.name], x.shape, **attributes)

    def clip(self) -> None:
        x = self.pick()
        low, high = self.draw(st.sampled_from([(0.0, 6.0), (-1.0, 1.0), (0.2, 0.9)]))
        bounds = [self.constant(np.array(bound)) for bound in (low, high)]
        self.add("Clip", [x.name, *bounds], x.shape)

    def pool(self) -> None:
        x = self.pick()
        size, attributes = self.windows(x, dilated=False)
        if self.flag():
            self.add("MaxPool", [x.name], (x.shape[0], *size), **attributes)
        else:
            attributes["count_include_pad"] = self.integer(0, 1)
            self.add("AveragePool", [x.name], (x.shape[0], *size), **attributes)

    def batch_norm(self) -> None:
        x = self.pick()
        c = x.shape[0]
        parameters = [self.normal(c), self.normal(c, deviation=0.3), self.normal(c, deviation=0.3)]
        variance = self.constant(self.rng.uniform(0.3, 2, c))
        self.add("BatchNormalization", [x.name, *parameters, variance], x.shape)

    def affine(self) -> None:
        x = self.pick()
        per_channel = self.normal(x.shape[0], 1, 1) if self.flag() else self.constant(np.array(-0.7))
        self.add(self.draw(st.sampled_from(["Mul", "Add", "Sub", "Div"])), [x.name, per_channel], x.shape)

    def binary(self) -> None:
        """Two values of one shape: a residual, a product, or a value with itself."""
        x = self.pick()
        y = self.draw(st.sampled_from([t for t in self.tensors if t.shape == x.shape]))
        self.add(self.draw(st.sampled_from(["Add", "Mul", "Sub"])), [x.name, y.name], x.shape)

    def concat(self) -> None:
        x = self.pick()
        y = self.draw(st.sampled_from([t for t in self.tensors if t.shape[1:] == x.shape[1:]]))
        if x.shape[0] + y.shape[0] <= 16:
            self.add("Concat", [x.name, y.name], (x.shape[0] + y.shape[0], *x.shape[1:]), axis=1)

    def slice(self) -> None:
        """A range of channels, rows or columns."""
        x, axis = self.pick(), self.integer(0, 2)
        start = self.integer(0, x.shape[axis] - 1)
        end = self.integer(start + 1, x.shape[axis])
        shape = list(x.shape)
        shape[axis] = end - start
        places = [self.constant(np.array([item])) for item in (start, end, axis + 1)]
        self.add("Slice", [x.name, *places], (shape[0], shape[1], shape[2]))

    def pad(self) -> None:
        x = self.pick()
        top, left, bottom, right = (self.integer(0, 2) for _ in range(4))
        mode = self.draw(st.sampled_from(["constant", "edge"]))
        pads = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
        shape = (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right)
        self.add("Pad", [x.name, pads], shape, mode=mode)

    def scale_by_pixel(self) -> None:
        """Squeeze and excitation: a map times one factor per channel."""
        x = self.pick()
        c = x.shape[0]
        pooled = self.add("GlobalAveragePool", [x.name], (c, 1, 1))
        mixed = self.add("Conv", [pooled.name, self.normal(c, c, 1, 1)], (c, 1, 1))
        gate = self.add("Sigmoid", [mixed.name], (c, 1, 1))
        self.add("Mul", [x.name, gate.name], x.shape)

    def norm(self) -> None:
        x = self.pick()
        self.add("LpNormalization", [x.name], x.shape, axis=1, p=2)

    def channel_maximum(self) -> None:
        x = self.pick()
        self.add("ReduceMax", [x.name], (1, *x.shape[1:]), axes=[1], keepdims=1)

    def softmax(self) -> None:
        x = self.pick()
        self.add("Softmax", [x.name], x.shape, axis=1)

    def rnnpool(self) -> None:
        x = self.pick()
        h1, h2 = self.integer(1, 4), self.integer(1, 3)
        size, attributes = self.windows(x, dilated=False)
        cells = [
            self.normal(*shape, deviation=0.6)
            for inputs, h in ((x.shape[0], h1), (h1, h2))
            for shape in ((h, inputs), (h, h), (2, h))
        ]
        mixes = [self.constant(np.array([0.9, 0.05])) for _ in range(2)]
        name = f"t{len(self.nodes)}"
        self.nodes.append(make_rnnpool_node([x.name, *cells, *mixes], name, name=f"rnnpool{name}", **attributes))
        self.tensors.append(Tensor(name, (4 * h2, *size)))

    def head(self) -> tuple[str, tuple[int, ...]]:
        """A vector: pooled or flattened, then perhaps a dense layer and softmax; returns its name and shape."""
        x = self.pick()
        if self.flag():
            x = self.add(
                self.draw(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool"])), [x.name], (x.shape[0], 1, 1)
            )
        features = int(np.prod(x.shape))
        flat = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node("Flatten", [x.name], [flat], name=f"flatten{flat}", axis=1))
        moved = x.shape[1:] != (1, 1)
        if self.flag():
            moved = False
            units = self.integer(1, 6)
            dense = f"t{len(self.nodes)}"
            tables = [self.normal(units, features, deviation=features**-0.5), self.normal(units)]
            self.nodes.append(helper.make_node("Gemm", [flat, *tables], [dense], name=f"gemm{dense}", transB=1))
            flat, features = dense, units
        # a softmax reads channels: over a flattened map it would need the numbers moved, which is refused
        if not moved and self.flag():
            soft = f"t{len(self.nodes)}"
            self.nodes.append(helper.make_node("Softmax", [flat], [soft], name=f"softmax{soft}", axis=1))
            flat = soft
        return flat, (features,)


STEPS: tuple[Callable[[Sketch], None], ...] = (
    Sketch.conv,
    Sketch.pointwise,
    Sketch.activation,
    Sketch.binary,
    Sketch.pool,
    Sketch.concat,
    Sketch.affine,
    Sketch.batch_norm,
    Sketch.clip,
    Sketch.slice,
    Sketch.pad,
    Sketch.scale_by_pixel,
    Sketch.norm,
    Sketch.channel_maximum,
    Sketch.softmax,
    Sketch.rnnpool,
)


@st.composite
def models(draw: Draw, most_steps: int = 8) -> ModelProto:
    """Float32 models of 1 to ``most_steps`` operators, one or two inputs and one to three outputs."""
    sketch = Sketch(draw, np.random.default_rng(draw(st.integers(0, 2**16))))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        sketch.input()
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=most_steps)):
        step(sketch)
    last = sketch.tensors[-1]
    outputs: dict[str, tuple[int, ...]] = {last.name: last.shape}
    if draw(st.booleans()):
        name, shape = sketch.head()
        outputs[name] = shape
    if draw(st.booleans()):
        other = sketch.pick()
        outputs[other.name] = other.shape
    return finished(sketch, outputs)


def finished(sketch: Sketch, outputs: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """The model of what ``outputs``, with their shapes, depend on; one that is an input gets a Relu between."""
    given = sketch.views
    results: dict[str, tuple[int, ...]] = {}
    for name, shape in outputs.items():
        if name in given:
            sketch.nodes.append(helper.make_node("Relu", [name], [f"{name}_out"], name=f"relu_{name}"))
        results[f"{name}_out" if name in given else name] = shape
    needed = set(results)
    for node in reversed(sketch.nodes):
        if node.output[0] in needed:
            needed.update(node.input)
    graph = helper.make_graph(
        [node for node in sketch.nodes if node.output[0] in needed],
        "random",
        [entry for entry in sketch.inputs if entry.name in needed],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *s]) for name, s in results.items()],
        [tensor for tensor in sketch.constants if tensor.name in needed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return attach_rnnpool(model)
