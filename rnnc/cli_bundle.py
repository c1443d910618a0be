"""The commands for a compiled model: report, run, verify and profile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rnnc import present, present_profile
from rnnc.bundle import read_bundle
from rnnc.cli_options import JSON, OUT, progress, stdout


@click.command()
@OUT
@click.option("--html", type=click.Path(path_type=Path), help="Also draw it to this file; OUT/report.html is the same.")
@JSON
def report(out: Path, html: Path | None, as_json: bool) -> None:
    """Show the memory schedule of a compiled model: peak, timeline, operators, flash.

    \b
    rnnc report kws --html kws.html
    """
    from rnnc.arrays import write_file
    from rnnc.pages.report import report_page

    bundle = read_bundle(out)
    if html is not None:
        write_file(html, report_page(bundle.report, bundle.graph, bundle.plan).encode())
    if as_json:
        click.echo(json.dumps(bundle.report, indent=2))
    else:
        present.report(stdout, bundle.report)


@click.command()
@OUT
@click.option(
    "--input",
    "source",
    required=True,
    type=click.Path(path_type=Path),
    help="Array (.npy), or arrays by input name (.npz), in the model's own layout; a longer first axis is a batch.",
)
@click.option(
    "--on",
    "place",
    type=click.Choice(["python", "host", "qemu"]),
    default="python",
    show_default=True,
    help="Where to run.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the outputs here (.npy or .npz).")
@click.option("--raw", is_flag=True, help="Integers as the C returns them, instead of float outputs.")
@JSON
def run(out: Path, source: Path, place: Any, output: Path | None, raw: bool, as_json: bool) -> None:
    """Run a compiled model on an input.

    \b
    rnnc run kws --input x.npy --on qemu -o y.npy
    """
    from rnnc.arrays import check_output_name, read_arrays, write_arrays
    from rnnc.execute import device_inputs, execute, model_outputs

    bundle = read_bundle(out)
    names = [port.name for port in bundle.graph.outputs]
    if output is not None:
        check_output_name(output, names)
    inputs = device_inputs(bundle, read_arrays(source, [port.name for port in bundle.graph.inputs]))
    result = execute(bundle, inputs, place)
    outputs = model_outputs(bundle, result.outputs, raw)
    if output is not None:
        write_arrays(output, outputs)
    present.run_result(stdout, outputs, result.cycles, place, as_json)


@click.command()
@OUT
@click.option("--on", "places", default="host,qemu", show_default=True, help="Where to run the C: host, qemu or both.")
@click.option(
    "-n",
    "--runs",
    default=10,
    show_default=True,
    type=click.IntRange(1, 10000),
    help="How many inputs to try.",
)
@JSON
def verify(out: Path, places: str, runs: int, as_json: bool) -> None:
    """Prove on examples that the C computes what Python does, bit for bit.

    \b
    rnnc verify kws --on host,qemu -n 10
    """
    from rnnc.verification import verify_bundle

    chosen: list[Any] = [place.strip() for place in places.split(",")]
    if unknown := [place for place in chosen if place not in ("host", "qemu")]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of host, qemu", param_hint="--on")
    bundle = read_bundle(out)
    with progress() as bar:
        task = bar.add_task("", total=None)
        verdicts = verify_bundle(bundle, chosen, runs, lambda text: bar.update(task, description=text))
    present.verdicts(stdout, verdicts, as_json)
    if any(verdict.difference for verdict in verdicts):
        raise SystemExit(1)


@click.command()
@OUT
@click.option(
    "--on",
    "place",
    type=click.Choice(["qemu", "board"]),
    default="qemu",
    show_default=True,
    help="Where to run; a connected board counts the cycles of an inference, which are set beside the estimate.",
)
@click.option("--board", "board_name", default="stm32f439", show_default=True, help="The board (a folder of boards/).")
@click.option("--compare", "other", type=click.Path(path_type=Path), help="Another compiled model to set beside it.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write bars by layer to this file.")
@click.option("--annotate", metavar="FUNCTION", help="Print the instructions of a C function with their cycles.")
@click.option(
    "--refill",
    default=2,
    show_default=True,
    type=click.IntRange(1, 3),
    help="Cycles to refill the pipeline after a taken branch.",
)
@JSON
def profile(
    out: Path,
    place: str,
    board_name: str,
    other: Path | None,
    html: Path | None,
    annotate: str | None,
    refill: int,
    as_json: bool,
) -> None:
    """Estimate the cycles of one inference on a Cortex-M4, layer by layer, without a board or beside what one counts.

    \b
    rnnc profile kws --on qemu
    rnnc profile kws --compare kws-before --html kws.html
    """
    from rnnc.arrays import write_file
    from rnnc.profiler.board import measure
    from rnnc.profiler.page import page
    from rnnc.profiler.profile import profile_bundle
    from rnnc.profiler.timing import Timing
    from rnnc.target import load_board

    bundles = [read_bundle(path) for path in (out, other) if path is not None]
    with progress() as bar:
        task = bar.add_task(board_name if place == "board" else "", total=len(bundles))
        counted = [measure(bundle, load_board(board_name)) for bundle in bundles if place == "board"]
        profiles = []
        for bundle in bundles:
            bar.update(task, description=f"qemu: {bundle.name}")
            profiles.append(profile_bundle(bundle, Timing(refill=refill)))
            bar.advance(task)
    if html is not None:
        write_file(html, page(*profiles).encode())
    if annotate is not None:
        present_profile.annotation(stdout, profiles[0], annotate)
    elif other is not None:
        present_profile.comparison(stdout, profiles[0], profiles[1], as_json, counted)
    else:
        present_profile.profile(stdout, profiles[0], as_json, counted)
