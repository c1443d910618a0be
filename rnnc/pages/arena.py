"""The memory schedule as a picture: each buffer where it lies, from the step that needs it to the one that does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

import numpy as np

from rnnc.pages.html import keys
from rnnc.pages.svg import GLYPH, Scale, bottom_axis, drawing, left_axis, line, shortened, text
from rnnc.scheduler.lifetimes import Extent
from rnnc.scheduler.plan import BufferKind
from rnnc.scheduler.usage import Place, Usage

COLOURS: dict[BufferKind, str] = {
    "input": "#e6a117",
    "ring": "#59a14f",
    "landing": "#a5b83c",
    "tensor": "#4c78a8",
    "state": "#b07aa1",
    "scratch": "#e15759",
    "output": "#40a8a0",
}
FLEETING: tuple[BufferKind, ...] = ("scratch", "landing")
WIDTH, LEFT, RIGHT, TOP = 1000, 70, 990, 22
HEIGHT, LIVE_HEIGHT, GAP = 380, 110, 34
COLUMNS = 460
"""The finest that is drawn: steps beyond that share a column, which shows all that they use."""
LABEL_HEIGHT = 12
HALO = 'fill="#c03" stroke="#fff" stroke-width="3" paint-order="stroke"'


def picture(used: Usage, banks: Sequence[tuple[str, int]], peak_step: int, bound: int) -> str:
    """``banks``: name and bytes used of each; ``bound``: bytes that no schedule can do without."""
    shown = [(index, name, size) for index, (name, size) in enumerate(banks) if size]
    steps = max(len(used.live), 1)
    x = Scale(0, steps, LEFT, RIGHT)
    total = sum(size for _, _, size in shown) or 1
    parts: list[str] = []
    top = TOP
    for index, name, size in shown:
        height = max(60, HEIGHT * size // total)
        y = Scale(0, size, top + height, top)
        title = f"{name}, bytes" if len(shown) > 1 else "arena, bytes"
        parts += [*_stages(used, x, top, top + height), *left_axis(y, LEFT, RIGHT, max(2, height // 60))]
        places = [place for place in used.places if place.bank == index]
        parts += [shape for place in places for shape in _place(place, steps, x, y)]
        parts += _labels(places, x, y)
        parts += [text(LEFT, top - 7, title, extra='font-weight="bold"'), *_peak(x, peak_step, top, top + height)]
        top += height + GAP
    parts += _live(used, x, top, total, bound, peak_step)
    height = top + LIVE_HEIGHT + 40
    kinds = {place.kind for place in used.places}
    legend = keys((colour, kind) for kind, colour in COLOURS.items() if kind in kinds)
    return drawing(WIDTH, height, "what lies where in the arena, step by step", parts) + legend


def _stages(used: Usage, x: Scale, top: float, bottom: float) -> Iterator[str]:
    """Every other stage a shade darker, numbered where there is room."""
    for number, (begin, end) in enumerate(pairwise((0, *used.stage_ends))):
        left, width = x(begin), round(x(end) - x(begin), 1)
        if number % 2:
            yield f'<rect x="{left}" y="{top}" width="{width}" height="{bottom - top}" fill="#eef0f3"/>'
        label = f"stage {number}" if width > 50 else str(number)
        if width > 14:
            yield text(left + width / 2, top - 7, label, anchor="middle", extra='fill="#777"')


def _peak(x: Scale, step: int, top: float, bottom: float) -> Iterator[str]:
    at = x(step + 0.5)
    yield line(at, top, at, bottom, 'stroke="#222" stroke-dasharray="4 3" pointer-events="none"')


def _place(place: Place, steps: int, x: Scale, y: Scale) -> Iterator[str]:
    """The rectangle of a buffer, faint, and in it the bytes in use; both tell its name. Scratch and landings have no
    rectangle: the place is free between the jobs."""
    last = place.first + len(place.low)
    left, right = x(place.first), x(last)
    upper, lower = y(place.offset + place.size), y(place.offset)
    colour = COLOURS[place.kind]
    about = (
        f"{' / '.join(place.names)}: {place.kind}, {place.size:,} bytes at {place.offset:,}, "
        f"steps {place.first:,} to {last - 1:,}"
    )
    width, height = max(round(right - left, 1), 0.6), max(round(lower - upper, 1), 0.6)
    yield f"<g><title>{escape(about)}</title>"
    if place.kind not in FLEETING:
        yield (
            f'<rect x="{left}" y="{upper}" width="{width}" height="{height}" fill="{colour}" fill-opacity=".15" '
            f'stroke="{colour}" stroke-width=".7"/>'
        )
    for path in _outlines(place, steps, x, y):
        yield f'<path d="{path}" fill="{colour}" fill-opacity=".6"/>'
    yield "</g>"


def _labels(places: Sequence[Place], x: Scale, y: Scale) -> Iterator[str]:
    """The names of buffers that have room for them, the largest first, none over another."""
    taken: list[tuple[float, float, float]] = []
    for place in sorted(places, key=lambda place: -place.size * len(place.low)):
        left, right = x(place.first) + 4, x(place.first + len(place.low)) - 4
        upper, lower = y(place.offset + place.size), y(place.offset)
        label = shortened(" / ".join(place.names), right - left)
        base = round((upper + lower) / 2 + 4, 1)
        end = left + GLYPH * len(label)
        if place.kind in FLEETING or not label or lower - upper < LABEL_HEIGHT:
            continue
        if all(abs(base - at) >= LABEL_HEIGHT or end < begin or left > stop for begin, stop, at in taken):
            taken.append((left, end, base))
            yield text(left, base, label, extra='pointer-events="none"')


def _outlines(place: Place, steps: int, x: Scale, y: Scale) -> Iterator[str]:
    """Around the bytes in use, one path for each time without a break."""
    edges, low, high = columns(place, steps)
    used = np.flatnonzero(low < high)
    if not len(used):
        return
    for run in np.split(used, np.flatnonzero(np.diff(used) > 1) + 1):
        there = _walk(edges, run, high, x, y)
        back = _walk(edges, run, low, x, y)[::-1]
        yield "M" + "L".join(f"{px} {py}" for px, py in (*there, *back)) + "Z"


def _walk(edges: Extent, run: Extent, bytes_: Extent, x: Scale, y: Scale) -> list[tuple[float, float]]:
    """Corners of a stair along these columns, those on straight lines left out."""
    points: list[tuple[float, float]] = []
    for column in run.tolist():
        height = y(int(bytes_[column]))
        if points and points[-1][1] == height:
            points[-1] = (x(int(edges[column + 1])), height)
        else:
            points += [(x(int(edges[column])), height), (x(int(edges[column + 1])), height)]
    return points


def columns(place: Place, steps: int) -> tuple[Extent, Extent, Extent]:
    """Edges [n + 1] of the columns of a place's life, and the lowest and highest byte in use within each [n]."""
    last = place.first + len(place.low)
    every = max(1, -(-steps // COLUMNS))
    inner = np.arange(-(-(place.first + 1) // every) * every, last, every, dtype=np.int64)
    edges = np.concatenate([[place.first], inner, [last]])
    starts = edges[:-1] - place.first
    used = place.low < place.high
    top = int(place.high.max(initial=0)) + 1
    low = np.minimum.reduceat(np.where(used, place.low, top), starts)
    high = np.maximum.reduceat(np.where(used, place.high, -1), starts)
    return edges, np.where(high < 0, 0, low), np.maximum(high, 0)


def _live(used: Usage, x: Scale, top: int, arena: int, bound: int, peak_step: int) -> Iterator[str]:
    """Bytes in use at each step, below the arena's size and against the bound."""
    bottom = top + LIVE_HEIGHT
    y = Scale(0, max(arena, bound), bottom, top)
    everything = Place(("",), "tensor", 0, 0, arena, 0, np.zeros_like(used.live), used.live)
    yield text(LEFT, top - 7, "bytes in use", extra='font-weight="bold"')
    yield from left_axis(y, LEFT, RIGHT, 3)
    for path in _outlines(everything, len(used.live), x, y):
        yield f'<path d="{path}" fill="#9aa5b1"/>'
    yield from bottom_axis(x, bottom, "step (one row of one operator)")
    yield line(LEFT, y(arena), RIGHT, y(arena), 'stroke="#222"')
    if bound:
        at = y(bound)
        yield line(LEFT, at, RIGHT, at, 'stroke="#c03" stroke-dasharray="6 3"')
        yield text(RIGHT - 4, at - 4, f"no schedule can do with less: {bound:,}", anchor="end", extra=HALO)
    yield from _peak(x, peak_step, top, bottom)
    after = peak_step < len(used.live) * 0.6
    label = f"peak {int(used.live[peak_step]):,} at step {peak_step:,}"
    yield text(x(peak_step) + (6 if after else -6), top - 7, label, anchor="start" if after else "end")
