"""What the commands print: rich tables for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rnnc.ir.types import Array
from rnnc.target import Board
from rnnc.toolchain.cc import Image
from rnnc.toolchain.doctor import Check
from rnnc.verification import Verdict
from rnnc.zoo import Entry

Report = Mapping[str, Any]
PEAK_BUFFERS = 5
TIMELINE = 64
"""Columns of the timeline of buffers."""


def summary(console: Console, report: Report, out: Path) -> None:
    """After compiling: what it needs, and what to do next."""
    _headline(console, report)
    for note in report["notes"]:
        console.print(f"  {note['pass']}: {note['text']}", style="dim", highlight=False, markup=False)
    console.print(f"wrote {out}; next: rnnc report {out}, rnnc verify {out}", highlight=False, markup=False)


def _headline(console: Console, report: Report) -> None:
    ram, flash, macs = report["ram"], report["flash"], report["macs"]
    stack = "unknown" if ram["stack"] is None else f"{ram['stack']:,}"
    console.print(
        f"{report['model']}: {report['schedule']} schedule, {report['arithmetic']} arithmetic, "
        f"input mode {report['input_mode']}, output mode {report['output_mode']}, for {report['target']}",
        style="bold",
        highlight=False,
        markup=False,
    )
    banks = ", ".join(f"{bank['used']:,} of {bank['size']:,} in {bank['name']}" for bank in ram["banks"])
    console.print(
        f"  RAM    {ram['total']:,} bytes: arena {ram['arena']:,} ({banks}), stack {stack}, static {ram['static']:,}",
        highlight=False,
    )
    if flash["total"] is None:
        console.print(f"  flash  {flash['weights']:,} bytes of weights; code not measured", highlight=False)
    else:
        console.print(
            f"  flash  {flash['total']:,} bytes: weights {flash['weights']:,}, code {flash['code']:,}, "
            f"tables {flash['tables']:,}",
            highlight=False,
        )
    ratio = f" ({macs['executed'] / macs['nominal']:.2f}x)" if macs["nominal"] else ""
    console.print(f"  MACs   {macs['executed']:,} executed of {macs['nominal']:,} nominal{ratio}", highlight=False)
    console.print(f"  cycles about {report['cycles']['estimated']:,} of a Cortex-M4, an estimate", highlight=False)


def front(console: Console, points: Sequence[tuple[Report, Path | None, str]], as_json: bool) -> None:
    """The plans that `explore` found, from the fastest to the smallest, with their folders and commands."""
    if as_json:
        keys = ("ram", "macs", "cycles", "lower_bound")
        rows = [
            {key: data[key] for key in keys} | {"folder": out and str(out), "command": line}
            for data, out, line in points
        ]
        console.print_json(json.dumps(rows))
        return
    table = Table(box=None, header_style="bold")
    for title in ("", "RAM bytes", "arena", "MACs executed", "of nominal", "cycles (estimate)", "times the bound"):
        table.add_column(title, justify="right")
    for index, (data, out, _) in enumerate(points):
        macs, bound = data["macs"], data["lower_bound"]
        ratio = f"{macs['executed'] / macs['nominal']:.2f}x" if macs["nominal"] else ""
        gap = "" if bound["gap"] is None else f"{bound['gap']:.2f}"
        ram = data["ram"]
        name = str(out) if out is not None else str(index)
        cycles = f"{data['cycles']['estimated']:,}"
        table.add_row(name, f"{ram['total']:,}", f"{ram['arena']:,}", f"{macs['executed']:,}", ratio, cycles, gap)
    console.print(table)
    console.print("each is made by:", highlight=False)
    for _, _, line in points:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    for statement in points[-1][0]["search"]["statements"]:
        console.print(statement, highlight=False, markup=False)


def report(console: Console, data: Report) -> None:
    """The memory schedule as text."""
    _headline(console, data)
    peak = data["peak"]
    held = ", ".join(_short(name, 40) for name in peak["buffers"][:PEAK_BUFFERS])
    hidden = len(peak["buffers"]) - PEAK_BUFFERS
    more = f" and {hidden} more" if hidden > 0 else ""
    console.print(
        f"  peak   {peak['live_bytes']:,} bytes live at step {peak['step']:,} of {data['steps']:,}, the least for this "
        f"order of jobs, held by {held}{more}",
        highlight=False,
        markup=False,
    )
    _bounds(console, data)
    for statement in data["search"]["statements"]:
        console.print(f"  {statement}", highlight=False, markup=False)
    _stages(console, data)
    _timeline(console, data)
    _operators(console, data)
    if data["stack_path"]:
        console.print(f"deepest stack: {' > '.join(data['stack_path'])}", highlight=False, markup=False)


def _bounds(console: Console, data: Report) -> None:
    """What no schedule can do without, against what was reached."""
    bound = data["lower_bound"]
    reached = f"; the arena's {data['ram']['arena']:,} are {bound['gap']:.2f} times that" if bound["gap"] else ""
    console.print(f"  bound  {bound['bytes']:,} bytes, {bound['of']}{reached}", highlight=False)
    cut, sums = bound["row_cut"], bound["partial_sums"]
    if cut is not None:
        held = [_part(part) for part in cut["through"][:PEAK_BUFFERS]]
        more = len(cut["through"]) - PEAK_BUFFERS
        held += [f"{more} more"] if more > 0 else []
        console.print(f"         such as {', '.join(held)}", highlight=False, markup=False)
    if sums is not None and sums["bytes"] < cut["bytes"]:
        console.print(f"         {sums['bytes']:,} bytes if every operator could keep partial sums", highlight=False)


def _part(part: Mapping[str, Any]) -> str:
    name = _short(part["value"], 40)
    return f"sums for {name}" if part["partial"] else f"{part['rows']} rows of {name}"


def _stages(console: Console, data: Report) -> None:
    table = Table("stage", "kind", "operators", title="Stages", title_justify="left", box=None, padding=(0, 2))
    for index, stage in enumerate(data["stages"]):
        nodes = stage["nodes"]
        names = nodes[0] if len(nodes) == 1 else f"{nodes[0]} … {nodes[-1]} ({len(nodes)})"
        table.add_row(str(index), stage["kind"], _short(names, 90))
    console.print(table, markup=False)


def _timeline(console: Console, data: Report) -> None:
    """One line per buffer, its life as a bar over the steps of the inference."""
    table = Table(
        "offset",
        "bytes",
        "bank",
        "kind",
        f"life over {data['steps']:,} steps",
        "buffer",
        title="Buffers",
        title_justify="left",
        box=None,
        padding=(0, 1),
    )
    for buffer in sorted(data["buffers"], key=lambda item: (item["first_step"], item["offset"])):
        table.add_row(
            f"{buffer['offset']:,}",
            f"{buffer['size']:,}",
            str(buffer["bank"]),
            buffer["kind"],
            _bar(buffer["first_step"], buffer["last_step"], data["steps"]),
            _short(buffer["name"], 40),
        )
    console.print(table, markup=False)


def _bar(first: int, last: int, steps: int) -> str:
    start = min(TIMELINE - 1, first * TIMELINE // max(steps, 1))
    end = max(start + 1, -(-(min(last, steps - 1) + 1) * TIMELINE // max(steps, 1)))
    return "·" * start + "█" * (end - start) + "·" * (TIMELINE - end)


def _operators(console: Console, data: Report) -> None:
    table = Table(
        "#",
        "operator",
        "output",
        "MACs",
        "cycles (est.)",
        "weights",
        "RAM live",
        "name",
        title="Operators",
        title_justify="left",
        box=None,
        padding=(0, 1),
    )
    for index, op in enumerate(data["ops"]):
        table.add_row(
            str(index),
            op["op"],
            "x".join(map(str, op["output"])),
            f"{op['macs']:,}",
            f"{op['cycles']:,}",
            f"{op['weights']:,}",
            f"{op['ram']:,}",
            _short(op["name"], 48),
        )
    console.print(table, markup=False)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width // 2 - 1] + "…" + text[-(width - width // 2) :]


def run_result(
    console: Console, outputs: Mapping[str, Array], cycles: Sequence[int], place: str, as_json: bool
) -> None:
    """What a run gave, in short; whole arrays only as JSON."""
    if as_json:
        values = {name: array.tolist() for name, array in outputs.items()}
        print(json.dumps({"outputs": values, "instructions": list(cycles) if place == "qemu" else None}))
        return
    for name, array in outputs.items():
        console.print(f"{name}: {array.dtype}{list(array.shape)}", highlight=False, markup=False)
        flat = array[0].ravel()
        shown = ", ".join(f"{item:.6g}" for item in flat[:10])
        console.print(f"  {shown}{', …' if flat.size > 10 else ''}", highlight=False, markup=False)
    if place == "qemu" and cycles:
        console.print(
            f"estimate: {round(float(np.median(cycles))):,} instructions per inference (emulated, not cycles)",
            highlight=False,
        )


def verdicts(console: Console, found: Sequence[Verdict], as_json: bool) -> None:
    """Equal or not, place by place."""
    if as_json:
        items = [
            {
                "on": v.place,
                "runs": v.runs,
                "bytes": v.compared,
                "equal": v.difference is None,
                "difference": str(v.difference) if v.difference else None,
            }
            for v in found
        ]
        print(json.dumps(items, indent=2))
        return
    for verdict in found:
        if verdict.difference is None:
            console.print(
                f"{verdict.place}: equal, {verdict.runs} runs, {verdict.compared:,} bytes of output compared",
                style="green",
                highlight=False,
            )
        else:
            console.print(
                f"{verdict.place}: DIFFERENT, {verdict.difference}",
                style="red",
                highlight=False,
                markup=False,
            )


def image(console: Console, built: Image, board: Board, as_json: bool) -> None:
    """Sizes of a firmware image against its board."""
    flash_size = board.flash.size if board.flash else None
    sections = {section.name: section.size for section in built.sections}
    if as_json:
        data = {
            "elf": str(built.elf),
            "bin": str(built.bin) if built.bin else None,
            "text": built.text,
            "data": built.data,
            "bss": built.bss,
            "sections": sections,
            "flash_size": flash_size,
            "stack": built.stack.bytes if built.stack else None,
        }
        print(json.dumps(data, indent=2))
        return
    console.print(f"{board.name}: {built.elf}", style="bold", highlight=False, markup=False)
    if flash_size is None:
        return
    console.print(
        f"  flash  {built.flash:,} of {flash_size:,} bytes ({100 * built.flash / flash_size:.1f} %): "
        f"text {built.text:,}, data {built.data:,}",
        highlight=False,
    )
    for bank, names in zip(board.banks, ((".data", ".bss", ".arena", ".stack"), (".arena1",)), strict=False):
        used = sum(sections.get(name, 0) for name in names)
        parts = ", ".join(f"{name} {sections[name]:,}" for name in names if sections.get(name))
        console.print(f"  {bank.name:<6} {used:,} of {bank.size:,} bytes: {parts or 'empty'}", highlight=False)


def zoo(console: Console, entries: Sequence[Entry], as_json: bool) -> None:
    """The networks that can be exported."""
    if as_json:
        print(json.dumps([{"name": e.name, "description": e.description, "source": e.source} for e in entries]))
        return
    table = Table("name", "what it is", "source", box=None, padding=(0, 2))
    for entry in entries:
        table.add_row(entry.name, entry.description, entry.source)
    console.print(table)


def doctor(console: Console, found: Sequence[Check], as_json: bool) -> None:
    """Tools found and missing."""
    if as_json:
        keys = ("name", "found", "version", "purpose", "remedy")
        print(json.dumps([{key: getattr(check, key) for key in keys} for check in found], indent=2))
        return
    for check in found:
        mark, style = ("found", "green") if check.found else ("MISSING", "red")
        detail = check.version if check.found else f"needed for {check.purpose}; {check.remedy}"
        console.print(f"{mark:<8} {check.name}: {detail}", style=style, highlight=False, markup=False, soft_wrap=True)
