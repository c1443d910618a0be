"""What the pages are made of: escaped text, tables, stacked bars, and one style for screen, phone and paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { color-scheme: light } * { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto; max-width: 72em; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em; margin: 0 } h2 { font-size: 1.2em; margin: 1.8em 0 .5em; break-after: avoid }
p, li { max-width: 60em; overflow-wrap: anywhere } p.note, p.sub, .unit { color: #555 } p.sub { margin: .2em 0 1.2em }
code { font: .92em ui-monospace, monospace }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5em, 1fr)); gap: .7em }
.card { border: 1px solid #ccc; border-radius: 6px; padding: .5em .8em; break-inside: avoid }
.card b { display: block; font-size: 1.35em; font-variant-numeric: tabular-nums } .card span { color: #555 }
.wide { overflow-x: auto } .wide svg { display: block; width: 100%; min-width: 640px; height: auto }
table { border-collapse: collapse; font-size: .9em; font-variant-numeric: tabular-nums }
th, td { padding: 2px 9px; text-align: right; white-space: nowrap } th { border-bottom: 1px solid #888 }
th.text, td.text { text-align: left } td.long { white-space: normal; overflow-wrap: anywhere; min-width: 12em }
tbody tr:nth-child(even) { background: #f5f6f8 } tr { break-inside: avoid } thead { display: table-header-group }
td.bar { width: 12em; min-width: 6em } td.bar div { height: 9px; background: #4c78a8 }
.stack { display: flex; height: 16px; margin: .3em 0; border-radius: 3px; overflow: hidden }
.keys { display: flex; flex-wrap: wrap; gap: .2em 1.2em; font-size: .9em; margin: .3em 0 }
.keys i { display: inline-block; width: .9em; height: .9em; margin-right: .4em; vertical-align: -1px }
@media print { body { margin: 0; max-width: none; font-size: 10pt } .wide { overflow: visible }
  .wide svg { min-width: 0 } svg, .stack, td.bar div, .keys i, tbody tr { print-color-adjust: exact;
  -webkit-print-color-adjust: exact } table { font-size: 8pt } td, th { padding: 1px 4px } td.long { min-width: 16em }
  td.bar { width: 6em; min-width: 3em } }
"""


NAME_LENGTH = 48


class Html(str):
    """Text that is HTML already; any other string is escaped where it is put in."""

    __slots__ = ()


def html(item: object) -> str:
    """Anything as HTML; whole numbers get their thousands apart."""
    if isinstance(item, Html):
        return item
    return f"{item:,}" if isinstance(item, int) else escape(str(item))


def name(text: str) -> Html:
    """A name of the model's: in full where it is pointed at, else no more than NAME_LENGTH characters of it."""
    if len(text) <= NAME_LENGTH:
        return Html(escape(text))
    head, tail = text[: NAME_LENGTH // 2 - 1], text[-(NAME_LENGTH // 2) :]
    return Html(f'<span title="{escape(text)}">{escape(head)}…{escape(tail)}</span>')


def page(title: str, body: Iterable[str]) -> str:
    """A whole file."""
    content = "\n".join(body)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{content}\n</body></html>\n"
    )


def section(title: str, *parts: str) -> Html:
    return Html(f"<section><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>")


def paragraph(*parts: object, kind: str = "") -> Html:
    mark = f' class="{kind}"' if kind else ""
    return Html(f"<p{mark}>{''.join(html(part) for part in parts)}</p>")


def listed(items: Iterable[object]) -> Html:
    return Html("<ul>" + "".join(f"<li>{html(item)}</li>" for item in items) + "</ul>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """Columns are numbers, set to the right, unless their title starts with "<" (text) or "~" (text that may wrap),
    or is "|": a cell of bars."""
    kinds = [{"<": "text", "~": "text long", "|": "bar"}.get(column[:1], "") for column in columns]
    heads = "".join(
        f'<th class="{kind}">{escape(column.lstrip("<~|"))}</th>' for column, kind in zip(columns, kinds, strict=True)
    )
    lines = (
        "".join(f'<td class="{kind}">{html(cell)}</td>' for cell, kind in zip(row, kinds, strict=True)) for row in rows
    )
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return Html(f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>')


def bar(value: float, longest: float) -> Html:
    """A bar for a cell of a table."""
    return Html(f'<div style="width:{100 * value / longest if longest else 0:.2f}%"></div>')


def cards(items: Iterable[tuple[str, object, str]]) -> Html:
    """Figures that come first: (what, figure, remark)."""
    return Html(
        '<div class="cards">'
        + "".join(
            f'<div class="card"><span>{escape(what)}</span><b>{html(figure)}</b><span>{escape(remark)}</span></div>'
            for what, figure, remark in items
        )
        + "</div>"
    )


def keys(items: Iterable[tuple[str, str]]) -> Html:
    """A legend: (colour, text)."""
    marks = "".join(f'<span><i style="background:{colour}"></i>{escape(text)}</span>' for colour, text in items)
    return Html(f'<div class="keys">{marks}</div>')


def stacked(parts: Sequence[tuple[str, int, str]]) -> Html:
    """One bar of several parts, (what, size, colour), with its legend."""
    total = sum(size for _, size, _ in parts)
    pieces = "".join(
        f'<div style="width:{100 * size / total:.3f}%;background:{colour}" title="{escape(what)} {size:,}"></div>'
        for what, size, colour in parts
        if total
    )
    legend = keys((colour, f"{what} {size:,}") for what, size, colour in parts)
    return Html(f'<div class="stack">{pieces}</div>{legend}')
