"""What the compiler reckons with, against what the profiler finds: networks that the table was not fitted to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnc.bundle import read_bundle
from rnnc.compile import Options, compile_model
from rnnc.profiler.profile import ENGINE, profile_bundle
from rnnc.scheduler.choose import Optimize
from rnnc.zoo import build

WITHIN, SHARE = 0.1, 0.01
CASES: tuple[tuple[str, Optimize], ...] = (
    ("ds-cnn", "speed"),
    ("resnet-8", "balanced"),
    ("mobilenetv1-0.25-96", "ram"),
    ("rnnpool-vww", "speed"),
)


@pytest.mark.parametrize(("network", "optimize"), CASES, ids=[name for name, _ in CASES])
def test_layers_are_predicted_within_ten_percent(network: str, optimize: Optimize, tmp_path: Path) -> None:
    """`python scripts/calibrate_costs.py` refreshes the table after kernels were changed."""
    model = tmp_path / "model.onnx"
    model.write_bytes(build(network).SerializeToString())
    report = compile_model(Options(model, tmp_path / "out", optimize=optimize, method="minmax")).report
    profile = profile_bundle(read_bundle(tmp_path / "out"))
    assert report["cycles"]["estimated"] == sum(layer.predicted or 0 for layer in profile.layers)
    assert report["cycles"]["estimated"] == pytest.approx(profile.total.cycles, rel=WITHIN)
    for layer in profile.layers:
        if layer.figures.cycles >= SHARE * profile.total.cycles and layer.name != ENGINE:
            assert layer.error == pytest.approx(0, abs=WITHIN), f"{layer.name}, {layer.kernel}"
