"""Profiles of small bundles: layers by name, sums, the command and its outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from rnnc.bundle import Bundle, read_bundle
from rnnc.cli import cli
from rnnc.diagnostics import CompileError
from rnnc.profiler import board
from rnnc.profiler.profile import BOARD, ENGINE, Figures, Profile, job_order, profile_bundle
from rnnc.profiler.timing import Timing
from rnnc.target import load_board
from rnnc.toolchain import openocd
from rnnc.toolchain.cc import build
from rnnc.toolchain.cmsis import locate
from rnnc.toolchain.run import RunResult, run_image
from tests.small_models import MODELS


def rnnc(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, [str(item) for item in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of an RNNPool model in two schedules, and of a streamed classifier."""
    folder = tmp_path_factory.mktemp("profile")
    for name in ("pooled", "classifier"):
        onnx.save(MODELS[name](), folder / f"{name}.onnx")
    for out, model, *options in (
        ("layer", "pooled", "--schedule", "layer"),
        ("rows", "pooled", "--schedule", "rows"),
        ("stream", "classifier", "--schedule", "rows", "--input-mode", "stream"),
    ):
        rnnc("compile", folder / f"{model}.onnx", "-o", folder / out, *options)
    return {name: folder / name for name in ("layer", "rows", "stream")}


@pytest.fixture(scope="module")
def pooled(bundles: dict[str, Path]) -> tuple[Bundle, Profile]:
    bundle = read_bundle(bundles["rows"])
    return bundle, profile_bundle(bundle)


def test_layers_are_those_of_the_report(pooled: tuple[Bundle, Profile]) -> None:
    bundle, profile = pooled
    assert [layer.name for layer in profile.layers] == [*(op["name"] for op in bundle.report["ops"]), ENGINE]
    for layer, op in zip(profile.layers, bundle.report["ops"], strict=False):
        assert layer.kernel == op["kernel"]
        assert layer.figures.macs == op["macs"]
        assert layer.figures.cycles > layer.figures.instructions > op["macs"] / 2


def test_a_layer_is_charged_with_its_own_kernel(pooled: tuple[Bundle, Profile]) -> None:
    """RNNPool is nearly all of this model, wherever it stands in the order."""
    _, profile = pooled
    (pool,) = [layer for layer in profile.layers if layer.kernel == "rnnc_rnnpool_s8"]
    parts = ("rnnc_rnn", "product_of", "update_", "sweep")
    inside = sum(cycles for name, cycles in profile.functions.items() if name.startswith(parts))
    assert pool.figures.cycles > 0.5 * profile.total.cycles
    assert inside > 0.5 * pool.figures.cycles


def test_the_layers_add_up(pooled: tuple[Bundle, Profile]) -> None:
    _, profile = pooled
    total = profile.total
    assert total.instructions == sum(line.executed for line in profile.lines)
    assert total.cycles - total.unaligned_cycles == sum(line.cycles for line in profile.lines)
    assert total.cycles == sum(figures.cycles for figures in profile.kernels.values())
    assert sum(profile.functions.values()) == total.cycles - total.unaligned_cycles


def test_instructions_are_those_that_the_emulator_counts(pooled: tuple[Bundle, Profile], tmp_path: Path) -> None:
    """With -icount, on the same self-test. That sees the returns of the hooks too, but not what the firmware does
    around each step of the engine (two looks at a timer and less than 40 instructions)."""
    bundle, profile = pooled
    emulated = load_board(BOARD)
    image = build(bundle.folder, emulated, tmp_path / "build", cmsis=locate())
    (counted,) = run_image(image, emulated, None).cycles
    steps = bundle.plan.jobs // 64 + 1
    assert -40 * steps <= counted - profile.total.instructions <= 2 * bundle.plan.jobs


def test_the_order_of_jobs_is_the_engines(bundles: dict[str, Path]) -> None:
    for name in ("layer", "stream"):
        bundle = read_bundle(bundles[name])
        order = job_order(bundle)
        assert len(order) == bundle.plan.jobs
        assert set(order) == set(range(len(bundle.graph.nodes)))
        assert all(layer.figures.cycles for layer in profile_bundle(bundle).layers)


