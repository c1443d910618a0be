"""Measures networks of the zoo on the emulated Cortex-M4 and prints the table of docs/benchmarks.md.

usage: python scripts/benchmark.py [--into docs/benchmarks.md] [NETWORK ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnc.compile import Options, compile_model
from rnnc.diagnostics import BudgetError
from rnnc.scheduler.auto import Mode
from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.toolchain.cmsis import locate
from rnnc.toolchain.run import run_image
from rnnc.zoo import build as build_network

NETWORKS = (
    "ds-cnn",
    "resnet-8",
    "mobilenetv1-0.25-96",
    "mobilenetv2-0.35-96",
    "mobilenetv2-0.35-144",
    "rnnpool-vww",
    "rnnpool-face-m4",
)
SCHEDULES: tuple[Mode, ...] = ("layer", "auto")
TARGET, ROOMY = "cortex-m4", "host"
BEGIN, END = "<!-- benchmark table -->\n", "<!-- end of the table -->\n"

HEAD = """| network | schedule | RAM | arena | stack | flash | MACs nominal | executed | instructions | per MAC |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|
"""


@dataclass(frozen=True)
class Row:
    """One network in one schedule; ``fits`` tells whether the target's memory was enough."""

    network: str
    schedule: Mode
    fits: bool
    report: dict[str, Any]
    instructions: int

    def markdown(self) -> str:
        """A line of the table; sizes in bytes."""
        ram, macs = self.report["ram"], self.report["macs"]
        figures = [
            f"{ram['total']:,}{'' if self.fits else ' *'}",
            f"{ram['arena']:,}",
            f"{ram['stack']:,}",
            f"{self.report['flash']['total']:,}",
            f"{macs['nominal']:,}",
            f"{macs['executed']:,}",
            f"{self.instructions:,}",
            f"{self.instructions / macs['executed']:.2f}",
        ]
        return f"| {self.network} | {self.schedule} | {' | '.join(figures)} |\n"


def measure(network: str, schedule: Mode, folder: Path) -> Row:
    """Compile, build for the emulated board and run the built-in input once.

    A network that does not fit the target is compiled for a target without limits, to say what it would need.
    """
    model = folder / f"{network}.onnx"
    model.write_bytes(build_network(network).SerializeToString())
    bundle = folder / f"{network}-{schedule}"
    fits = True
    try:
        report = compile_model(Options(model, bundle, TARGET, "bench", schedule=schedule)).report
    except BudgetError:
        fits = False
        report = compile_model(Options(model, bundle, ROOMY, "bench", schedule=schedule)).report
    board = load_board("qemu-mps2-an386")
    result = run_image(build(bundle, board, bundle / "build", cmsis=locate()), board, None)
    return Row(network, schedule, fits, report, result.cycles[0])


def measured(networks: Iterable[str]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder:
        for network in networks:
            for schedule in SCHEDULES:
                print(f"{network}, {schedule}", file=sys.stderr)
                yield measure(network, schedule, Path(folder))


def replace_table(page: str, table: str) -> str:
    """The page with another table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit("the page lacks the marks around the table")
    return f"{before}{BEGIN}{table}{END}{after}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure networks of the zoo on the emulated Cortex-M4.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="names of the zoo (default: those of the page)")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="put the table into this page, too")
    chosen = parser.parse_args(arguments)
    table = HEAD + "".join(row.markdown() for row in measured(chosen.networks or NETWORKS))
    print(table, end="")
    if chosen.into is not None:
        chosen.into.write_text(replace_table(chosen.into.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
