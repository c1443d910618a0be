"""report.json: what a compiled model needs and does (DESIGN's stable keys; sizes in bytes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rnnc.codegen.lower import int_op
from rnnc.codegen.optimality import optimality
from rnnc.codegen.program import CProgram
from rnnc.ir.graph import Graph
from rnnc.scheduler.bounds import Bound, Bounds, one_job
from rnnc.scheduler.choose import Scheduled
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import Buffer, Plan
from rnnc.scheduler.row_cut import RowCut
from rnnc.scheduler.segments import Options
from rnnc.scheduler.usage import most_in_use
from rnnc.target import Bank

POINTER, ENGINE_POINTERS, ENGINE_COUNTERS = 4, 6, 4
"""rnnc_engine on a 32-bit core: model, two banks, done, given, seen; stage, tick, latest and what aligns them."""
ROW_ENGINE_POINTERS = 3
"""What rnnc_row_engine adds: sink, context, copies."""

CARRIED = "whole rows and sums of accumulating operators that any one-pass schedule carries"
FRAMES = "whole inputs at the start or whole outputs at the end"


@dataclass(frozen=True, slots=True)
class Measured:
    """What only the C compiler knows, for a Cortex-M4: worst-case ``stack`` of a run, ``code`` and ``constants``
    (weights and tables) in flash."""

    stack: int
    stack_path: tuple[str, ...]
    code: int
    constants: int


def static_bytes(program: CProgram) -> int:
    """sizeof(NAME_t) on a 32-bit core."""
    pointers = ENGINE_POINTERS + (ROW_ENGINE_POINTERS if program.stream_output else 0)
    pointers += len(program.inputs) if program.lent_input else 0
    size = POINTER * pointers + 2 * ENGINE_COUNTERS + 2 * program.counters
    return (size + POINTER - 1) // POINTER * POINTER


def build_report(
    bounds: Bounds,
    scheduled: Scheduled,
    program: CProgram,
    banks: Sequence[Bank],
    measured: Measured | None,
    notes: Sequence[Mapping[str, str]],
    target: str,
) -> dict[str, Any]:
    """The report as JSON data; stack, code and tables are None where no Arm compiler could measure them.

    ``bounds`` are those of the graph before the scheduler chose operators, so they hold for any choice. Only what one
    job needs is about the operators that were chosen.
    """
    graph, plan = scheduled.graph, scheduled.plan
    modes = Options(plan.input_mode, plan.output_mode)
    static = static_bytes(program)
    weights = sum(array.bytes for array in program.arrays)
    ops = _ops(graph, plan, program)
    return {
        "model": program.name,
        "source": graph.name,
        "target": target,
        "arithmetic": graph.arithmetic,
        "schedule": plan.schedule,
        "input_mode": plan.input_mode,
        "output_mode": plan.output_mode,
        "ram": {
            "total": plan.arena + static + (measured.stack if measured else 0),
            "arena": plan.arena,
            "stack": measured.stack if measured else None,
            "static": static,
            "banks": [
                {"name": bank.name, "used": used, "size": bank.size}
                for bank, used in zip(banks, plan.bank_sizes, strict=False)
            ],
        },
        "flash": {
            "total": measured.code + measured.constants if measured else None,
            "weights": weights,
            "code": measured.code if measured else None,
            "tables": measured.constants - weights if measured else None,
        },
        "macs": {"nominal": graph.nominal_macs, "executed": plan.executed_macs},
        "cycles": {"estimated": sum(op["cycles"] for op in ops)},
        "lower_bound": bound_report(bounds, one_job(Network(graph), modes), plan.arena),
        "search": optimality(scheduled, bounds.bytes),
        "stages": [asdict(stage) for stage in plan.stages],
        "buffers": [_buffer(buffer) for buffer in plan.buffers],
        "peak": {"step": plan.peak_step, "live_bytes": plan.live_peak, "buffers": list(plan.peak_buffers)},
        "steps": plan.jobs,
        "ops": ops,
        "inputs": [_port(port) for port in program.inputs],
        "outputs": [_port(port) for port in program.outputs],
        "stack_path": list(measured.stack_path) if measured else [],
        "notes": [*notes, *_notes("schedule", plan.notes), *_notes("kernels", _choices(graph))],
    }


def _notes(name: str, texts: Iterable[str]) -> list[dict[str, str]]:
    return [{"pass": name, "text": text} for text in texts]


def _choices(graph: Graph) -> list[str]:
    return [f"'{node.name}', {choice}" for node in graph.nodes for choice in int_op(node).choices()]


def bound_report(bounds: Bounds, job: Bound, arena: int) -> dict[str, Any]:
    """What is known from below, and ``gap``: how many times the bound the arena is (None for a bound of 0)."""
    cut = bounds.row_cut
    of = FRAMES
    if cut is not None and cut.bytes >= bounds.frames:
        of = f"{CARRIED} after {cut.after_rows} input rows"
    return {
        "bytes": bounds.bytes,
        "of": of,
        "gap": round(arena / bounds.bytes, 3) if bounds.bytes else None,
        "frames": {"bytes": bounds.frames, "of": FRAMES},
        "row_cut": _cut(cut, CARRIED),
        "partial_sums": _cut(bounds.partial_sums, f"{CARRIED} or partial sums of any operator"),
        "one_job": {**asdict(job), "of": "input rows and output row of a single job"},
        "layerwise": {**asdict(bounds.layerwise), "of": "no bound: whole tensors side by side, layer by layer"},
    }


def _cut(cut: RowCut | None, of: str) -> dict[str, Any] | None:
    return None if cut is None else {**asdict(cut), "of": of}


def _buffer(buffer: Buffer) -> dict[str, Any]:
    keys = ("name", "kind", "offset", "size", "bank", "first_step", "last_step", "shares_with")
    return {key: getattr(buffer, key) for key in keys}


def _port(port: Any) -> dict[str, Any]:
    keys = ("name", "argument", "height", "width", "channels", "bytes", "zero_point")
    return {key: getattr(port, key) for key in keys} | {"scale": float(port.scale.rstrip("f"))}


def _ops(graph: Graph, plan: Plan, program: CProgram) -> list[dict[str, Any]]:
    """Per operator in order of execution; ``ram`` is the most that is in use while it runs, ``cycles`` an estimate."""
    by_name = {node.name: node for node in graph.nodes}
    order = [name for stage in plan.stages for name in stage.nodes]
    most = most_in_use(graph, plan)
    result = []
    for index, name in enumerate(order):
        node = by_name[name]
        op = int_op(node)
        result.append(
            {
                "name": name,
                "op": node.op.name,
                "kernel": program.ops[index].kernel,
                "macs": op.macs(node.input_types, node.output.type),
                "cycles": op.cycles(node.input_types, node.output.type),
                "ram": most[name],
                "weights": op.weight_bytes(),
                "choices": list(op.choices()),
                "output": list(node.output.type.shape),
            }
        )
    return result
