"""Two profiles side by side."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.profiler.profile import Profile


@dataclass(frozen=True, slots=True)
class Row:
    """Estimated cycles of a layer in two profiles, None where it is not; ``kernel`` names both if they differ."""

    name: str
    kernel: str
    ours: int | None
    other: int | None


def compare_layers(ours: Profile, other: Profile) -> tuple[Row, ...]:
    """The layers of both by name: in the order of the first profile, then those that only the second has, then the
    totals."""
    mine = {layer.name: layer for layer in ours.layers}
    theirs = {layer.name: layer for layer in other.layers}
    rows = []
    for name in dict.fromkeys((*mine, *theirs)):
        pair = [layers[name] for layers in (mine, theirs) if name in layers]
        kernels = dict.fromkeys(layer.kernel for layer in pair)
        cycles = [layers[name].figures.cycles if name in layers else None for layers in (mine, theirs)]
        rows.append(Row(name, ", ".join(kernels), *cycles))
    return (*rows, Row("total", "", ours.total.cycles, other.total.cycles))
