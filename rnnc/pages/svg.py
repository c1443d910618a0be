"""Axes, text and shapes of the pictures: SVG as text, coordinates rounded to a tenth of a unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

GLYPH = 5.7
"""Width of a character of a label, about."""


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` drawn from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = (self.high - self.low) or 1
        return round(self.start + (value - self.low) * (self.end - self.start) / span, 1)

    def ticks(self, count: int = 6) -> list[int]:
        """About ``count`` round whole values from low to high."""
        span = max(self.high - self.low, 1)
        step = 1
        for step in (factor * 10**power for power in range(12) for factor in (1, 2, 5)):
            if span / step <= count:
                break
        first = -(-int(self.low) // step) * step
        return list(range(first, int(self.high) + 1, step))


def drawing(width: int, height: int, label: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<div class="wide"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="#222">\n{body}\n</svg></div>'
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" {extra}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" fill="none" {style}/>'


def left_axis(scale: Scale, x: float, right: float, count: int = 6) -> list[str]:
    """Ticks, numbers, and thin lines across."""
    parts = []
    for tick in scale.ticks(count):
        y = scale(tick)
        parts += [
            line(x, y, right, y, 'stroke="#ddd"'),
            text(x - 6, y + 3.5, f"{tick:,}", anchor="end", extra='fill="#555"'),
        ]
    return parts


def bottom_axis(scale: Scale, y: float, title: str) -> list[str]:
    parts = [line(scale.start, y, scale.end, y, 'stroke="#888"')]
    for tick in scale.ticks(10):
        x = scale(tick)
        parts += [
            line(x, y, x, y + 4, 'stroke="#888"'),
            text(x, y + 16, f"{tick:,}", anchor="middle", extra='fill="#555"'),
        ]
    return [*parts, text(scale.end, y + 30, title, anchor="end", extra='fill="#555"')]


def shortened(content: str, width: float) -> str:
    """As much of a label as fits; nothing if that would be too little to know it by."""
    room = int(width / GLYPH)
    if len(content) <= room:
        return content
    return content[: room - 1] + "…" if room >= 6 else ""
