"""Dead code."""

from __future__ import annotations

from rnnc.ir.graph import Graph
from rnnc.passes.base import Note, Pass


class RemoveDead(Pass):
    """1. A node that no graph output depends on is removed."""

    def __init__(self, name: str = "remove-dead") -> None:
        # it stands in the pipeline more than once, and a name must say which run is meant
        self.name = name  # type: ignore[misc]

    def run(self, graph: Graph, note: Note) -> None:
        removed = graph.prune()
        if removed:
            note(f"{removed} nodes removed that no output depends on")
