"""Puts counts and timings together: estimated cycles of each layer, each function and the whole inference."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rnnc.bundle import Bundle
from rnnc.profiler.counter import BlockCount, Counts, count
from rnnc.profiler.listing import Instruction, Listing, read_listing
from rnnc.profiler.timing import Timing, block_cost, instruction_cost
from rnnc.scheduler.execution import Network, execute
from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.toolchain.cmsis import locate

BOARD = "qemu-mps2-an386"
ENGINE = "(engine)"
PEAK = 2
"""Multiply-accumulates per cycle of SMLAD."""
WAIT_STATES = 5
"""Of the STM32F439's flash at 168 MHz and 3.3 V (RM0090, table 11)."""
CLOCK_HZ = 168_000_000


@dataclass(frozen=True)
class Figures:
    """What some code did in one inference; ``cycles`` is an estimate for memory without wait states.

    ``address_stalls`` counts places where the manual adds a cycle that the model leaves out by default; the rest is
    explained at `rnnc.profiler.counter.MemoryCount`.
    """

    instructions: int = 0
    cycles: int = 0
    macs: int = 0
    jumps: int = 0
    address_stalls: int = 0
    flash_loads: int = 0
    data_misses: int = 0
    unaligned_loads: int = 0
    unaligned_cycles: int = 0
    unaligned_stores: int = 0
    code_lines: int = 0
    code_misses: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Figures)))

    @property
    def cycles_per_mac(self) -> float | None:
        """None for code that multiplies nothing."""
        return self.cycles / self.macs if self.macs else None

    @property
    def peak(self) -> float | None:
        """The part of SMLAD's two multiply-accumulates per cycle that was reached."""
        return self.macs / (PEAK * self.cycles) if self.macs and self.cycles else None

    @property
    def cycles_with_art(self) -> int:
        """With flash at 5 wait states behind the STM32F4's caches; each miss waits in full."""
        return self.cycles + WAIT_STATES * (self.data_misses + self.code_misses)

    @property
    def cycles_without_art(self) -> int:
        """With flash at 5 wait states and no caches: each load of data and each new line of code waits."""
        return self.cycles + WAIT_STATES * (self.flash_loads + self.code_lines)

    def json(self) -> dict[str, Any]:
        """Stable keys, for scripts."""
        return asdict(self) | {
            "cycles_per_mac": self.cycles_per_mac,
            "peak": self.peak,
            "cycles_with_art": self.cycles_with_art,
            "cycles_without_art": self.cycles_without_art,
        }


@dataclass(frozen=True)
class LayerProfile:
    """One operator, or the engine (``kernel`` empty); ``predicted`` are the cycles that the compiler reckoned with."""

    name: str
    op: str
    kernel: str
    figures: Figures
    predicted: int | None = None

    @property
    def error(self) -> float | None:
        """Of the prediction, relative to the estimate from the run."""
        return None if self.predicted is None else self.predicted / max(self.figures.cycles, 1) - 1

    def json(self) -> dict[str, Any]:
        """Stable keys, for scripts."""
        names = {"name": self.name, "op": self.op, "kernel": self.kernel, "predicted": self.predicted}
        return names | self.figures.json()


@dataclass(frozen=True)
class Line:
    """One instruction of a program: its function, how often it ran, and its cycles."""

    function: str
    instruction: Instruction
    executed: int
    cycles: int


@dataclass(frozen=True)
class Profile:
    """One inference of a bundle: ``layers`` in order of execution, the engine last; ``lines`` holds the instructions
    that ran, by address."""

    model: str
    schedule: str
    timing: Timing
    layers: tuple[LayerProfile, ...]
    lines: tuple[Line, ...]

    @property
    def total(self) -> Figures:
        return sum((layer.figures for layer in self.layers), Figures())

    @property
    def functions(self) -> dict[str, int]:
        """Cycles by function, the most expensive first; without unaligned accesses, which belong to no instruction."""
        cycles: dict[str, int] = defaultdict(int)
        for line in self.lines:
            cycles[line.function] += line.cycles
        return dict(sorted(cycles.items(), key=lambda item: -item[1]))

    @property
    def kernels(self) -> dict[str, Figures]:
        """Figures by kernel, over all layers that use it, the most expensive first."""
        found: dict[str, Figures] = defaultdict(Figures)
        for layer in self.layers:
            found[layer.kernel or layer.name] += layer.figures
        return dict(sorted(found.items(), key=lambda item: -item[1].cycles))

    def json(self) -> dict[str, Any]:
        """Stable keys, for scripts."""
        return {
            "model": self.model,
            "schedule": self.schedule,
            "estimate": True,
            "timing": asdict(self.timing),
            "total": self.total.json(),
            "layers": [layer.json() for layer in self.layers],
            "kernels": [{"kernel": name, **figures.json()} for name, figures in self.kernels.items()],
            "functions": [{"function": name, "cycles": cycles} for name, cycles in self.functions.items()],
        }


