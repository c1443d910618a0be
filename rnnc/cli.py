"""The rnnc command line: options in, messages and exit codes out; the work is done elsewhere."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from rnnc import present, present_profile
from rnnc.bundle import read_bundle
from rnnc.diagnostics import CompileError

# A file or a pipe has no width of its own; tables need some.
stdout = Console(width=None if sys.stdout.isatty() else 150)
stderr = Console(stderr=True)

MODEL = click.argument("model", type=click.Path(path_type=Path))
OUT = click.argument("out", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts instead of text.")


class Size(click.ParamType):  # type: ignore[type-arg]
    """A size in bytes: 65536, 64KiB, 1MiB, 48kB."""

    name = "SIZE"
    units: ClassVar[dict[str, int]] = {
        "": 1,
        "b": 1,
        "k": 1024,
        "kib": 1024,
        "kb": 1000,
        "m": 1 << 20,
        "mib": 1 << 20,
        "mb": 10**6,
    }

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).lower())
        if match is None or match.group(2) not in self.units:
            self.fail(f"{value!r} is not a size; write 65536, 64KiB or 1MiB", param, ctx)
        return int(float(match.group(1)) * self.units[match.group(2)])


class Fractions(click.ParamType):  # type: ignore[type-arg]
    """Fractions of weights to keep by kind: W=0.5,R=0.3."""

    name = "W=F,R=F"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        from rnnc.frontend.sparsify import parse_sparsity

        try:
            return parse_sparsity(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="rnnc")
def cli() -> None:
    """Compile ONNX networks, RNNPool included, to plain C for Arm Cortex-M4.

    \b
    rnnc zoo export rnnpool-vww -o vww.onnx
    rnnc compile vww.onnx -o vww --calibration samples.npz
    rnnc verify vww --on host,qemu
    rnnc build vww --board stm32f439
    """


@cli.command("compile")
@MODEL
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to write the C to.")
@click.option("--target", default="cortex-m4", show_default=True, help="What to compile for: cortex-m4 or host.")
@click.option("--name", help="Prefix of the generated functions  [default: from the file's name]")
@click.option("--calibration", type=click.Path(path_type=Path), help="Samples (.npz) to quantise a float model with.")
@click.option(
    "--calibration-method",
    type=click.Choice(["minmax", "percentile", "mse"]),
    default="mse",
    show_default=True,
    help="How ranges follow from the samples.",
)
@click.option("--ram", type=Size(), help="Most RAM the model may need, e.g. 64KiB.")
@click.option("--flash", type=Size(), help="Most flash the model may need, e.g. 1MiB.")
@click.option(
    "--schedule",
    type=click.Choice(["auto", "layer", "rows", "patches"]),
    default="auto",
    show_default=True,
    help="Order of execution.",
)
@click.option(
    "--input-mode",
    type=click.Choice(["buffer", "stream"]),
    default="buffer",
    show_default=True,
    help="Whole input in RAM, or pushed row by row.",
)
@click.option(
    "--output-mode",
    type=click.Choice(["buffer", "stream"]),
    default="buffer",
    show_default=True,
    help="Outputs held in RAM, or given away row by row.",
)
@click.option(
    "--optimize",
    type=click.Choice(["balanced", "ram", "speed"]),
    default="balanced",
    show_default=True,
    help="Least RAM without computing anything twice, least RAM at any price, or fewest cycles. "
    "With --ram, balanced is the fastest that fits.",
)
@click.option(
    "--arithmetic",
    type=click.Choice(["fast", "tflite"]),
    default="fast",
    show_default=True,
    help="One rounding, or TensorFlow Lite's bytes.",
)
@click.option(
    "--sparsity",
    type=Fractions(),
    help="Keep only these fractions of RNNPool's weights, the largest, e.g. W=0.5,R=0.3.",
)
@click.option("--dump-after", metavar="PASS", help="Print the graph as that pass leaves it.")
@JSON
def compile_command(model: Path, out: Path, dump_after: str | None, as_json: bool, **options: Any) -> None:
    """Compile MODEL.onnx to a folder of C.

    \b
    rnnc compile kws.onnx -o kws --calibration samples.npz --ram 32KiB
    """
    from rnnc.compile import Options, compile_model

    settings = Options(model, out, dump_after=dump_after, method=options.pop("calibration_method"), **options)
    with _progress() as bar:
        task = bar.add_task("", total=1)
        result = compile_model(
            settings,
            lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
        )
    for warning in result.warnings:
        stderr.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    if result.dump is not None:
        click.echo(result.dump, nl=False)
    if as_json:
        click.echo(json.dumps(result.report, indent=2))
    elif result.dump is None:
        present.summary(stdout, result.report, out)


@cli.command()
@MODEL
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write every plan's C to: 0, 1, ...")
@click.option("--target", default="cortex-m4", show_default=True, help="What to compile for: cortex-m4 or host.")
@click.option("--name", help="Prefix of the generated functions  [default: from the file's name]")
@click.option("--calibration", type=click.Path(path_type=Path), help="Samples (.npz) to quantise a float model with.")
@click.option("--input-mode", type=click.Choice(["buffer", "stream"]), default="buffer", show_default=True)
@click.option("--output-mode", type=click.Choice(["buffer", "stream"]), default="buffer", show_default=True)
@click.option("--arithmetic", type=click.Choice(["fast", "tflite"]), default="fast", show_default=True)
@JSON
def explore(model: Path, out: Path | None, as_json: bool, **options: Any) -> None:
    """List what RAM costs in MACs: the plans of MODEL.onnx that no other beats in both.

    \b
    rnnc explore face.onnx --input-mode stream -o plans
    """
    from rnnc.compile import NOWHERE, Compilation, Options, explore_model

    result = Compilation()
    with _progress() as bar:
        task = bar.add_task("", total=1)
        points = list(
            explore_model(
                Options(model, out or NOWHERE, **options),
                result,
                lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
            )
        )
    for warning in result.warnings:
        stderr.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    present.front(stdout, [(point.report, point.folder) for point in points], as_json)


@cli.command()
@OUT
@JSON
def report(out: Path, as_json: bool) -> None:
    """Show the memory schedule of a compiled model: peak, timeline, operators, flash.

    \b
    rnnc report kws
    """
    bundle = read_bundle(out)
    if as_json:
        click.echo(json.dumps(bundle.report, indent=2))
    else:
        present.report(stdout, bundle.report)


@cli.command()
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


@cli.command()
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
    with _progress() as bar:
        task = bar.add_task("", total=None)
        verdicts = verify_bundle(bundle, chosen, runs, lambda text: bar.update(task, description=text))
    present.verdicts(stdout, verdicts, as_json)
    if any(verdict.difference for verdict in verdicts):
        raise SystemExit(1)


@cli.command()
@OUT
@click.option("--on", "place", type=click.Choice(["qemu"]), default="qemu", show_default=True, help="Where to run.")
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
    out: Path, place: str, other: Path | None, html: Path | None, annotate: str | None, refill: int, as_json: bool
) -> None:
    """Estimate the cycles of one inference on a Cortex-M4, layer by layer, without a board.

    \b
    rnnc profile kws --on qemu
    rnnc profile kws --compare kws-before --html kws.html
    """
    from rnnc.arrays import write_file
    from rnnc.profiler.page import page
    from rnnc.profiler.profile import profile_bundle
    from rnnc.profiler.timing import Timing

    bundles = [read_bundle(path) for path in (out, other) if path is not None]
    with _progress() as bar:
        task = bar.add_task("", total=len(bundles))
        profiles = []
        for bundle in bundles:
            bar.update(task, description=f"{place}: {bundle.name}")
            profiles.append(profile_bundle(bundle, Timing(refill=refill)))
            bar.advance(task)
    if html is not None:
        write_file(html, page(*profiles).encode())
    if annotate is not None:
        present_profile.annotation(stdout, profiles[0], annotate)
    elif other is not None:
        present_profile.comparison(stdout, profiles[0], profiles[1], as_json)
    else:
        present_profile.profile(stdout, profiles[0], as_json)


@cli.command()
@OUT
@click.option("--board", "board_name", default="stm32f439", show_default=True, help="The board (a folder of boards/).")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder for the image  [default: OUT/build/BOARD]"
)
@click.option("--portable", is_flag=True, help="Portable C only: no DSP kernels, no CMSIS-DSP.")
@JSON
def build(out: Path, board_name: str, output: Path | None, portable: bool, as_json: bool) -> None:
    """Build the firmware of a compiled model for a board.

    \b
    rnnc build kws --board stm32f439
    """
    from rnnc.target import load_board
    from rnnc.toolchain.cc import build as build_image
    from rnnc.toolchain.cmsis import locate

    bundle, board = read_bundle(out), load_board(board_name)
    folder = output or out / "build" / board.name
    image = build_image(bundle.folder, board, folder, portable=portable, cmsis=None if portable else locate())
    present.image(stdout, image, board, as_json)


@cli.command()
@OUT
@click.option("--board", "board_name", default="stm32f439", show_default=True, help="The board (a folder of boards/).")
def flash(out: Path, board_name: str) -> None:
    """Build the firmware, program a connected board with OpenOCD, verify and reset it.

    \b
    rnnc flash kws --board stm32f439
    """
    from rnnc.target import load_board
    from rnnc.toolchain.cc import build as build_image
    from rnnc.toolchain.cmsis import locate
    from rnnc.toolchain.openocd import flash as flash_image

    bundle, board = read_bundle(out), load_board(board_name)
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder:
        image = build_image(bundle.folder, board, Path(folder) / "build", cmsis=locate())
        flash_image(image.elf, board)
    stdout.print(f"{bundle.name} runs on {board.name}")


@cli.group()
def zoo() -> None:
    """Networks to try: those of the RNNPool paper and the MLPerf Tiny shapes.

    \b
    rnnc zoo list
    rnnc zoo export rnnpool-face-m4 -o face.onnx
    """


@zoo.command("list")
@JSON
def zoo_list(as_json: bool) -> None:
    """List the networks.

    \b
    rnnc zoo list
    """
    from rnnc.zoo import ZOO

    present.zoo(stdout, ZOO, as_json)


@zoo.command("export")
@click.argument("name")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The ONNX file to write.")
def zoo_export(name: str, output: Path) -> None:
    """Write a network as an ONNX file.

    \b
    rnnc zoo export ds-cnn -o ds-cnn.onnx
    """
    from rnnc.arrays import write_file
    from rnnc.zoo import build as build_network

    write_file(output, build_network(name).SerializeToString())
    stdout.print(f"{name}: wrote {output}", highlight=False)


@cli.command()
@JSON
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing and how to get it.

    \b
    rnnc doctor
    """
    from rnnc.toolchain.doctor import checks

    found = checks()
    present.doctor(stdout, found, as_json)
    if not all(check.found for check in found):
        raise SystemExit(1)


def _progress() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)


def main() -> None:
    """The console script: every mistake of a user ends in one message and exit code 1 or 2."""
    try:
        cli(standalone_mode=False)
    except CompileError as error:
        stderr.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        stderr.print("stopped")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
