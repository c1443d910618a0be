"""Calibration against ranges known beforehand, and the files of samples that it takes and refuses."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from rnnc.diagnostics import CompileError
from rnnc.frontend import samples as samples_module
from rnnc.frontend.calibrate import Range, calibrate, calibration_runs
from rnnc.frontend.rnnpool_function import make_rnnpool_node
from rnnc.frontend.samples import InputSpec, generated_samples, load_samples

FLOAT = onnx.TensorProto.FLOAT
IMAGE = InputSpec("image", (None, 1, 4, 6), np.dtype(np.float32))


def scaled_relu(factor: float = 2.0) -> onnx.ModelProto:
    """x [N, 100] -> double = factor * x -> y = relu(double), and the index of its largest element."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["double"]),
        helper.make_node("Relu", ["double"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["largest"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "scaled",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 100])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 100])],
        [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(array: npt.NDArray[Any]) -> list[dict[str, npt.NDArray[np.float32]]]:
    return [{"x": row[None].astype(np.float32)} for row in array]


def uniform(n: int = 10) -> npt.NDArray[np.float64]:
    """Samples that reach exactly from -1 to 3."""
    values = np.random.default_rng(0).uniform(-1, 3, (n, 100))
    values[0, 0], values[n - 1, 99] = -1, 3
    return values


def quantisation_error(values: npt.NDArray[Any], found: Range) -> float:
    """Mean squared error of asymmetric int8 with this range, on the values themselves."""
    scale = (found.high - found.low) / 255
    zero_point = round(-found.low / scale)
    levels = np.clip(np.rint(values / scale) + zero_point, 0, 255)
    return float(np.mean(((levels - zero_point) * scale - values) ** 2))


def test_minmax_gives_the_extremes_of_every_float_value() -> None:
    model = scaled_relu()
    before = model.SerializeToString()
    ranges = calibrate(model, feeds(uniform()), method="minmax")
    assert ranges == {"x": Range(-1, 3), "double": Range(-2, 6), "y": Range(0, 6)}
    assert model.SerializeToString() == before


def test_ranges_contain_zero() -> None:
    ranges = calibrate(scaled_relu(-1.0), feeds(uniform() + 2), method="minmax")
    assert ranges == {"x": Range(0, 5), "double": Range(-5, 0), "y": Range(0, 0)}


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_a_value_that_is_always_zero(method: Any) -> None:
    assert calibrate(scaled_relu(), feeds(np.zeros((2, 100))), method=method)["y"] == Range(0, 0)


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_methods_that_clip_keep_a_uniform_distribution_whole(method: Any) -> None:
    found = calibrate(scaled_relu(), feeds(uniform(100)), method=method)["double"]
    assert found.low == pytest.approx(-2, abs=0.03)
    assert found.high == pytest.approx(6, abs=0.03)


def test_percentile_drops_a_lone_outlier_on_its_side_only() -> None:
    values = uniform(200)
    values[17, 3] = 1000
    found = calibrate(scaled_relu(), feeds(values), method="percentile", values=["x"])["x"]
    assert found.low == pytest.approx(-1, abs=0.5)
    assert found.high < 4


def test_mse_is_better_than_minmax_and_percentile_on_the_data_itself() -> None:
    values = np.random.default_rng(1).standard_t(3, (300, 100))
    errors = {
        method: quantisation_error(values, calibrate(scaled_relu(), feeds(values), method=method)["x"])
        for method in ("minmax", "percentile", "mse")
    }
    assert errors["mse"] < 0.95 * min(errors["minmax"], errors["percentile"])


def test_mse_is_close_to_the_best_of_a_brute_force_search() -> None:
    values = np.random.default_rng(2).gamma(1.0, 1.0, (200, 100)) - 0.3
    found = calibrate(scaled_relu(), feeds(values), method="mse", values=["x"])["x"]
    ends = [
        Range(values.min() * low, values.max() * high)
        for low in np.linspace(0.2, 1, 17)
        for high in np.linspace(0.2, 1, 81)
    ]
    best = min(quantisation_error(values, end) for end in ends)
    assert quantisation_error(values, found) <= 1.03 * best


def test_only_the_values_asked_for() -> None:
    assert calibrate(scaled_relu(), feeds(uniform()), method="minmax", values=["y"]) == {"y": Range(0, 6)}
    with pytest.raises(CompileError, match=r"largest, nowhere: .*no such float value"):
        calibrate(scaled_relu(), feeds(uniform()), values=["nowhere", "largest", "y"])


def test_small_groups_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibrate(scaled_relu(), feeds(uniform()))
    monkeypatch.setattr("rnnc.frontend.calibrate._GROUP_BYTES", 1)
    assert calibrate(scaled_relu(), feeds(uniform())) == whole


def test_samples_are_streamed_twice_and_progress_is_told() -> None:
    class Stream:
        passes = 0

        def __iter__(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
            self.passes += 1
            yield from feeds(uniform(3))

    stream, told = Stream(), list[int]()
    ranges = calibrate(scaled_relu(), stream, progress=told.append)
    assert stream.passes == 2
    assert told == list(range(1, calibration_runs(3, "mse") + 1))
    assert calibrate(scaled_relu(), iter(feeds(uniform(3)))) == ranges


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_values_that_are_not_finite_are_named(bad: float, word: str) -> None:
    values = uniform(3)
    values[2, 5] = bad
    with pytest.raises(CompileError, match=rf"^x: the value is {word} for sample 2"):
        calibrate(scaled_relu(), feeds(values))
    with pytest.raises(CompileError, match=rf"^double: the value is {word} for sample 0"):
        calibrate(scaled_relu(bad), feeds(uniform(1)))


def test_a_model_or_samples_that_onnxruntime_refuses() -> None:
    with pytest.raises(CompileError, match="there are no samples"):
        calibrate(scaled_relu(), [])
    with pytest.raises(CompileError, match="cannot run the model on a sample"):
        calibrate(scaled_relu(), [{"x": np.zeros((1, 99), np.float32)}])
    with pytest.raises(CompileError, match="cannot run the model on a sample"):
        calibrate(scaled_relu(), [{"other": np.zeros((1, 100), np.float32)}])
    broken = scaled_relu()
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(CompileError, match="onnxruntime cannot load the model"):
        calibrate(broken, feeds(uniform()))


def test_rnnpool_is_calibrated_without_the_insides_of_its_function() -> None:
    rng = np.random.default_rng(5)
    shapes = {"w1": (3, 1), "r1": (3, 3), "b1": (2, 3), "w2": (2, 3), "r2": (2, 2), "b2": (2, 2)}
    graph = helper.make_graph(
        [make_rnnpool_node(["x", *shapes], "y", kernel_shape=(4, 4), strides=(2, 2))],
        "pool",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 8, 3, 3])],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), k) for k, s in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    ranges = calibrate(model, generated_samples([InputSpec("x", (None, 1, 8, 8), np.dtype("f4"))], 4, seed=1))
    assert set(ranges) == {"x", "y"}
    assert -1 <= ranges["y"].low < ranges["y"].high <= 1


