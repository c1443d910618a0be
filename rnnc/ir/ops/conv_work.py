"""How often the loops of the convolution kernels run (runtime/c/src/dsp/conv*.c)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rnnc.ir.costs import Work
from rnnc.ir.fixedpoint import Requant
from rnnc.ir.types import TensorType

if TYPE_CHECKING:
    from rnnc.ir.ops.conv import Conv2D

LANES = 4
"""Channels that depthwise kernels have in a word."""

TILE_BLOCK = 8
"""RNNC_TILE_BLOCK: steps between two branches of a tile's loop."""

ROWS_BLOCK = 6
"""RNNC_TILE_ROWS_BLOCK: the same where rows are read as they are."""

PAIRS_BLOCK = 6
"""RNNC_PAIRS_BLOCK: steps between two branches where pixels are taken by pairs."""

Counts = Counter[str]


def conv_work(op: Conv2D, x: TensorType, y: TensorType) -> Work:
    """The work of a convolution over all rows of ``y``."""
    kind = op.kind if op.depthwise else "conv_rows" if op.from_rows else "conv2d"
    return Work(kind, _OF_A_ROW[kind](op, x, y)).times(y.height)


def chunks_of(channels: int, chunk: int) -> list[tuple[int, int]]:
    """How many chunks of how many channels there are: (channels, times)."""
    whole, rest = divmod(channels, chunk)
    return [(chunk, whole)] * (whole > 0) + [(rest, 1)] * (rest > 0)


def is_plain(requant: Requant) -> bool:
    """Whether requantisation is one SMMLAR and one SSAT, which kernels do on their way."""
    whole = (requant.low, requant.high) == (-128, 127)
    return requant.arithmetic == "fast" and whole and not requant.shifts.any()


def _outputs(op: Conv2D, count: int) -> Counts:
    """Outputs whose requantisation costs extra."""
    return Counter({} if is_plain(op.requant) else {f"outputs {op.requant.arithmetic}": count})


def _at_once(pixels: int) -> Counter[int]:
    """How many groups of three, two and one pixels a strip is taken in."""
    threes, rest = divmod(pixels, 3)
    if rest == 1 and threes:
        return Counter({3: threes - 1, 2: 2})
    return Counter({3: threes, rest: 1} if rest else {3: threes})


