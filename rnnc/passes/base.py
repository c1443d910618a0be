"""What a pass is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from rnnc.ir.graph import Graph
from rnnc.ir.types import Array

Property = Literal["channels_last", "annotated", "integer"]
"""channels_last: every value is (H, W, C) and no Rearrange is left. annotated: every float value has its
quantisation. integer: only IntOps are left."""

Note = Callable[[str], None]
"""Receives one sentence about what a pass did or proved; the report prints them."""


@dataclass
class Calibration:
    """What passes know of the model's inputs: ``samples`` by port name, in the model's own layout, and the mean
    output of the linear layers on them, by node name, before any clamp and rounding."""

    samples: Sequence[Mapping[str, Array]] = ()
    means: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)


class Pass(ABC):
    """One rewrite of the graph. The runner verifies the graph before and after, and that `ensures` holds."""

    name: ClassVar[str]
    requires: ClassVar[frozenset[Property]] = frozenset()
    ensures: ClassVar[frozenset[Property]] = frozenset()

    @abstractmethod
    def run(self, graph: Graph, note: Note) -> None:
        """Rewrite ``graph`` in place. Raises CompileError for what the user must change."""
