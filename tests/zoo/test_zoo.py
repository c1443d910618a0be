"""The zoo's networks: valid ONNX, run by onnxruntime, and of the size that their papers give."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from rnnc.diagnostics import CompileError
from rnnc.zoo import ZOO, build
from rnnc.zoo.layers import make_divisible, same

NAMES = [entry.name for entry in ZOO]
FACE_SIZES = {
    "rnnpool-face-m4": [(30, 40), (30, 40), (15, 20), (15, 20)],
    "rnnpool-face-quant": [(120, 160), (60, 80), (30, 40), (15, 20), (8, 10), (4, 5)],
}


@cache
def model_of(name: str) -> onnx.ModelProto:
    return build(name)


def input_shape(model: onnx.ModelProto) -> list[int]:
    """Without the batch axis."""
    return [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]


def run(model: onnx.ModelProto, batch: int, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(seed).uniform(-1, 1, (batch, *input_shape(model))).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


def attribute(node: onnx.NodeProto, name: str) -> Any:
    return next(onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name)


def nominal_macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of convolutions, dense layers and RNNPool's matrices."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    counted = [n for n in model.graph.node if n.op_type in ("Conv", "Gemm", "RNNPool")]
    declared = {output.name for output in model.graph.output}
    for node in counted:
        if node.output[0] not in declared:
            exposed.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    outputs = run(exposed, 1)
    weights = {t.name: list(t.dims) for t in model.graph.initializer}
    total = 0
    for node in counted:
        y = outputs[node.output[0]]
        if node.op_type == "RNNPool":
            rows, columns = attribute(node, "kernel_shape")
            first, second = (math.prod(weights[node.input[i]]) + math.prod(weights[node.input[i + 1]]) for i in (1, 4))
            per_patch = 2 * rows * columns * first + 2 * (rows + columns) * second
            total += per_patch * y.shape[2] * y.shape[3]
        else:
            total += y.size * math.prod(weights[node.input[1]][1:])
    return total


def parameters(model: onnx.ModelProto) -> int:
    """Weights and biases as they are once BatchNormalization is folded: one bias per output channel."""
    weights = {t.name: list(t.dims) for t in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            total += math.prod(weights[node.input[1]]) + weights[node.input[1]][0]
        elif node.op_type == "RNNPool":
            total += sum(math.prod(weights[name]) for name in node.input[1:])
    return total


@pytest.mark.parametrize("name", NAMES)
def test_network_runs_for_any_batch_with_healthy_outputs(name: str) -> None:
    model = model_of(name)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    declared = {o.name: [d.dim_value for d in o.type.tensor_type.shape.dim[1:]] for o in model.graph.output}
    one, two = run(model, 1), run(model, 2)
    assert {key: list(y.shape[1:]) for key, y in two.items()} == declared
    for key, y in two.items():
        assert y.shape[0] == 2
        assert np.isfinite(y).all()
        assert np.abs(y).max() < 50
        assert y.std() > 1e-4, f"{key} is constant"
        assert one[key].shape[0] == 1


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_on_every_build(name: str) -> None:
    assert build(name).SerializeToString(deterministic=True) == model_of(name).SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", NAMES)
def test_activations_keep_their_scale(name: str) -> None:
    """Neither vanishing nor exploding: otherwise int8 versions of the zoo would say nothing about rnnc."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model_of(name))
    for node in model_of(name).graph.node:
        if node.op_type in ("BatchNormalization", "RNNPool"):
            exposed.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    deviations = {key: float(y.std()) for key, y in run(exposed, 1).items() if key.startswith(("bn", "rnnpool"))}
    assert deviations
    assert {key: std for key, std in deviations.items() if not 0.1 < std < 10} == {}


@pytest.mark.parametrize(
    ("name", "megamacs", "kiloparameters"),
    [
        # As published for MLPerf Tiny's reference models and MobileNetV2.
        ("ds-cnn", 2.66, 22.6),
        ("resnet-8", 12.5, 77.4),
        ("mobilenetv1-0.25-96", 7.5, 213.5),
        ("mobilenetv2-0.35-224", 59.0, 1670),
    ],
)
def test_size_is_that_of_the_published_network(name: str, megamacs: float, kiloparameters: float) -> None:
    assert nominal_macs(model_of(name)) / 1e6 == pytest.approx(megamacs, rel=0.02)
    assert parameters(model_of(name)) / 1e3 == pytest.approx(kiloparameters, rel=0.02)


def test_face_m4_has_the_layers_of_the_published_model() -> None:
    """Conv to 4 channels, RNNPool 8/4 with h1 = h2 = 16, four bottlenecks of expansion 2.

    The paper quotes 70M MACs. These layers have 103M with dense RNNPool matrices, 60M with the sparsity of
    the published model (0.5 for W1, 0.3 for the others).
    """
    model = model_of("rnnpool-face-m4")
    assert input_shape(model) == [1, 240, 320]
    depthwise = [n for n in model.graph.node if n.op_type == "Conv" and attribute(n, "group") > 1]
    assert [(attribute(n, "group"), list(attribute(n, "strides"))) for n in depthwise] == [
        (128, [1, 1]),
        (64, [1, 1]),
        (64, [2, 2]),
        (128, [1, 1]),
    ]
    (pool,) = [n for n in model.graph.node if n.op_type == "RNNPool"]
    assert list(attribute(pool, "kernel_shape")) == [8, 8]
    assert list(attribute(pool, "strides")) == [4, 4]
    assert nominal_macs(model) == 103_313_664
    patches, sweeps1, sweeps2 = 29 * 39, 2 * 8 * 8, 4 * 8
    dense = patches * (sweeps1 * (64 + 256) + sweeps2 * (256 + 256))
    sparse = patches * (sweeps1 * (0.5 * 64 + 0.3 * 256) + sweeps2 * 0.3 * (256 + 256))
    assert (nominal_macs(model) - dense + sparse) / 1e6 == pytest.approx(60, abs=1)
    assert parameters(model) == 55_238


@pytest.mark.parametrize("name", FACE_SIZES)
def test_detection_layers_come_as_separate_raw_maps(name: str) -> None:
    model = model_of(name)
    outputs = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim[1:]) for o in model.graph.output}
    expected: dict[str, tuple[int, ...]] = {}
    for i, size in enumerate(FACE_SIZES[name]):
        expected |= {f"loc{i}": (4, *size), f"conf{i}": (2, *size)}
    assert outputs == expected
    assert [n.op_type for n in model.graph.node].count("ReduceMax") == 1


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(CompileError) as error:
        build("resnet-50")
    assert "the zoo has no network 'resnet-50'" in str(error.value)
    for name in NAMES:
        assert name in str(error.value)


def test_entries_say_what_and_from_where() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for entry in ZOO:
        assert entry.description
        assert "arXiv" in entry.source


@pytest.mark.parametrize(("value", "channels"), [(11.2, 16), (5.6, 8), (8.4, 8), (22.4, 24), (112.0, 112), (33.6, 32)])
def test_channel_rounding(value: float, channels: int) -> None:
    assert make_divisible(value) == channels


def test_same_padding_puts_the_odd_pixel_last() -> None:
    assert same((49, 10), (10, 4), (2, 2)).pads == (4, 1, 5, 1)
    assert same((32, 32), (3, 3), (2, 2)).pads == (0, 0, 1, 1)
    assert same((5, 5), (1, 1), (2, 2)).pads == (0, 0, 0, 0)
