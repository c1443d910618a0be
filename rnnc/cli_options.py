"""What the commands share: consoles, arguments, option types and the progress bar."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

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


def progress() -> Progress:
    """A bar that vanishes when the work is done; nothing where nobody watches."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal)


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        stderr.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
