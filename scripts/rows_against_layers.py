"""What running row by row costs in time: the same operators and kernels, layer by layer and in rows.

usage: python scripts/rows_against_layers.py [NETWORK or FILE.onnx ...]

Cycles are estimates for an emulated Cortex-M4. Exits with 1 if rows take more than LIMIT times the cycles of layers.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rnnc.bundle import read_bundle
from rnnc.compile import Options, compile_model
from rnnc.profiler.profile import profile_bundle
from rnnc.scheduler.auto import Mode
from rnnc.zoo import build as build_network

NETWORKS = ("ds-cnn", "resnet-8", "mobilenetv1-0.25-96", "mobilenetv2-0.35-96", "rnnpool-vww")
LIMIT = 1.15
HEAD = """| network | MACs | cycles, layers | cycles, rows | rows / layers |
|---|--:|--:|--:|--:|
"""


def cycles(model: Path, schedule: Mode, folder: Path) -> tuple[int, int]:
    """Executed MACs and estimated cycles of one inference; `speed` leaves the operators as they are in both."""
    options = Options(model, folder / schedule, "host", "bench", schedule=schedule, optimize="speed")
    report = compile_model(options).report
    return report["macs"]["executed"], profile_bundle(read_bundle(options.out)).total.cycles


def measure(network: str) -> float:
    """Print the line of a network; how many times the cycles of layers its rows take."""
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        folder, model = Path(name), Path(network)
        if model.suffix != ".onnx":
            model = folder / f"{network}.onnx"
            model.write_bytes(build_network(network).SerializeToString())
        (macs, layers), (same, rows) = (cycles(model, schedule, folder) for schedule in ("layer", "rows"))
    if macs != same:
        raise SystemExit(f"{network}: {macs:,} MACs in layers, {same:,} in rows")
    print(f"| {model.stem} | {macs:,} | {layers:,} | {rows:,} | {rows / layers:.3f} |", flush=True)
    return rows / layers


def main(networks: Sequence[str]) -> None:
    print(HEAD, end="")
    if max(measure(network) for network in networks or NETWORKS) > LIMIT:
        raise SystemExit(f"rows take more than {LIMIT} times the cycles of layers")


if __name__ == "__main__":
    main(sys.argv[1:])
