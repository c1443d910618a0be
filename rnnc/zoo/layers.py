"""What the zoo's networks are made of: a graph under construction, with seeded weights and tracked shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper

from rnnc.frontend.rnnpool_function import attach_rnnpool, make_rnnpool_node

OPSET = 17
IR_VERSION = 8
BATCH = "batch"


@dataclass(frozen=True)
class Tensor:
    """A value of the graph: its name and its shape without the batch axis."""

    name: str
    shape: tuple[int, ...]

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape[1], self.shape[2]


@dataclass(frozen=True)
class Window:
    """Kernel (height, width), strides and zero padding (top, left, bottom, right) over a map, in pixels."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = (
            (size[i] + self.pads[i] + self.pads[i + 2] - self.kernel[i]) // self.strides[i] + 1 for i in (0, 1)
        )
        return height, width


def centred(kernel: int, stride: int = 1) -> Window:
    """A square window with PyTorch's usual padding of (kernel - 1) / 2 on all sides."""
    pad = (kernel - 1) // 2
    return Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad))


def same(size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int] = (1, 1)) -> Window:
    """TensorFlow's SAME: ceil(size / stride) outputs, an odd pixel of padding at the bottom or right."""
    height, width = (max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(size, kernel, strides, strict=True))
    return Window(kernel, strides, (height // 2, width // 2, height - height // 2, width - width // 2))


def make_divisible(value: float, divisor: int = 8) -> int:
    """MobileNet's channel rounding: to the nearest multiple, but never more than 10 % below ``value``."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Network:
    """An ONNX graph under construction: NCHW float32, symbolic batch.

    Weights are drawn from ``seed`` at He's scale, so that activations keep theirs from layer to layer;
    BatchNormalization gets statistics near, but not at, the identity.
    """

    def __init__(self, name: str, input_shape: Sequence[int], seed: int) -> None:
        self.input = Tensor("input", tuple(input_shape))
        self._name = name
        self._rng = np.random.default_rng(seed)
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []

    def model(self, outputs: Sequence[Tensor]) -> ModelProto:
        """The finished, checked model. ``outputs`` become its outputs, in order."""
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [_value_info(self.input)],
            [_value_info(output) for output in outputs],
            self._initializers,
        )
        model = helper.make_model(
            graph,
            producer_name="rnnc",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        model = attach_rnnpool(model)
        checker.check_model(model, full_check=True)
        return model

    def conv(
        self,
        x: Tensor,
        channels: int,
        window: Window,
        *,
        groups: int = 1,
        bias: bool = True,
        gain: float = 2.0,
    ) -> Tensor:
        """Convolution; weights have variance ``gain`` / fan-in: 2 before a ReLU, 1 before nothing."""
        name = self._next("conv")
        fan_in = x.channels // groups * window.kernel[0] * window.kernel[1]
        shape = (channels, x.channels // groups, *window.kernel)
        inputs = [x.name, self._normal(f"{name}.weight", shape, float(np.sqrt(gain / fan_in)))]
        if bias:
            inputs.append(self._normal(f"{name}.bias", (channels,), 0.1))
        self._nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [name],
                name=name,
                kernel_shape=window.kernel,
                strides=window.strides,
                pads=window.pads,
                group=groups,
            )
        )
        return Tensor(name, (channels, *window.output_size(x.size)))

    def batch_norm(self, x: Tensor) -> Tensor:
        name = self._next("bn")
        n = x.channels
        parameters = {
            "scale": self._rng.uniform(0.8, 1.2, n),
            "bias": self._rng.normal(0.0, 0.1, n),
            "mean": self._rng.normal(0.0, 0.1, n),
            "var": self._rng.uniform(0.7, 1.4, n),
        }
        inputs = [self.constant(f"{name}.{key}", value) for key, value in parameters.items()]
        self._nodes.append(helper.make_node("BatchNormalization", [x.name, *inputs], [name], name=name, epsilon=1e-5))
        return Tensor(name, x.shape)

    def conv_bn(self, x: Tensor, channels: int, window: Window, *, groups: int = 1, activation: str = "Relu") -> Tensor:
        """Convolution without bias, BatchNormalization, and "Relu", "Relu6" or "" for none."""
        gain = 2.0 if activation else 1.0
        x = self.batch_norm(self.conv(x, channels, window, groups=groups, bias=False, gain=gain))
        if activation == "Relu6":
            return self.relu6(x)
        return self.node(activation, [x], x.shape) if activation else x

    def relu6(self, x: Tensor) -> Tensor:
        name = self._next("clip")
        bounds = [self.constant(f"{name}.{key}", np.array(value)) for key, value in (("min", 0.0), ("max", 6.0))]
        self._nodes.append(helper.make_node("Clip", [x.name, *bounds], [name], name=name))
        return Tensor(name, x.shape)

    def inverted_residual(self, x: Tensor, channels: int, stride: int, expansion: int, kernel: int = 3) -> Tensor:
        """MobileNetV2's block: 1x1 expansion, if any, depthwise, 1x1; the input is added if it fits."""
        hidden = x.channels * expansion
        y = self.conv_bn(x, hidden, centred(1), activation="Relu6") if expansion != 1 else x
        y = self.conv_bn(y, hidden, centred(kernel, stride), groups=hidden, activation="Relu6")
        y = self.conv_bn(y, channels, centred(1), activation="")
        return self.node("Add", [x, y], x.shape) if x.shape == y.shape else y

    def rnnpool(
        self, x: Tensor, hidden: tuple[int, int], window: Window, gates: tuple[str, str] = ("Sigmoid", "Tanh")
    ) -> Tensor:
        """RNNPool with FastGRNN cells of h1 and h2 = ``hidden`` units: 4 * h2 channels; ``gates``: gate and update."""
        name = self._next("rnnpool")
        names = []
        for n, (inputs, h) in enumerate(((x.channels, hidden[0]), hidden), 1):
            names.append(self._normal(f"{name}.W{n}", (h, inputs), float(np.sqrt(1.0 / inputs))))
            names.append(self._normal(f"{name}.R{n}", (h, h), float(np.sqrt(0.5 / h))))
            bias = self._rng.normal(0.0, 0.5, (2, h)) + np.array([[-0.5], [0.0]])
            names.append(self.constant(f"{name}.B{n}", bias))
        for n in (1, 2):
            names.append(self.constant(f"{name}.S{n}", np.array([0.98, 0.02])))
        self._nodes.append(
            make_rnnpool_node(
                [x.name, *names],
                name,
                kernel_shape=window.kernel,
                strides=window.strides,
                pads=window.pads,
                gate_activation=gates[0],
                update_activation=gates[1],
                name=name,
            )
        )
        return Tensor(name, (4 * hidden[1], *window.output_size(x.size)))

    def dense(self, x: Tensor, units: int) -> Tensor:
        """Fully connected layer over a flat input [features]."""
        name = self._next("dense")
        (features,) = x.shape
        weight = self._normal(f"{name}.weight", (units, features), float(np.sqrt(4.0 / features)))
        bias = self._normal(f"{name}.bias", (units,), 0.1)
        self._nodes.append(helper.make_node("Gemm", [x.name, weight, bias], [name], name=name, transB=1))
        return Tensor(name, (units,))

    def average_all(self, x: Tensor) -> Tensor:
        """Global average pooling, flattened to [channels]."""
        pooled = self.node("GlobalAveragePool", [x], (x.channels, 1, 1))
        return self.node("Flatten", [pooled], (x.channels,), axis=1)

    def node(self, op_type: str, inputs: Sequence[Tensor], shape: Sequence[int], **attributes: Any) -> Tensor:
        """A node that has values as its only inputs; ``shape`` is its output's."""
        return self.node_with(op_type, [x.name for x in inputs], shape, **attributes)

    def node_with(self, op_type: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> Tensor:
        """The same with input names, constants among them."""
        name = self._next(op_type.lower())
        self._nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return Tensor(name, tuple(shape))

    def constant(self, name: str, values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> str:
        """A named initializer, float32 unless the values are integers."""
        kind = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
        self._initializers.append(numpy_helper.from_array(values.astype(kind), name))
        return name

    def renamed(self, x: Tensor, name: str) -> Tensor:
        """The same value under ``name``, for a model's outputs; ``x`` must be the newest node's."""
        self._nodes[-1].output[0] = name
        return Tensor(name, x.shape)

    def _normal(self, name: str, shape: Sequence[int], deviation: float) -> str:
        return self.constant(name, self._rng.normal(0.0, deviation, tuple(shape)))

    def _next(self, prefix: str) -> str:
        return f"{prefix}{len(self._nodes)}"


def _value_info(x: Tensor) -> ValueInfoProto:
    return helper.make_tensor_value_info(x.name, TensorProto.FLOAT, [BATCH, *x.shape])