def profile_bundle(
    bundle: Bundle,
    timing: Timing = Timing(),  # noqa: B008 - frozen
    flags: Sequence[str] = (),
) -> Profile:
    """Build the bundle for QEMU's Cortex-M4, run its self-test and estimate its cycles; ``flags`` go to the compiler.

    Raises CompileError if a tool is missing or the program fails.
    """
    board = load_board(BOARD)
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        image = build(bundle.folder, board, Path(name), cmsis=locate(), extra_flags=flags)
        listing = read_listing(image.elf)
        counts = count(image, board, listing, job_order(bundle), len(bundle.graph.nodes))
    return combine(bundle, listing, counts, timing)


def job_order(bundle: Bundle) -> list[int]:
    """The operator of each job of an inference, numbered through the stages as in the generated table."""
    network = Network(bundle.graph)
    pieces = [network.piece_of(stage) for stage in bundle.plan.stages]
    names = [name for stage in bundle.plan.stages for name in stage.nodes]
    number = {network.task_of[name]: index for index, name in enumerate(names)}
    return [number[int(task)] for task in execute(network, pieces).task]


def combine(bundle: Bundle, listing: Listing, counts: Counts, timing: Timing) -> Profile:
    """The profile that follows from what was counted."""
    engine, *figures = estimate(listing, counts, timing)
    layers = [
        LayerProfile(op["name"], op["op"], op["kernel"], counted + Figures(macs=op["macs"]), op["cycles"])
        for op, counted in zip(bundle.report["ops"], figures, strict=True)
    ]
    layers.append(LayerProfile(ENGINE, "", "", engine))
    return Profile(bundle.name, bundle.plan.schedule, timing, tuple(layers), tuple(_lines(listing, counts, timing)))


def estimate(listing: Listing, counts: Counts, timing: Timing) -> list[Figures]:
    """Figures of the engine and then of each operator, MACs not known."""
    before = _continued(listing, counts.blocks)
    result = [Figures(cycles=memory.unaligned_cycles, **asdict(memory)) for memory in counts.memory]
    for block in counts.blocks:
        cost = block_cost(timing, listing.between(block.start, block.end), before.get(block.start))
        result[block.layer] += Figures(
            instructions=cost.instructions * block.executed,
            cycles=cost.cycles * block.executed + timing.refill * block.left,
            jumps=block.left,
            address_stalls=cost.stalls * block.executed,
        )
    return result


def _continued(listing: Listing, blocks: Iterable[BlockCount]) -> Mapping[int, Instruction]:
    """For each start of a block, the instruction that ran before it, if most often it was run into from what lies
    before it (the emulator also ends blocks at page boundaries)."""
    entered: dict[int, int] = defaultdict(int)
    passed: dict[int, int] = defaultdict(int)
    for block in blocks:
        entered[block.start] += block.executed
        passed[block.end] += block.executed - block.left
    final = {i.end: i for i in listing.instructions.values()}
    return {start: final[start] for start, times in entered.items() if 2 * passed[start] > times and start in final}


def _lines(listing: Listing, counts: Counts, timing: Timing) -> Iterator[Line]:
    before = _continued(listing, counts.blocks)
    executed: dict[int, int] = defaultdict(int)
    cycles: dict[int, int] = defaultdict(int)
    for block in counts.blocks:
        previous = before.get(block.start)
        for at in listing.between(block.start, block.end):
            executed[at.address] += block.executed
            cycles[at.address] += block.executed * instruction_cost(timing, at, previous).cycles
            previous = at
        if previous is not None:
            cycles[previous.address] += block.left * timing.refill
    for function in listing.functions:
        for address in sorted(address for address in executed if function.start <= address < function.end):
            yield Line(function.name, listing.instructions[address], executed[address], cycles[address])
