"""The generated C and the runtime: no warning from gcc or clang, nothing for the sanitizers to find."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from rnnc.bundle import Bundle, read_bundle
from rnnc.compile import Options, compile_model
from rnnc.execute import execute
from rnnc.resources import runtime_dir
from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.toolchain.run import run_image
from rnnc.verification import test_inputs as inputs_for
from tests.small_models import MODELS

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
COMPILERS = ("gcc", "clang")


def bundle_of(name: str, folder: Path, **options: object) -> Bundle:
    onnx.save(MODELS[name](), folder / f"{name}.onnx")
    compile_model(Options(folder / f"{name}.onnx", folder / "bundle", **options))  # type: ignore[arg-type]
    return read_bundle(folder / "bundle")


def assert_compiles(command: list[str | Path]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("tflite", [0, 1])
def test_the_runtime_has_no_warnings(compiler: str, tflite: int, tmp_path: Path) -> None:
    """Every family, whether a model uses it or not."""
    assert shutil.which(compiler), f"{compiler} is not installed"
    sources = sorted((runtime_dir() / "src").rglob("*.c"))
    flags = [*STRICT, f"-DRNNC_TFLITE={tflite}", f"-I{runtime_dir() / 'include'}", "-O1", "-fsyntax-only"]
    assert_compiles([compiler, *flags, *sources])


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", MODELS)
def test_bundles_have_no_warnings(name: str, compiler: str, tmp_path: Path) -> None:
    """As a user builds them, with `cc *.c` and no other flag than the warnings."""
    modes = {"pooled": ("stream", "buffer"), "two": ("buffer", "stream"), "quantised": ("stream", "stream")}
    input_mode, output_mode = modes.get(name, ("buffer", "buffer"))
    bundle = bundle_of(name, tmp_path, input_mode=input_mode, output_mode=output_mode, target="host")
    (tmp_path / "objects").mkdir()
    command = [compiler, *STRICT, "-c", *sorted(bundle.folder.glob("*.c"))]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=tmp_path / "objects"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("schedule", ["layer", "rows"])
def test_sanitizers_find_nothing(name: str, schedule: str, tmp_path: Path) -> None:
    """On the extremes and on noise; the outputs are Python's."""
    bundle = bundle_of(name, tmp_path, schedule=schedule, target="host")
    inputs, board = inputs_for(bundle, 4), load_board("host")
    image = build(bundle.folder, board, tmp_path / "build", extra_flags=SANITIZE)
    data = b"".join(inputs[port.name][run].tobytes() for run in range(4) for port in bundle.graph.inputs)
    result = run_image(image, board, data)
    expected = execute(bundle, inputs, "python").outputs
    wanted = b"".join(expected[port.name][run].tobytes() for run in range(4) for port in bundle.graph.outputs)
    assert result.outputs == wanted
    assert "runtime error" not in result.log
    assert np.frombuffer(wanted, np.int8).size
