"""Measures networks on the emulated Cortex-M4 and prints the table of docs/benchmarks.md; cycles are estimates.

usage: python scripts/benchmark.py [--into docs/benchmarks.md] [NETWORK or FILE.onnx ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnc.bundle import read_bundle
from rnnc.compile import Options, compile_model
from rnnc.diagnostics import BudgetError
from rnnc.profiler.profile import Figures, profile_bundle
from rnnc.scheduler.auto import Mode
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

HEAD = """| network | schedule | RAM | arena | stack | flash | code | MACs | instructions | cycles | per MAC | before |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
"""
CYCLES = 9
"""The column of estimated cycles."""


@dataclass(frozen=True)
class Row:
    """One network in one schedule; ``fits`` tells whether the target's memory was enough."""

    network: str
    schedule: Mode
    fits: bool
    report: dict[str, Any]
    figures: Figures

    def markdown(self, before: str) -> str:
        """A line of the table; sizes in bytes. ``before`` are the cycles that the page had until now."""
        ram, flash, macs = self.report["ram"], self.report["flash"], self.report["macs"]
        figures = [
            f"{ram['total']:,}{'' if self.fits else ' *'}",
            f"{ram['arena']:,}",
            f"{ram['stack']:,}",
            f"{flash['total']:,}",
            f"{flash['code']:,}",
            f"{macs['executed']:,}",
            f"{self.figures.instructions:,}",
            f"{self.figures.cycles:,}",
            f"{self.figures.cycles / macs['executed']:.2f}",
            before,
        ]
        return f"| {self.network} | {self.schedule} | {' | '.join(figures)} |\n"


def measure(network: str, schedule: Mode, folder: Path) -> Row:
    """Compile and profile a network of the zoo, or an ONNX file.

    A network that does not fit the target is compiled for a target without limits, to say what it would need.
    """
    model = Path(network)
    if model.suffix != ".onnx":
        model = folder / f"{network}.onnx"
        model.write_bytes(build_network(network).SerializeToString())
    bundle = folder / f"{model.stem}-{schedule}"
    fits = True
    try:
        report = compile_model(Options(model, bundle, TARGET, "bench", schedule=schedule)).report
    except BudgetError:
        fits = False
        report = compile_model(Options(model, bundle, ROOMY, "bench", schedule=schedule)).report
    return Row(model.stem, schedule, fits, report, profile_bundle(read_bundle(bundle)).total)


def measured(networks: Iterable[str]) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder:
        for network in networks:
            for schedule in SCHEDULES:
                print(f"{network}, {schedule}", file=sys.stderr)
                yield measure(network, schedule, Path(folder))


def old_cycles(page: str) -> dict[tuple[str, str], str]:
    """The cycles that a page shows, by network and schedule."""
    table = page.partition(BEGIN)[2].partition(END)[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()[2:]]
    return {(row[0], row[1]): row[CYCLES] for row in rows if len(row) > CYCLES}


def replace_table(page: str, table: str) -> str:
    """The page with another table between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit("the page lacks the marks around the table")
    return f"{before}{BEGIN}{table}{END}{after}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure networks on the emulated Cortex-M4.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="of the zoo, or FILE.onnx (default: the page's)")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="put the table into this page, too")
    chosen = parser.parse_args(arguments)
    before = old_cycles(chosen.into.read_text(encoding="utf-8")) if chosen.into else {}
    rows = measured(chosen.networks or NETWORKS)
    table = HEAD + "".join(row.markdown(before.get((row.network, row.schedule), "")) for row in rows)
    print(table, end="")
    if chosen.into is not None:
        chosen.into.write_text(replace_table(chosen.into.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
