"""The commands for boards and tools: build, flash and doctor."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from rnnc import present
from rnnc.bundle import read_bundle
from rnnc.cli_options import JSON, OUT, stdout


@click.command()
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


@click.command()
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


@click.command()
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
