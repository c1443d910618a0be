"""The README keeps its promises: its Python runs, its commands, options and links exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^rnnc .*?(?=\s+#|$)", SHELL, re.MULTILINE)


def test_the_python_example_makes_a_model_that_onnxruntime_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), {})
    session = onnxruntime.InferenceSession("tiny.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.load("one.npy")})
    assert y.shape == (1, 32)
    assert np.isfinite(y).all()
    assert np.ptp(y) > 0.01


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_exist_with_their_options(line: str) -> None:
    command = line.split()[1]
    help_text = subprocess.run(
        [sys.executable, "-c", "from rnnc.cli import main; main()", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    missing = [option for option in re.findall(r"(?<= )--?[a-z][a-z-]*", line) if option not in help_text]
    assert not missing, f"`rnnc {command}` has no {', '.join(missing)}"


def test_the_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("https://")]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
