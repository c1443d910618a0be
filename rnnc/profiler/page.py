"""A profile as one HTML file: bars of estimated cycles by layer, without scripts or other files."""

from __future__ import annotations

from html import escape

from rnnc.profiler.compare import compare_layers
from rnnc.profiler.profile import CLOCK_HZ, Figures, Profile

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } th, td { padding: 2px 8px; text-align: right; white-space: nowrap }
th { border-bottom: 1px solid #999 } td.name, td.bar, th.name { text-align: left } td.bar { width: 40% }
.bar div { background: #2b6cb0; height: 10px; margin: 1px 0 } .bar div.other { background: #dd8452 }
tr.total td { border-top: 1px solid #999; font-weight: bold } p.note { color: #555 }
"""
_HEADS = ("instructions", "cycles", "cycles/MAC", "% of peak", "flash loads", "unaligned")


def page(ours: Profile, other: Profile | None = None) -> str:
    """The page of one profile, or of two with their bars one above the other."""
    title = f"{ours.model}: estimated cycles" + (f", against {other.model}" if other else "")
    body = _rows(ours, other or ours, other is not None)
    heads = "".join(f"<th>{head}</th>" for head in _HEADS) + ("<th>other cycles</th>" if other else "")
    notes = "".join(f"<p>{escape(_sentence(one))}</p>" for one in ((ours, other) if other else (ours,)))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1>{notes}"
        f'<table><tr><th class="name">layer</th><th class="name">estimated cycles</th>{heads}</tr>{body}</table>'
        '<p class="note">Estimates: counts of an emulated run, times from a model of the Cortex-M4 with memory that '
        "has no wait states. No hardware was measured.</p></html>\n"
    )


def _sentence(one: Profile) -> str:
    total = one.total
    times = [1000 * cycles / CLOCK_HZ for cycles in (total.cycles, total.cycles_with_art, total.cycles_without_art)]
    return (
        f"{one.model}, {one.schedule} schedule: about {total.cycles:,} cycles per inference. "
        f"At {CLOCK_HZ // 10**6} MHz {times[0]:.1f} ms without wait states, "
        f"{times[1]:.1f} ms from flash with the STM32F4's caches, {times[2]:.1f} ms without them."
    )


def _rows(ours: Profile, other: Profile, compared: bool) -> str:
    figures = {layer.name: layer.figures for layer in ours.layers} | {"total": ours.total}
    rows = compare_layers(ours, other)
    longest = max((max(row.ours or 0, row.other or 0) for row in rows[:-1]), default=0) or 1
    result = []
    for row in rows:
        is_total = row is rows[-1]
        bars = "" if is_total else _bar(row.ours, longest, "") + (_bar(row.other, longest, "other") if compared else "")
        cells = _cells(figures.get(row.name, Figures()))
        if compared:
            cells += f"<td>{row.other or 0:,}</td>"
        name = f'<td class="name" title="{escape(row.kernel)}">{escape(row.name)}</td>'
        result.append(f'<tr{" class=total" if is_total else ""}>{name}<td class="bar">{bars}</td>{cells}</tr>')
    return "\n".join(result)


def _bar(cycles: int | None, longest: int, kind: str) -> str:
    return f'<div class="{kind}" style="width:{100 * (cycles or 0) / longest:.2f}%"></div>'


def _cells(figures: Figures) -> str:
    ratio, peak = figures.cycles_per_mac, figures.peak
    values = (
        f"{figures.instructions:,}",
        f"{figures.cycles:,}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if peak is None else f"{100 * peak:.0f}",
        f"{figures.flash_loads:,}",
        f"{figures.unaligned_loads + figures.unaligned_stores:,}",
    )
    return "".join(f"<td>{value}</td>" for value in values)
