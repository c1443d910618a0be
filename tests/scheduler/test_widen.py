"""Which operators get more flash, and what a compilation makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rnnc.compile import Compilation, Options, compile_model
from rnnc.ir.graph import Node
from rnnc.scheduler.widen import Widening, affordable, summary
from rnnc.zoo import build
from tests.small_models import MODELS


def of(node: Node, cycles: int, size: int) -> Widening:
    return Widening(node, node.op, cycles, size)  # type: ignore[arg-type]


@pytest.fixture
def nodes() -> list[Node]:
    return [Node(name, None, [], None) for name in "abc"]  # type: ignore[arg-type]


def test_the_best_for_a_byte_comes_first_while_there_is_room(nodes: list[Node]) -> None:
    found = [of(nodes[0], 90, 10), of(nodes[1], 80, 20), of(nodes[2], 30, 10)]
    assert affordable(found, 40) == found
    assert affordable(found, 25) == [found[0], found[2]]
    assert affordable(found, 9) == []


def test_a_node_has_one_and_the_better_one_if_it_fits(nodes: list[Node]) -> None:
    small, large, worse = of(nodes[0], 50, 5), of(nodes[0], 90, 20), of(nodes[0], 40, 20)
    assert affordable([small, large, worse], 20) == [large]
    assert affordable([small, large, worse], 19) == [small]


def test_what_does_not_fit_is_left_out(nodes: list[Node]) -> None:
    found = [of(nodes[0], 90, 10), of(nodes[1], 80, 20)]
    assert affordable(found, 99, lambda chosen: found[0] not in chosen) == [found[1]]


def test_the_summary_counts(nodes: list[Node]) -> None:
    assert summary([]).texts == ()
    two = summary([of(nodes[0], 1000, 10), of(nodes[1], 500, 5000)])
    assert two.texts == ("int16 weights in 2 layers: 5,010 bytes of flash more, about 1,500 cycles less",)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("resnet") / "model.onnx"
    path.write_bytes(build("resnet-8").SerializeToString())
    return path


def compiled(model: Path, out: Path, **options: Any) -> Compilation:
    return compile_model(Options(model, out, method="minmax", **options))


def test_speed_takes_the_flash_that_is_there(resnet: Path, tmp_path: Path) -> None:
    report = compiled(resnet, tmp_path / "out", optimize="speed").report
    kernels = {op["kernel"] for op in report["ops"]}
    assert "rnnc_conv_pairs_s8" in kernels
    assert report["widened"]["layers"] >= 4
    assert any(note["pass"] == "widen" for note in report["notes"])
    limit = report["flash"]["total"] - 30_000
    less = compiled(resnet, tmp_path / "out", optimize="speed", flash=limit).report
    assert less["flash"]["total"] <= limit
    assert 0 < less["widened"]["bytes"] < report["widened"]["bytes"]
    assert less["cycles"]["estimated"] > report["cycles"]["estimated"]


def test_balanced_takes_flash_that_is_offered_but_no_ram(resnet: Path, tmp_path: Path) -> None:
    before = compiled(resnet, tmp_path / "out").report
    assert before["widened"] == {"layers": 0, "bytes": 0, "cycles": 0}
    after = compiled(resnet, tmp_path / "out", flash=1 << 20).report
    assert after["ram"]["arena"] <= before["ram"]["arena"]
    assert after["cycles"]["estimated"] <= before["cycles"]["estimated"]


def test_hosts_have_nothing_to_gain(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(MODELS["classifier"]().SerializeToString())
    report = compiled(model, tmp_path / "out", optimize="speed", target="host").report
    assert report["widened"]["layers"] == 0
