"""What RAM costs in MACs, as one HTML file: the plans that no other beats, drawn and listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnc.pages.html import Html, bar, html, listed, page, paragraph, section, table
from rnnc.pages.svg import Scale, bottom_axis, drawing, left_axis, line, text

Report = Mapping[str, Any]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1000, 420, 80, 970, 24, 360
COLOUR, BOUND_COLOUR = "#4c78a8", "#c03"


def front_page(model: str, points: Sequence[tuple[Report, str]]) -> str:
    """``points``: report.json of each plan, from the fastest to the smallest, and the command that makes it."""
    first = points[0][0]
    body = [
        Html(f"<h1>{html(model)}: RAM against MACs</h1>"),
        paragraph(
            f"{len(points)} plans that no other found beats in both, input mode {first['input_mode']}, output mode "
            f"{first['output_mode']}, for {first['target']}. RAM is arena, stack and static data, in bytes.",
            kind="sub",
        ),
        Html(_plot([report for report, _ in points])),
        section("The plans", _table(points)),
        section("How each is made", table(("#", "~command"), ((i, _code(line)) for i, (_, line) in enumerate(points)))),
        section("How good the smallest is", listed(points[-1][0]["search"]["statements"])),
    ]
    return page(f"{model}: RAM against MACs", body)


def _code(command: str) -> Html:
    return Html(f"<code>{html(command)}</code>")


def _table(points: Sequence[tuple[Report, str]]) -> Html:
    largest = max(report["ram"]["total"] for report, _ in points)
    rows = []
    for index, (report, _) in enumerate(points):
        ram, macs, gap = report["ram"], report["macs"], report["lower_bound"]["gap"]
        ratio = f"{macs['executed'] / macs['nominal']:.2f}" if macs["nominal"] else ""
        size = ram["total"]
        bound = f"{gap:.2f}" if gap else ""
        rows.append((index, size, bar(size, largest), ram["arena"], macs["executed"], ratio, bound))
    return table(("#", "RAM", "|", "arena", "MACs executed", "of nominal", "arena / bound"), rows)


def _plot(reports: Sequence[Report]) -> str:
    macs = [report["macs"]["executed"] for report in reports]
    sizes = [report["ram"]["total"] for report in reports]
    bound = reports[0]["lower_bound"]["bytes"]
    margin = max((max(macs) - min(macs)) // 20, max(macs) // 100, 1)
    x = Scale(min(macs) - margin, max(macs) + margin, LEFT, RIGHT)
    y = Scale(0, max(sizes) * 1.05, BOTTOM, TOP)
    parts = [*left_axis(y, LEFT, RIGHT), *bottom_axis(x, BOTTOM, "MACs executed")]
    parts.append(text(LEFT, TOP - 8, "RAM, bytes", extra='font-weight="bold"'))
    if bound:
        parts += [
            line(LEFT, y(bound), RIGHT, y(bound), f'stroke="{BOUND_COLOUR}" stroke-dasharray="6 3"'),
            text(
                LEFT + 6,
                y(bound) + 14,
                f"no schedule has an arena of less than {bound:,}",
                extra=f'fill="{BOUND_COLOUR}"',
            ),
        ]
    parts += _points(reports, [(x(m), y(s)) for m, s in zip(macs, sizes, strict=True)])
    return drawing(WIDTH, HEIGHT, "RAM against executed MACs", parts)


def _points(reports: Sequence[Report], places: Sequence[tuple[float, float]]) -> Iterator[str]:
    """Stairs: between two plans, more MACs save nothing."""
    path = f"M{places[0][0]} {places[0][1]}" + "".join(f"H{px}V{py}" for px, py in places[1:])
    yield f'<path d="{path}" fill="none" stroke="{COLOUR}" stroke-opacity=".5"/>'
    for index, (report, (px, py)) in enumerate(zip(reports, places, strict=True)):
        ram, macs = report["ram"]["total"], report["macs"]["executed"]
        yield f"<g><title>plan {index}: {ram:,} bytes of RAM, {macs:,} MACs</title>"
        yield f'<circle cx="{px}" cy="{py}" r="5" fill="{COLOUR}"/></g>'
        near_edge = px > RIGHT - 70
        yield text(px + (-7 if near_edge else 7), py - 6, f"{index}: {ram:,}", anchor="end" if near_edge else "start")
