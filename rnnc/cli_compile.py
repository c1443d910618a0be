"""rnnc compile and rnnc explore."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any

import click
from click.core import ParameterSource

from rnnc import present
from rnnc.cli_options import JSON, MODEL, Fractions, Size, progress, stdout, warn


@click.command("compile")
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
@click.option(
    "--flash", type=Size(), help="Most flash the model may need, e.g. 1MiB; what is left of it goes into faster forms."
)
@click.option(
    "--schedule",
    type=click.Choice(["auto", "layer", "rows", "patches"]),
    default="auto",
    show_default=True,
    help="Order of execution.",
)
@click.option(
    "--input-mode",
    type=click.Choice(["buffer", "stream", "lent"]),
    default="buffer",
    show_default=True,
    help="Whole input in the arena, pushed row by row, or read from a frame of the caller's.",
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
    help="Least RAM without computing anything twice, within 1 % for speed; least RAM at any price; or fewest cycles. "
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
    with progress() as bar:
        task = bar.add_task("", total=1)
        result = compile_model(
            settings,
            lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
        )
    warn(result.warnings)
    if result.dump is not None:
        click.echo(result.dump, nl=False)
    if as_json:
        click.echo(json.dumps(result.report, indent=2))
    elif result.dump is None:
        present.summary(stdout, result.report, out)


@click.command()
@MODEL
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write every plan's C to: 0, 1, ...")
@click.option("--target", default="cortex-m4", show_default=True, help="What to compile for: cortex-m4 or host.")
@click.option("--name", help="Prefix of the generated functions  [default: from the file's name]")
@click.option("--calibration", type=click.Path(path_type=Path), help="Samples (.npz) to quantise a float model with.")
@click.option("--input-mode", type=click.Choice(["buffer", "stream", "lent"]), default="buffer", show_default=True)
@click.option("--output-mode", type=click.Choice(["buffer", "stream"]), default="buffer", show_default=True)
@click.option("--arithmetic", type=click.Choice(["fast", "tflite"]), default="fast", show_default=True)
@click.option("--html", type=click.Path(path_type=Path), help="Also draw them to this file.")
@JSON
def explore(model: Path, out: Path | None, html: Path | None, as_json: bool, **options: Any) -> None:
    """List what RAM costs in MACs: the plans of MODEL.onnx that no other beats in both, and how to compile each.

    \b
    rnnc explore face.onnx --input-mode stream --html face.html
    """
    from rnnc.arrays import write_file
    from rnnc.compile import NOWHERE, Compilation, Options, explore_model
    from rnnc.pages.front import front_page

    result = Compilation()
    with progress() as bar:
        task = bar.add_task("", total=1)
        points = list(
            explore_model(
                Options(model, out or NOWHERE, **options),
                result,
                lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
            )
        )
    warn(result.warnings)
    given = _given(click.get_current_context())
    commands = [
        f"rnnc compile {quote(str(model))} -o OUT{given} --ram {point.report['ram']['total']}" for point in points
    ]
    if html is not None:
        write_file(
            html, front_page(model.stem, [(p.report, c) for p, c in zip(points, commands, strict=True)]).encode()
        )
    present.front(stdout, [(p.report, p.folder, c) for p, c in zip(points, commands, strict=True)], as_json)


def _given(context: click.Context) -> str:
    """The options that were given and are those of compile, too, as text."""
    shared = {option.name for option in compile_command.params} - {"model", "out", "as_json"}
    return "".join(
        f" {option.opts[0]} {quote(str(context.params[option.name]))}"
        for option in context.command.params
        if option.name in shared and context.get_parameter_source(option.name) == ParameterSource.COMMANDLINE
    )
