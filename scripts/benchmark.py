"""Measures networks on the emulated Cortex-M4 and prints the tables of docs/benchmarks.md; cycles are estimates.

usage: python scripts/benchmark.py [--into docs/benchmarks.md] [--schedules speed,ram] [NETWORK or FILE.onnx ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rnnc.bundle import read_bundle
from rnnc.compile import Options, compile_model
from rnnc.diagnostics import BudgetError
from rnnc.profiler.profile import Figures, Profile, profile_bundle
from rnnc.scheduler.choose import Optimize
from rnnc.toolchain.cmsis import locate
from rnnc.zoo import build as build_network

SPARSE = " sparse"
"""Ends the name of a network whose RNNPool matrices keep the paper's part of their weights."""
SPARSITY = {"W": 0.5, "R": 0.3}

NETWORKS = (
    "ds-cnn",
    "resnet-8",
    "mobilenetv1-0.25-96",
    "mobilenetv2-0.35-96",
    "mobilenetv2-0.35-144",
    "rnnpool-vww",
    "rnnpool-face-m4",
    "rnnpool-face-m4" + SPARSE,
)
SCHEDULES: tuple[Optimize, ...] = ("speed", "balanced", "ram")
TARGET, ROOMY = "cortex-m4", "host"
WORKERS = 2

RNNPOOL = "rnnpool_int"
LIBRARY = "-DRNNC_RNNPOOL_LIBRARY=1"
"""Matrix products by CMSIS-DSP's functions."""


@dataclass(frozen=True)
class Row:
    """One network in one schedule; ``fits`` tells whether the target's memory was enough, ``library`` is the profile
    with CMSIS-DSP's matrix products, of networks that have any."""

    network: str
    schedule: Optimize
    fits: bool
    report: dict[str, Any]
    profile: Profile
    library: Profile | None

    @property
    def total(self) -> Figures:
        return self.profile.total

    @property
    def rnnpool(self) -> tuple[int, int | None]:
        """Cycles of the RNNPool layers, and what they are with the library."""
        ours, theirs = (
            sum(layer.figures.cycles for layer in profile.layers if layer.op == RNNPOOL) if profile else None
            for profile in (self.profile, self.library)
        )
        return ours or 0, theirs


Column = tuple[str, Callable[[Row], str]]

COLUMNS: tuple[Column, ...] = (
    ("RAM", lambda row: f"{row.report['ram']['total']:,}{'' if row.fits else ' *'}"),
    ("arena", lambda row: f"{row.report['ram']['arena']:,}"),
    ("stack", lambda row: f"{row.report['ram']['stack']:,}"),
    ("flash", lambda row: f"{row.report['flash']['total']:,}"),
    ("code", lambda row: f"{row.report['flash']['code']:,}"),
    ("MACs", lambda row: f"{row.report['macs']['executed']:,}"),
    ("cycles", lambda row: f"{row.total.cycles:,}"),
    ("per MAC", lambda row: f"{row.total.cycles / row.report['macs']['executed']:.2f}"),
    ("predicted", lambda row: f"{100 * (row.report['cycles']['estimated'] / row.total.cycles - 1):+.1f} %"),
)
COMPARED = ("RAM", "flash", "cycles")
"""Columns that have a neighbour with what the page said before."""

KERNELS: tuple[Column, ...] = (
    ("fused", lambda row: f"{row.rnnpool[0]:,}"),
    ("CMSIS-DSP", lambda row: f"{row.rnnpool[1]:,}"),
    ("times", lambda row: f"{(row.rnnpool[1] or 0) / row.rnnpool[0]:.2f}"),
)

Old = Mapping[tuple[str, str], Mapping[str, str]]
"""What a page said: by network and schedule, by column."""