def save(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (IMAGE, (5, 1, 4, 6)),
        (InputSpec("image", (1, 1, 4, 6), IMAGE.dtype), (5, 1, 4, 6)),
        (IMAGE, (5, 1, 1, 4, 6)),
        (InputSpec("image", (2, 3), IMAGE.dtype), (5, 2, 3)),
        (InputSpec("image", (None,), IMAGE.dtype), (5,)),
    ],
    ids=["symbolic", "one", "explicit", "no-batch", "scalars"],
)
@pytest.mark.parametrize("key", ["image", "x"])
def test_samples_lie_on_the_first_axis(tmp_path: Path, spec: InputSpec, shape: tuple[int, ...], key: str) -> None:
    array = np.random.default_rng(0).normal(size=shape)
    y = np.zeros(3)
    loaded = load_samples(save(tmp_path / "x.npz", **{key: array, "y": y}), [spec])
    assert len(loaded) == 5
    for sample, expected in zip(loaded, array, strict=True):
        assert sample["image"].shape == spec.sample_shape
        assert sample["image"].dtype == np.float32
        np.testing.assert_array_equal(sample["image"].ravel(), expected.astype(np.float32).ravel())


def test_several_inputs_are_found_by_name(tmp_path: Path) -> None:
    specs = [IMAGE, InputSpec("gain", (1, 2), np.dtype(np.int8))]
    image, gain = np.zeros((3, 1, 4, 6), np.float32), np.arange(6, dtype=np.int8).reshape(3, 2)
    loaded = list(load_samples(save(tmp_path / "x.npz", gain=gain, image=image), specs))
    assert [sample["gain"].tolist() for sample in loaded] == [[[0, 1]], [[2, 3]], [[4, 5]]]
    with pytest.raises(CompileError, match=r"different numbers of samples\n.*image has 3, gain has 2"):
        load_samples(save(tmp_path / "x.npz", gain=gain[:2], image=image), specs)
    with pytest.raises(CompileError, match="expected arrays: image, gain; found: x"):
        load_samples(save(tmp_path / "x.npz", x=image), specs)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((5, 1, 6, 4), np.float32), "[5, 1, 6, 4] float32"),
        (np.zeros((1, 4, 6), np.float32), "[1, 4, 6] float32"),
        (np.zeros((0, 1, 4, 6), np.float32), "[0, 1, 4, 6] float32"),
        (np.zeros((5, 1, 4, 6), np.uint8), "[5, 1, 4, 6] uint8"),
        (np.float32(3), "[] float32"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, array: npt.NDArray[Any], found: str) -> None:
    with pytest.raises(CompileError) as error:
        load_samples(save(tmp_path / "x.npz", x=array), [IMAGE])
    assert "the samples do not fit input image" in str(error.value)
    assert f"expected [samples, 1, 4, 6] float32, found {found}" in str(error.value)


