"""What `rnnc profile` prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from rnnc.profiler.compare import Row, compare_layers
from rnnc.profiler.profile import CLOCK_HZ, WAIT_STATES, Figures, Profile

HOT = 8
"""Functions in the list of the most expensive ones."""


def profile(console: Console, found: Profile, as_json: bool, counted: Sequence[int] = ()) -> None:
    """One inference, layer by layer; ``counted``: the cycles that a board counted, if one did."""
    if as_json:
        print(json.dumps(found.json() | {"board_cycles": counted[0] if counted else None}, indent=2))
        return
    _headline(console, found)
    console.print(_layers(found), markup=False)
    _kernels(console, found)
    _summary(console, found.total)
    _on_board(console, found, counted[:1])


def comparison(console: Console, ours: Profile, other: Profile, as_json: bool, counted: Sequence[int] = ()) -> None:
    """Two profiles side by side; layers are matched by name; ``counted``: cycles of both on a board, if given."""
    if as_json:
        print(json.dumps({"profile": ours.json(), "other": other.json(), "board_cycles": list(counted)}, indent=2))
        return
    _headline(console, ours)
    _headline(console, other)
    table = _table("Estimated cycles, first and second", "layer", "kernel", "first", "second", "first / second")
    for row in compare_layers(ours, other):
        table.add_row(_short(row.name, 48), row.kernel, _number(row.ours), _number(row.other), _ratio(row))
    console.print(table, markup=False)
    for index, one in enumerate((ours, other)):
        _summary(console, one.total)
        _on_board(console, one, counted[index : index + 1])


def annotation(console: Console, found: Profile, function: str) -> None:
    """The instructions of one function that ran, with counts and estimated cycles."""
    lines = [line for line in found.lines if line.function == function]
    if not lines:
        known = ", ".join(list(found.functions)[:HOT])
        console.print(f"no instruction of '{function}' ran; the most expensive functions are {known}", markup=False)
        return
    total = sum(line.cycles for line in lines)
    console.print(f"{function}: {total:,} cycles, an estimate; count, cycles, instruction", markup=False)
    for line in lines:
        at = line.instruction
        text = f"{line.executed:>12,} {line.cycles:>12,}  {at.address:6x}  {at.mnemonic:<9} {at.operands}"
        console.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)


def _headline(console: Console, found: Profile) -> None:
    total = found.total
    console.print(
        f"{found.model}, {found.schedule} schedule: {total.cycles:,} cycles per inference, an estimate "
        f"(Cortex-M4, no wait states, taken branch 1+{found.timing.refill})",
        style="bold",
        highlight=False,
        markup=False,
    )


def _layers(found: Profile) -> Table:
    names = ("layer", "kernel", "instructions", "cycles", "%", "MACs", "cycles/MAC", "% peak", "flash loads")
    table = _table("Layers (cycles are estimates)", *names, "unaligned", "predicted")
    whole = found.total.cycles
    for layer in found.layers:
        error = "" if layer.error is None else f"{100 * layer.error:+.1f} %"
        table.add_row(_short(layer.name, 28), layer.kernel, *_cells(layer.figures, whole), error)
    table.add_section()
    table.add_row("total", "", *_cells(found.total, whole), style="bold")
    return table


def _cells(figures: Figures, whole: int) -> tuple[str, ...]:
    ratio, peak = figures.cycles_per_mac, figures.peak
    return (
        f"{figures.instructions:,}",
        f"{figures.cycles:,}",
        f"{100 * figures.cycles / max(whole, 1):.1f}",
        f"{figures.macs:,}" if figures.macs else "",
        f"{ratio:.2f}" if ratio is not None else "",
        f"{100 * peak:.0f}" if peak is not None else "",
        f"{figures.flash_loads:,}",
        f"{figures.unaligned_loads + figures.unaligned_stores:,}",
    )


def _kernels(console: Console, found: Profile) -> None:
    table = _table("Kernels", "kernel", "cycles", "%", "MACs", "cycles/MAC", "% peak")
    for name, figures in found.kernels.items():
        cells = _cells(figures, found.total.cycles)
        table.add_row(name, *cells[1:6])
    console.print(table, markup=False)
    hottest = [f"{name} {cycles:,}" for name, cycles in list(found.functions.items())[:HOT]]
    console.print(f"functions: {', '.join(hottest)}", highlight=False, markup=False)


def _summary(console: Console, total: Figures) -> None:
    def milliseconds(cycles: int) -> str:
        return f"{cycles:,} cycles, {1000 * cycles / CLOCK_HZ:.1f} ms"

    console.print(
        f"STM32F439 at {CLOCK_HZ // 10**6} MHz, estimates: no wait states {milliseconds(total.cycles)}; "
        f"flash at {WAIT_STATES} wait states with the ART caches {milliseconds(total.cycles_with_art)}, "
        f"without them {milliseconds(total.cycles_without_art)}",
        highlight=False,
        markup=False,
    )
    console.print(
        f"{total.flash_loads:,} loads of data from flash, {total.data_misses:,} of them miss the data cache; "
        f"{total.code_misses:,} lines of code miss the instruction cache; "
        f"{total.unaligned_loads:,} unaligned loads, {total.unaligned_stores:,} unaligned stores; "
        f"{total.address_stalls:,} possible address stalls, not counted",
        highlight=False,
        markup=False,
    )


def _on_board(console: Console, found: Profile, counted: Sequence[int]) -> None:
    for cycles in counted:
        console.print(
            f"{found.model} on the board: {cycles:,} cycles, counted; the estimate with the ART caches is "
            f"{100 * (found.total.cycles_with_art / cycles - 1):+.1f} % off",
            highlight=False,
            markup=False,
        )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1))
    for is_text, names in groupby(columns, key=lambda name: name in ("layer", "kernel")):
        for name in names:
            table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    return table


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _ratio(row: Row) -> str:
    return f"{row.ours / row.other:.2f}" if row.ours is not None and row.other else "-"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width // 2 - 1] + "…" + text[-(width - width // 2) :]
