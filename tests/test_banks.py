"""Models too large for one bank: variants of operators, scratch and states over two banks, linked and run."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from rnnc.bundle import Bundle
from rnnc.codegen.lower import lower
from rnnc.codegen.render import render, runtime_files
from rnnc.compile import Compilation, Options, integer_graph
from rnnc.execute import execute
from rnnc.frontend.load import load_model
from rnnc.ir.graph import Graph
from rnnc.scheduler.choose import Optimize, Scheduled, Wish, choose
from rnnc.scheduler.plan import InputMode
from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.verification import test_inputs as inputs_for
from rnnc.zoo import build as zoo_model
from tests.scheduler.builders import ROOMY, target

INPUT_MODES: tuple[InputMode, ...] = get_args(InputMode)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """RNNPool and inverted bottlenecks."""
    path = tmp_path_factory.mktemp("banks") / "vww.onnx"
    path.write_bytes(zoo_model("rnnpool-vww").SerializeToString())
    return integer_graph(load_model(path), Options(path, path), Compilation(), lambda *_: None)


def over_two_banks(graph: Graph, input_mode: InputMode, optimize: Optimize) -> Scheduled:
    """With three quarters of what it needs alone in each bank, or the frame where that is more."""
    alone = next(choose(graph, Wish(ROOMY, "auto", input_mode, "stream", optimize))).plan
    frame = graph.inputs[0].value.type.bytes if input_mode == "buffer" else 0
    size = max(alone.arena * 3 // 4, frame) // 8 * 8
    assert size < alone.arena
    return next(choose(graph, Wish(target(size, size), "auto", input_mode, "stream", optimize)))


def written(scheduled: Scheduled, folder: Path) -> Bundle:
    program = lower(scheduled.graph, scheduled.plan, "net")
    for name, text in {**render(program), **runtime_files(program)}.items():
        (folder / name).write_text(text)
    return Bundle(folder, scheduled.graph, scheduled.plan, {"model": "net"})


@pytest.mark.parametrize("optimize", ["balanced", "ram"])
@pytest.mark.parametrize("input_mode", INPUT_MODES)
def test_a_plan_over_two_banks_runs(graph: Graph, input_mode: InputMode, optimize: Optimize, tmp_path: Path) -> None:
    scheduled = over_two_banks(graph, input_mode, optimize)
    plan = scheduled.plan
    assert min(plan.bank_sizes) > 0
    if input_mode != "buffer":  # the frame is what sets that peak
        assert len(scheduled.graph.nodes) < len(graph.nodes), "nothing is fused"
    inputs = [buffer for buffer in plan.buffers if buffer.kind == "input"]
    assert all(buffer.bank == 0 for buffer in inputs), "peripherals cannot write to the second bank"
    assert bool(inputs) == (input_mode != "lent")
    bundle = written(scheduled, tmp_path)
    data = inputs_for(bundle, 2)
    expected = execute(bundle, data, "python").outputs
    for place in ("host", "qemu"):
        outputs = execute(bundle, data, place).outputs
        for name, array in expected.items():
            np.testing.assert_array_equal(outputs[name], array, err_msg=f"{place}, {name}")


def test_the_second_bank_of_a_plan_is_ccm_on_the_board(graph: Graph, tmp_path: Path) -> None:
    scheduled = over_two_banks(graph, "stream", "balanced")
    bundle = written(scheduled, tmp_path)
    image = build(bundle.folder, load_board("stm32f439"), tmp_path / "build")
    sections = {section.name: section for section in image.sections}
    first, second = scheduled.plan.bank_sizes
    assert sections[".arena"].size >= first
    assert sections[".arena1"].size >= second
    assert sections[".arena1"].address >> 16 == 0x1000
