"""rnnc zoo."""

from __future__ import annotations

from pathlib import Path

import click

from rnnc import present
from rnnc.cli_options import JSON, stdout


@click.group()
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