def _tiles(calls: Mapping[int, int], channels: int, segments: int, steps: int, block: int) -> Counts:
    """Register tiles over the ``channels`` of a group: ``calls`` by pixels at once, each over ``segments`` of so many
    steps of four of depth, ``block`` of them in a loop."""
    counts = Counts()
    for pixels, times in calls.items():
        tiles = times * (channels // 2)
        counts[f"calls of {pixels}"] += times
        counts[f"tiles of {pixels}"] += tiles
        counts[f"segments of {pixels}"] += tiles * segments
        counts[f"steps of {pixels}"] += tiles * segments * steps
        counts[f"blocks of {pixels}"] += tiles * segments * -(-steps // block)
        counts["odd outputs"] += channels % 2 * times * pixels
        counts["odd steps"] += channels % 2 * times * pixels * segments * steps
    return counts


def _times(counts: Counts, repeated: int) -> Counts:
    return Counts({step: count * repeated for step, count in counts.items()})


def _columns(op: Conv2D, x: TensorType, y: TensorType) -> Counts:
    """Strips of pixels whose windows are widened side by side, group by group."""
    _, kernel_h, kernel_w, depth = op.weight.shape
    steps = -(-kernel_w * (kernel_h * depth + kernel_h * depth % 2) // 4)
    counts = Counts({"groups": 1})
    start, longest = 0, op.strip_pixels
    while start < y.width:
        left = y.width - start
        pixels = left if left <= longest else left - 2 if left == longest + 1 and left > 2 else longest
        counts += _tiles(_at_once(pixels), y.channels // op.group, 1, steps, TILE_BLOCK) + _placed(op, x, start, pixels)
        start += pixels
    return _times(counts, op.group) + Counts({"rows": 1}) + _outputs(op, y.width * y.channels)


def _placed(op: Conv2D, x: TensorType, start: int, pixels: int) -> Counts:
    """The input columns of the windows of ``pixels`` pixels from ``start`` on."""
    _, kernel_h, kernel_w, depth = op.weight.shape
    left = start * op.strides[1] - op.pads[1]
    if op.dilations[1] == 1 and op.strides[1] <= kernel_w:
        runs = [(left, (pixels - 1) * op.strides[1] + kernel_w)]
    else:
        lefts = range(left, left + pixels * op.strides[1], op.strides[1])
        runs = [(first + tap * op.dilations[1], 1) for first in lefts for tap in range(kernel_w)]
    inside = sum(max(0, min(first + count, x.width) - max(first, 0)) for first, count in runs)
    outside = sum(count for _, count in runs) - inside
    counts = Counts({"strips": 1, "runs": len(runs), "run rows": len(runs) * kernel_h})
    counts["padding columns"] = outside * kernel_h
    counts["padding values"] = outside * kernel_h * depth
    if depth % 4 == 0 and (kernel_h == 1 or depth % 16 == 0) and op.group == 1:
        kind = "together"
    elif depth % 4 == 0 or kernel_h == 1:
        kind = "by words"
    else:
        kind = {1: "single", 3: "triple"}.get(depth, "by values")
    counts[f"columns {kind}"] = inside * kernel_h
    counts[f"values {kind}"] = inside * kernel_h * depth
    return counts


def _rows_as_they_are(op: Conv2D, x: TensorType, y: TensorType) -> Counts:
    """Windows inside of the image, three or two side by side, and the others in pairs."""
    _, kernel_h, kernel_w, depth = op.weight.shape
    first = -(-op.pads[1] // op.strides[1])
    last = max(0, min((x.width - kernel_w + op.pads[1]) // op.strides[1] + 1, y.width))
    inner = max(0, last - first)
    if inner % 3 == 1 and (y.width - inner) % 2:
        inner -= 1
    inner = inner if inner >= 2 else 0
    calls = _at_once(inner)
    pairs = -(-(y.width - inner) // 2)
    counts = Counts({"rows": 1, "calls": calls.total(), "segments": calls.total() * kernel_h})
    counts += Counts({"pairs": pairs, "pair taps": pairs * kernel_h * kernel_w})
    counts += _tiles(calls, y.channels, kernel_h, kernel_w * depth // 4, ROWS_BLOCK)
    counts += _tiles({2: pairs}, y.channels, kernel_h * kernel_w, depth // 4, ROWS_BLOCK)
    return counts + _outputs(op, y.width * y.channels)


def wide_work(op: Conv2D, x: TensorType, y: TensorType) -> Work:
    """The work of a convolution with int16 weights over all rows of ``y``: single pixels go as two of the same."""
    counts = Counts()
    for step, count in _columns(op, x, y).items():
        counts[step.replace(" of 1", " of 2")] += count
    return Work("conv_wide", counts).times(y.height)


def pairs_at_once(width: int) -> list[int]:
    """How many pairs of pixels a row of ``width`` is taken in, one after the other; the last ones may overlap."""
    found: list[int] = []
    x = 0
    while x < width:
        left = (width - x + 1) // 2
        pairs = min(3 if left == 3 or left > 4 else 1 if left == 1 else 2, width // 2)
        x = min(x, width - 2 * pairs) + 2 * pairs
        found.append(pairs)
    return found


def pairs_work(op: Conv2D, y: TensorType) -> Work:
    """The work of a convolution by pairs of pixels over all rows of ``y``."""
    _, kernel_h, _, depth = op.weight.shape
    channels = -(-y.channels // 2)
    counts = Counts({"rows": 1, "padding words": depth // 4})
    for pairs in pairs_at_once(y.width):
        tile = max(pairs, 2)
        counts += Counts({f"calls of {tile}": 1, f"tiles of {tile}": channels})
        counts[f"steps of {tile}"] += channels * kernel_h * depth
        counts[f"blocks of {tile}"] += channels * 4 * -(-kernel_h * depth // 4 // PAIRS_BLOCK)
        counts += Counts({"pairs": pairs, "pair rows": pairs * kernel_h, "words": pairs * kernel_h * depth // 4})
        odd = y.channels % 2 * 2 * pairs if is_plain(op.requant) else 0
        counts += Counts({"odd outputs": odd}) + _outputs(op, 2 * pairs * y.channels)
    return Work("conv_pairs", counts).times(y.height)


def _depthwise3x3(op: Conv2D, x: TensorType, y: TensorType) -> Counts:
    quads, singles = divmod(y.channels, LANES)
    counts = Counts({"rows": 1, "padding": -(-y.channels // LANES)})
    start, stride = 0, op.strides[1]
    while start < y.width:
        left = y.width - start
        pixels = 2 if stride == 1 and left in (2, 4) else 3
        counts[f"calls of {pixels} at {stride}"] += 1
        counts[f"quads of {pixels} at {stride}"] += quads
        counts["singles"] += singles * pixels
        counts += _outputs(op, quads * LANES * pixels)
        start += 1 if left < pixels and y.width < pixels else pixels
    return counts


def _depthwise(op: Conv2D, x: TensorType, y: TensorType) -> Counts:
    _, kernel_h, kernel_w, _ = op.weight.shape
    quads, singles = divmod(y.channels, LANES)
    reach = (kernel_w - 1) * op.dilations[1]
    lefts = [i * op.strides[1] - op.pads[1] for i in range(y.width)]
    inside = sum(1 for left in lefts if left >= 0 and left + reach < x.width) * quads
    border = y.width * quads - inside
    return Counts(
        {
            "rows": 1,
            "quads": quads,
            "pixels": inside,
            "tap rows": inside * kernel_h,
            "triples": inside * kernel_h * (kernel_w // 3),
            "lone taps": inside * kernel_h * (kernel_w % 3),
            "border pixels": border,
            "border taps": border * kernel_h * kernel_w,
            "singles": y.width * singles,
            "single taps": y.width * singles * kernel_h * kernel_w,
        }
    ) + _outputs(op, y.width * y.channels)


_OF_A_ROW: Mapping[str, Callable[[Conv2D, TensorType, TensorType], Counts]] = {
    "conv2d": _columns,
    "conv_rows": _rows_as_they_are,
    "depthwise3x3": _depthwise3x3,
    "depthwise": _depthwise,
}
