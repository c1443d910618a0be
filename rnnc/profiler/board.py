"""Cycles of a bundle as a board counts them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rnnc.bundle import Bundle
from rnnc.diagnostics import CompileError
from rnnc.target import Board
from rnnc.toolchain.cc import build
from rnnc.toolchain.cmsis import locate
from rnnc.toolchain.run import run_image


def measure(bundle: Bundle, board: Board) -> int:
    """Program a connected board, run the self-test once and return its count of cycles (DWT on a Cortex-M4).

    Raises CompileError if no probe or no board answers, or the program fails.
    """
    if board.runner != "openocd":
        raise CompileError(f"'{board.name}' is not a board that is connected by a probe", remedy="--board stm32f439")
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        image = build(bundle.folder, board, Path(name), cmsis=locate())
        (cycles,) = run_image(image, board, None).cycles
    return cycles