def test_files_that_are_no_samples_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(CompileError, match=r"the samples cannot be read\n.*No such file"):
        load_samples(path, [IMAGE])
    good = save(path, x=np.zeros((5, 1, 4, 6), np.float32)).read_bytes()
    monkeypatch.setattr(samples_module, "MAX_BYTES", 600)
    with pytest.raises(CompileError, match="the samples take 608 bytes, the limit is 600"):
        load_samples(path, [IMAGE])
    monkeypatch.undo()
    for content in (b"", b"no archive", good[: len(good) // 2], good[:60] + b"\xff" * 20 + good[80:]):
        path.write_bytes(content)
        with pytest.raises(CompileError, match=r"not a usable \.npz file"):
            load_samples(path, [IMAGE])
    with pytest.raises(CompileError, match="Python objects instead of numbers"):
        load_samples(save(path, x=np.array([{}, []], dtype=object)), [IMAGE])
    with pytest.raises(CompileError, match="expected arrays: image or x; found: a, b"):
        load_samples(save(path, a=np.zeros(1), b=np.zeros(1)), [IMAGE])


def test_a_header_that_promises_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1, 4, 6)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(CompileError, match=r"x\.npy is cut short"):
        load_samples(path, [IMAGE])


def test_generated_samples_are_smooth_seeded_and_in_range() -> None:
    specs = [
        InputSpec("x", (None, 1, 64, 48), np.dtype("f4")),
        InputSpec("q", (1, 32, 32, 3), np.dtype("i1")),
    ]
    samples = generated_samples(specs, 6, seed=3)
    x, q = samples.arrays["x"], samples.arrays["q"]
    assert [x.shape, q.shape] == [(6, 1, 1, 64, 48), (6, 1, 32, 32, 3)]
    assert [x.dtype.str, q.dtype.str] == ["<f4", "|i1"]
    assert np.abs(x).max() <= 1
    assert x.std() > 0.2
    assert np.abs(np.diff(x, axis=-1)).mean() < 0.5 * x.std()
    assert q.min() < -64 < 64 < q.max()
    again, other = generated_samples(specs, 6, seed=3), generated_samples(specs, 6, seed=4)
    np.testing.assert_array_equal(again.arrays["x"], x)
    assert (other.arrays["x"] != x).any()