@dataclass(frozen=True)
class Table:
    """A table of the page, between two marks; the columns in ``compared`` stand beside what they were."""

    mark: str
    columns: tuple[Column, ...]
    compared: tuple[str, ...]

    @property
    def ends(self) -> tuple[str, str]:
        return f"<!-- {self.mark} -->\n", f"<!-- end of {self.mark} -->\n"

    def old(self, page: str) -> Old:
        """The figures that a page shows; a column "before" belongs to the one at its left."""
        lines = page.partition(self.ends[0])[2].partition(self.ends[1])[0].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return {(row[0], row[1]): dict(zip(rows[0], row, strict=False)) for row in rows[2:]}

    def text(self, rows: Iterable[Row], old: Old) -> str:
        names = [title for name, _ in self.columns for title in (name, "before")[: 1 + (name in self.compared)]]
        lines = [f"| network | schedule | {' | '.join(names)} |", f"|---|---|{'--:|' * len(names)}"]
        for row in rows:
            before = old.get((row.network, row.schedule), {})
            cells = []
            for name, cell in self.columns:
                cells += [cell(row)] + ([before.get(name, "")] if name in self.compared else [])
            lines.append(f"| {row.network} | {row.schedule} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def replaced(self, page: str, table: str) -> str:
        """The page with another table between the marks."""
        begin, end = self.ends
        before, _, rest = page.partition(begin)
        _, mark, after = rest.partition(end)
        if not mark:
            raise SystemExit(f"the page lacks the lines {begin.strip()} and {end.strip()}")
        return f"{before}{begin}{table}{end}{after}"


NETWORK_TABLE = Table("benchmark table", COLUMNS, COMPARED)
KERNEL_TABLE = Table("RNNPool table", KERNELS, ())


def measure(network: str, schedule: Optimize) -> Row:
    """Compile and profile a network of the zoo, or an ONNX file.

    A network that does not fit the target is compiled for a target without limits, to say what it would need.
    """
    print(f"{network}, {schedule}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        model, bundle = Path(network), Path(name) / "bundle"
        sparsity = SPARSITY if network.endswith(SPARSE) else None
        if model.suffix != ".onnx":
            model = Path(name) / "model.onnx"
            model.write_bytes(build_network(network.removesuffix(SPARSE)).SerializeToString())
        options = {"name": "bench", "optimize": schedule, "sparsity": sparsity, "method": "minmax"}
        try:
            report = compile_model(Options(model, bundle, TARGET, **options)).report  # type: ignore[arg-type]
            fits = True
        except BudgetError:
            report = compile_model(Options(model, bundle, ROOMY, **options)).report  # type: ignore[arg-type]
            fits = False
        compiled = read_bundle(bundle)
        has_rnnpool = any(op["op"] == RNNPOOL for op in report["ops"]) and locate() is not None
        library = profile_bundle(compiled, flags=(LIBRARY,)) if has_rnnpool else None
        label = model.stem if network.endswith(".onnx") else network
        return Row(label, schedule, fits, report, profile_bundle(compiled), library)


def measured(networks: Sequence[str], schedules: Sequence[Optimize]) -> Iterator[Row]:
    """All networks in all schedules, in order."""
    pairs = [(network, schedule) for network in networks for schedule in schedules]
    with ProcessPoolExecutor(WORKERS) as pool:
        yield from pool.map(measure, *zip(*pairs, strict=True))


def schedules_of(text: str) -> tuple[Optimize, ...]:
    chosen: tuple[Any, ...] = tuple(text.split(","))
    if unknown := set(chosen) - set(get_args(Optimize)):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(get_args(Optimize))}")
    return chosen


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure networks on the emulated Cortex-M4.")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="of the zoo, or FILE.onnx (default: the page's)")
    parser.add_argument("--schedules", type=schedules_of, default=SCHEDULES, help="speed, balanced, ram, by commas")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="put the tables into this page, too")
    chosen = parser.parse_args(arguments)
    page = chosen.into.read_text(encoding="utf-8") if chosen.into else ""
    rows = list(measured(chosen.networks or NETWORKS, chosen.schedules))
    for table, shown in ((NETWORK_TABLE, rows), (KERNEL_TABLE, [row for row in rows if row.library])):
        text = table.text(shown, table.old(page))
        print(text)
        page = table.replaced(page, text) if chosen.into else page
    if chosen.into is not None:
        chosen.into.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