def test_schedules_share_kernels_so_layers_cost_the_same(bundles: dict[str, Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    data = json.loads(rnnc("profile", bundles["rows"], "--compare", bundles["layer"], "--json", "--html", page))
    pairs = zip(data["profile"]["layers"], data["other"]["layers"], strict=True)
    for ours, other in pairs:
        if ours["name"] != ENGINE:
            assert ours["cycles"] == pytest.approx(other["cycles"], rel=0.02)
    text = page.read_text()
    assert "estimate" in text
    assert text.count('class="other"') == len(data["profile"]["layers"])


def test_the_refill_of_the_pipeline_is_paid_by_jump(pooled: tuple[Bundle, Profile]) -> None:
    bundle, profile = pooled
    slower = profile_bundle(bundle, Timing(refill=3))
    assert slower.total.jumps == profile.total.jumps > 0
    assert slower.total.cycles == profile.total.cycles + profile.total.jumps


def test_json_has_stable_keys(bundles: dict[str, Path]) -> None:
    data = json.loads(rnnc("profile", bundles["stream"], "--on", "qemu", "--json"))
    assert data["estimate"] is True
    for part in (data["total"], *data["layers"], *data["kernels"]):
        assert {"instructions", "cycles", "cycles_per_mac", "peak", "flash_loads", "unaligned_loads"} <= part.keys()
        assert part["cycles"] <= part["cycles_with_art"] <= part["cycles_without_art"]
    assert {"name", "op", "kernel"} <= data["layers"][0].keys()


def test_text_calls_every_figure_an_estimate(bundles: dict[str, Path]) -> None:
    text = rnnc("profile", bundles["rows"])
    for word in ("an estimate", "cycles are estimates", "STM32F439 at 168 MHz, estimates", "Kernels", "total", ENGINE):
        assert word in text
    compared = rnnc("profile", bundles["rows"], "--compare", bundles["stream"])
    assert "first / second" in compared
    assert compared.count("an estimate") == 2


def test_layers_say_how_well_they_were_predicted(bundles: dict[str, Path]) -> None:
    data = json.loads(rnnc("profile", bundles["rows"], "--json"))
    report = read_bundle(bundles["rows"]).report
    assert [layer["predicted"] for layer in data["layers"]] == [*(op["cycles"] for op in report["ops"]), None]
    assert data["board_cycles"] is None


def test_without_a_board_it_says_so(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise openocd.flash_error("Error: open failed", load_board("stm32f439"))

    monkeypatch.setattr(board, "run_image", refuse)
    with pytest.raises(CompileError, match="no debug probe was found"):
        rnnc("profile", bundles["rows"], "--on", "board")


def test_what_a_board_counts_stands_beside_the_estimate(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = RunResult(b"", (1_000_000,), None, b"", 0, "")
    monkeypatch.setattr(board, "run_image", lambda *_: counted)
    text = rnnc("profile", bundles["rows"], "--on", "board")
    assert "on the board: 1,000,000 cycles, counted" in text
    assert json.loads(rnnc("profile", bundles["rows"], "--on", "board", "--json"))["board_cycles"] == 1_000_000
    with pytest.raises(CompileError, match="not a board that is connected by a probe"):
        rnnc("profile", bundles["rows"], "--on", "board", "--board", "host")


def test_a_function_can_be_annotated(bundles: dict[str, Path]) -> None:
    text = rnnc("profile", bundles["rows"], "--annotate", "rnnc_engine_step")
    assert "rnnc_engine_step: " in text
    assert "push" in text and "pop" in text  # public, so it is a function of its own whatever the compiler inlines
    assert "no instruction of 'nobody' ran" in rnnc("profile", bundles["rows"], "--annotate", "nobody")


def test_figures() -> None:
    figures = Figures(cycles=100, macs=50, flash_loads=4, data_misses=1, code_lines=3, code_misses=2)
    assert (figures.cycles_per_mac, figures.peak) == (2, 0.25)
    assert (figures.cycles_with_art, figures.cycles_without_art) == (115, 135)
    assert (figures + figures).cycles == 200
    assert Figures(cycles=1).cycles_per_mac is None
    assert np.isclose(Figures(cycles=1, macs=2).peak or 0, 1)
