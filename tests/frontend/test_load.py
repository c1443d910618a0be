"""Loading: what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from rnnc.diagnostics import CompileError
from rnnc.frontend import load
from rnnc.frontend.importer import import_model
from rnnc.frontend.load import load_model, prepare_model
from rnnc.frontend.rnnpool_function import DOMAIN
from rnnc.ir.ops import FLOAT_OPS
from rnnc.zoo import build
from tests.onnx_models import onnx_model

CONV = "g (float[N, 3, 8, 6] x) => (float y) { c = Conv(x, w) y = Relu(c) }"


def conv_model() -> ModelProto:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    return onnx_model(CONV, {"w": weight})


def save(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(CompileError) as caught:
        call()
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_good_model_loads_with_shapes(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "m.onnx", conv_model()))
    (inferred,) = [entry for entry in model.graph.value_info if entry.name == "c"]
    assert [dim.dim_value for dim in inferred.type.tensor_type.shape.dim][1:] == [4, 6, 4]


def test_missing_file(tmp_path: Path) -> None:
    text = refusal(lambda: load_model(tmp_path / "none.onnx"))
    assert "none.onnx: the file cannot be read" in text and "No such file" in text


def test_folder(tmp_path: Path) -> None:
    assert "this is a folder, not an ONNX file" in refusal(lambda: load_model(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n garbage", b"hello, world " * 50])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    text = refusal(lambda: load_model(path))
    assert "m.onnx: this is not an ONNX model, or it is cut off" in text


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_truncated(tmp_path: Path, fraction: float) -> None:
    data = conv_model().SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data[: int(len(data) * fraction)])
    assert "m.onnx" in refusal(lambda: load_model(path))


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "m.onnx", conv_model())
    monkeypatch.setattr(load, "MAX_BYTES", 100)
    text = refusal(lambda: load_model(path))
    assert "the file has" in text and "the limit is 100 bytes" in text


def external(path: Path, location: str) -> Path:
    """A model whose weight lies in ``location``."""
    model = conv_model()
    onnx.save_model(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    changed = onnx.load(str(path), load_external_data=False)
    for entry in changed.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    return save(path, changed)


def test_external_data_beside_the_model_are_read(tmp_path: Path) -> None:
    model = load_model(external(tmp_path / "m.onnx", "weights.bin"))
    expected = numpy_helper.to_array(conv_model().graph.initializer[0])
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), expected)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "a/../../weights.bin"])
def test_external_data_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(4 * 108))
    path = external(tmp_path / "inner" / "m.onnx", location)
    text = refusal(lambda: load_model(path))
    assert "tensor 'w'" in text and location in text and "in the model's own folder" in text


def test_external_data_behind_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 108))
    path = external(tmp_path / "inner" / "m.onnx", "link.bin")
    (tmp_path / "inner" / "link.bin").symlink_to(tmp_path / "secret.bin")
    assert "in the model's own folder" in refusal(lambda: load_model(path))


def test_missing_external_data(tmp_path: Path) -> None:
    path = external(tmp_path / "m.onnx", "gone.bin")
    text = refusal(lambda: load_model(path))
    assert "tensor 'w'" in text and "there is no file 'gone.bin' beside the model" in text


@pytest.mark.parametrize("opset", [7, 10, 99])
def test_opset(opset: int) -> None:
    model = conv_model()
    model.opset_import[0].version = opset
    text = refusal(lambda: prepare_model(model, "m.onnx"))
    assert f"m.onnx: the model uses opset {opset}" in text
    assert "opsets 11 to" in text and "convert_version" in text


def test_invalid_onnx() -> None:
    model = conv_model()
    model.graph.node[0].input[0] = "nowhere"
    text = refusal(lambda: prepare_model(model, "m.onnx"))
    assert "m.onnx: the file is not valid ONNX" in text and "nowhere" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_numbers(value: float) -> None:
    weight = np.zeros((4, 3, 3, 3), np.float32)
    weight[2, 1, 0, 2] = value
    text = refusal(lambda: prepare_model(onnx_model(CONV, {"w": weight}), "m.onnx"))
    assert "tensor 'w': 1 of its 108 values are NaN or infinite, the first at [2, 1, 0, 2]" in text


def test_infinite_bounds_of_clip_are_fine() -> None:
    text = "g (float[N, 3, 8, 6] x) => (float y) { y = Clip(x, lo, hi) }"
    prepare_model(onnx_model(text, {"lo": np.float32(0), "hi": np.float32(np.inf)}), "m.onnx")


INPUTS = {
    "float[4, 3, 8, 6] x": ("input 'x': its batch size is fixed at 4", "batch size 1 or a symbolic"),
    "float[N, 3, H, 6] x": ("input 'x': axis 2 has no fixed extent ('H')", "export with a fixed size"),
    "float x": ("input 'x': it has no shape",),
    "double[N, 3, 8, 6] x": ("input 'x': its type is DOUBLE", "float32, int8 or uint8"),
    "seq(float[N, 3]) x": ("input 'x': it is not a tensor",),
}


@pytest.mark.parametrize("declared", INPUTS)
def test_inputs(declared: str) -> None:
    model = onnx_model(f"g ({declared}) => (float y) {{ y = Identity(x) }}")
    model.graph.output[0].type.CopyFrom(model.graph.input[0].type)
    text = refusal(lambda: prepare_model(model, "m.onnx"))
    for words in INPUTS[declared]:
        assert words in text


def test_rnnpool_gets_its_function() -> None:
    model = build("rnnpool-vww")
    del model.functions[:]
    prepared = prepare_model(model, "m.onnx")
    assert [function.domain for function in prepared.functions] == [DOMAIN]


def test_other_functions_are_inlined() -> None:
    model = onnx_model("g (float[N, 3, 8, 6] x) => (float y) { y = Relu(x) }")
    function = parser.parse_function(
        '<opset_import: ["" : 17], domain: "local"> Twice (a) => (b) { c = Add(a, a) b = Relu(c) }'
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Twice", "local"
    graph = import_model(prepare_model(model, "m.onnx"), FLOAT_OPS)
    assert [node.op.name for node in graph.nodes] == ["add", "clamp"]


def test_unknown_domain() -> None:
    model = onnx_model("g (float[N, 3, 8, 6] x) => (float y) { [n] y = Relu(x) }")
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    text = refusal(lambda: import_model(prepare_model(model, "m.onnx"), FLOAT_OPS))
    assert "com.example::Relu (node 'n')" in text


def test_initialisers_listed_as_inputs_are_not_inputs() -> None:
    model = conv_model()
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3, 3, 3]))
    graph = import_model(prepare_model(model, "m.onnx"), FLOAT_OPS)
    assert [port.name for port in graph.inputs] == ["x"]
