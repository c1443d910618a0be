"""The command line, used as a user does: files in, text or JSON and exit codes out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from rnnc.cli import cli
from rnnc.ir.ops import OPS
from rnnc.ir.text import parse_graph, print_graph
from rnnc.passes import PASS_NAMES
from rnnc.zoo import ZOO, build
from tests.small_models import MODELS

REPORT_KEYS = {
    "model": None,
    "target": None,
    "schedule": None,
    "input_mode": None,
    "ram": {"total", "arena", "stack", "static", "banks"},
    "flash": {"total", "weights", "code", "tables"},
    "macs": {"nominal", "executed"},
    "cycles": {"estimated"},
    "widened": {"layers", "bytes", "cycles"},
    "lower_bound": {"bytes", "of", "gap", "frames", "row_cut", "partial_sums", "one_job", "layerwise"},
    "peak": {"step", "live_bytes", "buffers"},
    "stages": None,
    "buffers": {"name", "offset", "size", "bank", "first_step", "last_step"},
    "ops": {"name", "op", "macs", "cycles", "ram", "weights"},
}
COMMANDS = [(name,) for name in cli.commands if name != "zoo"] + [("zoo", "list"), ("zoo", "export"), ("zoo",)]


def rnnc(*arguments: str | Path) -> Result:
    """Run a command in this process; what goes wrong is raised."""
    return CliRunner().invoke(cli, [str(item) for item in arguments], catch_exceptions=False)


def done(*arguments: str | Path) -> str:
    """Standard output of a command that must succeed."""
    result = rnnc(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Bundles of the small models by name, each compiled once."""
    folder = tmp_path_factory.mktemp("bundles")

    def bundle(name: str) -> Path:
        if not (folder / name).exists():
            onnx.save(MODELS[name](), folder / f"{name}.onnx")
            np.savez(folder / "samples.npz", **inputs_of(name, 16))
            samples = ("--calibration", folder / "samples.npz")
            done("compile", folder / f"{name}.onnx", "-o", folder / name, *samples)
        return folder / name

    return bundle


