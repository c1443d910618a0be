"""The cost of a piece of the graph as one stage: the most bytes in use at any of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnc.scheduler.execution import Network, execute
from rnnc.scheduler.footprint import Footprint, footprint
from rnnc.scheduler.plan import InputMode, OutputMode


@dataclass(frozen=True)
class Options:
    """Whether inputs and outputs are whole frames, and whose, or come and go row by row; and whether rings may slide
    (`plan.Buffer`)."""

    input_mode: InputMode = "buffer"
    output_mode: OutputMode = "buffer"
    sliding: bool = False

    def placed(self, network: Network) -> range:
        """The values that take memory of the model's: all but inputs that are lent."""
        return range(network.n_inputs if self.input_mode == "lent" else 0, len(network.values))


Footprints = dict[tuple[object, ...], Footprint]
"""Of stages, by what their operators read and by names of what is held and streamed: valid for all graphs that share
them."""


class Costs:
    """Peaks of stages, each executed once and remembered as its footprint. Sets of finished tasks are bit masks.

    With ``full_rings`` every slot of a ring counts all the time: an estimate that a placement can nearly always
    reach, where the exact count may rest on slots that are free at moments of no use to others.
    """

    def __init__(
        self, network: Network, options: Options, full_rings: bool = False, memo: Footprints | None = None
    ) -> None:
        self.network, self.options, self.full_rings = network, options, full_rings
        self.placed = options.placed(network)
        self.size = [value.type.bytes for value in network.values]
        self.scratch = [task.scratch for task in network.tasks]
        self.state = [task.state for task in network.tasks]
        self.readers = [mask_of(readers) for readers in network.readers]
        self.kept = [options.output_mode == "buffer" and v in network.outputs for v in range(len(self.size))]
        self._crossing: dict[int, frozenset[int]] = {}
        self._footprints: Footprints = {} if memo is None else memo

    def crossing(self, finished: int) -> frozenset[int]:
        """Values that are in memory when just these tasks are finished."""
        if finished not in self._crossing:
            self._crossing[finished] = frozenset(
                value
                for value, readers in enumerate(self.readers)
                if self._made(value, finished) and (self.kept[value] or readers & ~finished)
            )
        return self._crossing[finished]

    def _made(self, value: int, finished: int) -> bool:
        producer = self.network.producer(value)
        if producer is not None:
            return bool(finished >> producer & 1)
        if value not in self.placed:
            return False
        # a streamed input comes with its first reader
        return self.options.input_mode == "buffer" or bool(self.readers[value] & finished)

    def boundary(self, finished: int) -> int:
        """Bytes in memory when just these tasks are finished."""
        return sum(self.size[value] for value in self.crossing(finished))

    def of(self, tasks: Sequence[int], finished: int) -> int:
        """Peak of one stage of ``tasks`` after those in ``finished``."""
        network = self.network
        before = self.crossing(finished)
        after = self.crossing(finished | mask_of(tasks))
        read = frozenset(value for task in tasks for value in network.tasks[task].inputs if value in self.placed)
        made = frozenset(network.tasks[task].output for task in tasks)
        aside = sum(self.size[value] for value in before - read)
        held = after & (read | made)
        streamed = frozenset(value for value in read - before if value < network.n_inputs)
        key = (
            tuple(network.tasks[task].reading for task in tasks),
            frozenset(network.values[value].name for value in held),
            frozenset(network.values[value].name for value in streamed),
        )
        if key not in self._footprints:
            execution = execute(network, [network.piece(tasks)], streamed)
            self._footprints[key] = footprint(network, execution, held, read | made, self.options.sliding)
        own = sorted(tasks)
        scratch, state = (np.array([sizes[task] for task in own], np.int64) for sizes in (self.scratch, self.state))
        return self._footprints[key].peaks(scratch, state)[self.full_rings] + aside


def mask_of(tasks: Sequence[int]) -> int:
    """The set of these tasks as a bit mask."""
    mask = 0
    for task in tasks:
        mask |= 1 << task
    return mask
