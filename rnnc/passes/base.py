"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

from rnnc.ir.graph import Graph

Property = Literal["channels_last", "annotated", "integer"]
"""channels_last: every value is (H, W, C) and no Rearrange is left. annotated: every float value has its
quantisation. integer: only IntOps are left."""

Note = Callable[[str], None]
"""Receives one sentence about what a pass did or proved; the report prints them."""


class Pass(ABC):
    """One rewrite of the graph. The runner verifies the graph before and after, and that `ensures` holds."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[Property]] = frozenset()
    ensures: ClassVar[frozenset[Property]] = frozenset()

    @abstractmethod
    def run(self, graph: Graph, note: Note) -> None:
        """Rewrite ``graph`` in place. Raises CompileError for what the user must change."""