def inputs_of(name: str, runs: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(5)
    if name == "quantised":
        return {"x": rng.integers(0, 256, (runs, 1, 5, 5)).astype(np.uint8)}
    return {
        entry.name: rng.uniform(-1, 1, (runs, *(d.dim_value for d in entry.type.tensor_type.shape.dim[1:]))).astype(
            np.float32
        )
        for entry in MODELS[name]().graph.input
    }


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(command: tuple[str, ...]) -> None:
    text = done(*command, "--help")
    assert f"rnnc {' '.join(command)}" in text.partition("\n")[2], "no example"


@pytest.mark.parametrize("name", MODELS)
def test_compile_writes_a_bundle_and_its_report(name: str, compiled: Callable[[str], Path]) -> None:
    folder = compiled(name)
    files = {path.name for path in folder.iterdir()}
    assert {"model.c", "model.h", "weights.c", "report.json", "report.html"} <= files
    report = json.loads((folder / "report.json").read_text())
    for key, inner in REPORT_KEYS.items():
        item = report[key][0] if isinstance(report[key], list) and inner else report[key]
        assert inner is None or inner <= item.keys(), key
    assert report["model"] == name
    assert report == json.loads(done("report", folder, "--json"))


def test_compile_prints_what_the_model_needs(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    result = rnnc("compile", tmp_path / "small.onnx", "-o", tmp_path / "out", "--name", "tiny")
    for word in ("tiny:", "RAM", "flash", "MACs", "rnnc verify"):
        assert word in result.stdout
    assert "warning: calibrated on generated inputs" in result.stderr
    assert "tiny_run" in (tmp_path / "out" / "model.h").read_text()


def test_compile_again_replaces_the_bundle(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    for arithmetic in ("fast", "tflite"):
        output = done("compile", tmp_path / "small.onnx", "-o", tmp_path / "out", "--arithmetic", arithmetic, "--json")
        assert json.loads(output)["arithmetic"] == arithmetic
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "small.onnx"]


def test_calibration_samples_are_used(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    samples = {"input": np.random.default_rng(0).normal(0, 3, (4, 2, 8, 8)).astype(np.float32)}
    np.savez(tmp_path / "samples.npz", **samples)
    arguments = ("compile", tmp_path / "small.onnx", "-o", tmp_path / "out", "--json")
    for method in ("minmax", "percentile", "mse"):
        result = rnnc(*arguments, "--calibration", tmp_path / "samples.npz", "--calibration-method", method)
        assert result.exit_code == 0
        assert "warning" not in result.stderr
        span = json.loads(result.stdout)["inputs"][0]["scale"] * 255
        assert span == pytest.approx(np.ptp(samples["input"]), rel=0.35)
    assert span <= np.ptp(samples["input"]) * 1.001


def test_streamed_input(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    bundle = tmp_path / "out"
    report = json.loads(
        done("compile", tmp_path / "small.onnx", "-o", bundle, "--input-mode", "stream", "--schedule", "rows", "--json")
    )
    assert report["input_mode"] == "stream"
    assert report["schedule"] == "rows"
    assert "small_push_rows" in (bundle / "model.h").read_text()
    assert "equal" in done("verify", bundle, "-n", "3")


@pytest.mark.parametrize(("name", "input_mode"), [("two", "buffer"), ("quantised", "buffer"), ("quantised", "stream")])
def test_streamed_output(name: str, input_mode: str, tmp_path: Path) -> None:
    """The same bytes everywhere, in less RAM where the output is a part of the peak."""
    onnx.save(MODELS[name](), tmp_path / "small.onnx")
    np.savez(tmp_path / "in.npz", **inputs_of(name, 2))
    reports, results = {}, []
    for mode in ("buffer", "stream"):
        bundle = tmp_path / mode
        modes = ("--input-mode", input_mode, "--output-mode", mode)
        reports[mode] = json.loads(
            done("compile", tmp_path / "small.onnx", "-o", bundle, "--schedule", "rows", *modes, "--json")
        )
        for place in ("python", "host", "qemu"):
            done("run", bundle, "--input", tmp_path / "in.npz", "--on", place, "-o", tmp_path / f"{place}.npz")
            results.append(dict(np.load(tmp_path / f"{place}.npz")))
    assert [reports[mode]["output_mode"] for mode in reports] == ["buffer", "stream"]
    arenas = [reports[mode]["ram"]["arena"] for mode in ("stream", "buffer")]
    assert arenas[0] < arenas[1] or (name == "two" and arenas[0] == arenas[1])
    assert reports["stream"]["ram"]["static"] == reports["buffer"]["ram"]["static"] + 12
    for output, array in results[0].items():
        assert all(np.array_equal(array, other[output]) for other in results), output
    header = (tmp_path / "stream" / "model.h").read_text()
    assert "small_on_row(" in header
    assert "output mode stream" in done("report", tmp_path / "stream")
    assert "equal" in done("verify", tmp_path / "stream", "-n", "3")
    assert "cycles per inference" in done("profile", tmp_path / "stream", "--on", "qemu")


@pytest.mark.parametrize("name", MODELS)
def test_all_places_give_the_same(name: str, compiled: Callable[[str], Path], tmp_path: Path) -> None:
    """python, host and qemu, on a batch of two, close to onnxruntime."""
    arrays = inputs_of(name, 2)
    np.savez(tmp_path / "in.npz", **arrays)
    results = []
    for place in ("python", "host", "qemu"):
        done("run", compiled(name), "--input", tmp_path / "in.npz", "--on", place, "-o", tmp_path / f"{place}.npz")
        results.append(dict(np.load(tmp_path / f"{place}.npz")))
    session = onnxruntime.InferenceSession(MODELS[name]().SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    singles = [session.run(names, {k: v[i : i + 1] for k, v in arrays.items()}) for i in range(2)]
    for index, output in enumerate(names):
        want = np.concatenate([single[index] for single in singles]).astype(np.float64)
        assert results[0][output].shape == want.shape
        for other in results[1:]:
            np.testing.assert_array_equal(results[0][output], other[output])
        step = 1 if name == "quantised" else _scales(compiled(name))[index]
        error = np.sqrt(np.mean((results[0][output] - want) ** 2))
        assert error < 0.02 * np.ptp(want) + step, output


def _scales(bundle: Path) -> list[float]:
    return [port["scale"] for port in json.loads((bundle / "report.json").read_text())["outputs"]]


def test_run_prints_text_and_json(compiled: Callable[[str], Path], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", inputs_of("classifier", 1)["input"][0])
    text = done("run", compiled("classifier"), "--input", tmp_path / "x.npy", "--on", "qemu")
    assert "scores: float32[1, 3]" in text
    assert "instructions per inference" in text
    data = json.loads(done("run", compiled("classifier"), "--input", tmp_path / "x.npy", "--json"))
    scores = np.array(data["outputs"]["scores"])
    assert scores.shape == (1, 3)
    assert scores.sum() == pytest.approx(1, abs=0.02)
    raw = json.loads(done("run", compiled("classifier"), "--input", tmp_path / "x.npy", "--json", "--raw"))
    np.testing.assert_allclose((np.array(raw["outputs"]["scores"]) + 128) / 256, scores, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_verify(name: str, compiled: Callable[[str], Path]) -> None:
    verdicts = json.loads(done("verify", compiled(name), "-n", "3", "--json"))
    assert [(item["on"], item["equal"], item["runs"]) for item in verdicts] == [("host", True, 3), ("qemu", True, 3)]


def test_verify_ends_with_1_where_the_c_differs(compiled: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = tmp_path / "broken"
    bundle.mkdir()
    for path in compiled("classifier").rglob("*"):
        if path.is_file():
            target = bundle / path.relative_to(compiled("classifier"))
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    model = (bundle / "model.c").read_text()
    assert ".zero_point" in model
    (bundle / "model.c").write_text(model.replace(".low = ", ".low = 5 + "))
    result = rnnc("verify", bundle, "--on", "host")
    assert result.exit_code == 1
    assert "host: DIFFERENT, run 0: the first layer that differs is" in result.stdout


def test_report_is_readable(compiled: Callable[[str], Path]) -> None:
    text = done("report", compiled("two"))
    for word in ("Stages", "Buffers", "Operators", "bound", "times that", "peak", "bytes live", "deepest stack"):
        assert word in " ".join(text.split())


def test_report_draws_the_page_of_the_bundle(compiled: Callable[[str], Path], tmp_path: Path) -> None:
    done("report", compiled("two"), "--html", tmp_path / "two.html")
    page = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert page == (compiled("two") / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page


def test_report_says_what_is_known_about_the_plan(compiled: Callable[[str], Path]) -> None:
    text = " ".join(done("report", compiled("two")).split())
    for statement in json.loads((compiled("two") / "report.json").read_text())["search"]["statements"]:
        assert statement in text


def test_explore_lists_plans_that_compile_makes(tmp_path: Path) -> None:
    """Each command needs no more RAM and no more MACs than its plan."""
    path, page = tmp_path / "a b.onnx", tmp_path / "front.html"
    path.write_bytes(build("rnnpool-vww").SerializeToString())
    modes = ("--input-mode", "stream", "--output-mode", "stream")
    points = json.loads(done("explore", path, *modes, "--html", page, "-o", tmp_path / "plans", "--json"))
    totals, macs = [p["ram"]["total"] for p in points], [p["macs"]["executed"] for p in points]
    assert totals == sorted(set(totals), reverse=True)
    assert macs == sorted(macs)
    assert len(points) > 2
    for index, point in enumerate(points):
        assert Path(point["folder"]) == tmp_path / "plans" / str(index)
        assert point["command"] in unescape(page.read_text(encoding="utf-8"))
    command = shlex.split(points[1]["command"])
    assert command[:2] == ["rnnc", "compile"]
    command[command.index("OUT")] = str(tmp_path / "again")
    again = json.loads(done(*command[1:], "--json"))
    assert again["ram"]["total"] <= totals[1]
    assert again["macs"]["executed"] == macs[1]
    assert "equal" in done("verify", tmp_path / "plans" / str(len(points) - 1), "--on", "host", "-n", "2")


def test_a_lent_input_is_not_in_the_arena(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    reports = {}
    for mode in ("buffer", "lent"):
        arguments = ("compile", tmp_path / "small.onnx", "-o", tmp_path / mode, "--input-mode", mode, "--json")
        reports[mode] = json.loads(done(*arguments))
    assert reports["lent"]["input_mode"] == "lent"
    assert [buffer["kind"] for buffer in reports["lent"]["buffers"]].count("input") == 0
    assert reports["lent"]["ram"]["arena"] < reports["buffer"]["ram"]["arena"]
    assert reports["lent"]["ram"]["static"] == reports["buffer"]["ram"]["static"] + 4
    assert "equal" in done("verify", tmp_path / "lent", "--on", "host", "-n", "2")


def test_report_of_a_stream_says_what_any_schedule_holds(tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    done("compile", tmp_path / "small.onnx", "-o", tmp_path / "out", "--input-mode", "stream")
    text = " ".join(done("report", tmp_path / "out").split())
    cut = json.loads((tmp_path / "out" / "report.json").read_text())["lower_bound"]["row_cut"]
    assert f"carries after {cut['after_rows']} input rows" in text
    assert any(f"{part['rows']} rows of {part['value']}" in text for part in cut["through"])


@pytest.mark.parametrize("board", ["stm32f439", "qemu-mps2-an386"])
def test_build(board: str, compiled: Callable[[str], Path], tmp_path: Path) -> None:
    arguments = ("build", compiled("classifier"), "--board", board, "-o", tmp_path / "image")
    data = json.loads(done(*arguments, "--json"))
    assert (tmp_path / "image" / "firmware.elf").stat().st_size
    assert data["text"] + data["data"] < data["flash_size"]
    assert "flash" in done(*arguments, "--portable")


@pytest.mark.parametrize("name", PASS_NAMES)
def test_the_dump_after_every_pass_parses(name: str, tmp_path: Path) -> None:
    onnx.save(MODELS["classifier"](), tmp_path / "small.onnx")
    text = done("compile", tmp_path / "small.onnx", "-o", tmp_path / "out", "--dump-after", name)
    constants = {digest: np.zeros(1) for digest in _digests(text)}
    graph = parse_graph(text, OPS, constants)
    assert [port.name for port in graph.outputs] == ["scores"]
    assert print_graph(parse_graph(print_graph(graph), OPS)) == print_graph(graph)


def _digests(text: str) -> set[str]:
    return {word.split("@")[1][:16] for word in text.replace(",", " ").replace(")", " ").split() if "]@" in word}


def test_zoo(tmp_path: Path) -> None:
    assert [item["name"] for item in json.loads(done("zoo", "list", "--json"))] == [entry.name for entry in ZOO]
    assert "rnnpool-face-m4" in done("zoo", "list")
    assert "wrote" in done("zoo", "export", "rnnpool-vww", "-o", tmp_path / "new" / "vww.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "new" / "vww.onnx"))


def test_doctor() -> None:
    result = rnnc("doctor", "--json")
    found = json.loads(result.stdout)
    assert {"C compiler", "arm-none-eabi-gcc", "qemu-system-arm"} <= {item["name"] for item in found}
    assert result.exit_code == (0 if all(item["found"] for item in found) else 1)
