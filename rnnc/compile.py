"""The compiler on one page: ONNX in, a bundle of C out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnc.bundle import bundle_files, check_writable, write_bundle
from rnnc.codegen.lower import check_name, identifier, lower
from rnnc.codegen.program import CProgram
from rnnc.codegen.render import render, runtime_files
from rnnc.codegen.report import Measured, build_report, static_bytes
from rnnc.diagnostics import BudgetError, CompileError
from rnnc.frontend import Model
from rnnc.frontend.calibrate import Method, calibrate, calibration_runs
from rnnc.frontend.importer import import_model
from rnnc.frontend.load import load_model
from rnnc.frontend.samples import Samples, generated_samples, input_specs, load_samples
from rnnc.frontend.sparsify import sparsify
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Graph
from rnnc.ir.ops import FLOAT_OPS
from rnnc.ir.text import print_graph
from rnnc.pages.report import report_page
from rnnc.passes import FLOAT_PASSES, PASS_NAMES, integer_passes, needs_ranges, run_passes
from rnnc.scheduler.auto import Mode
from rnnc.scheduler.bounds import Bounds, memory_bounds
from rnnc.scheduler.choose import Optimize, Scheduled, Wish, choose, front
from rnnc.scheduler.execution import Network
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.scheduler.segments import Options as Modes
from rnnc.scheduler.widen import Widening, affordable, summary, widened, widenings
from rnnc.target import Target, load_target
from rnnc.toolchain.cc import ARM_GCC, measure_model
from rnnc.toolchain.cmsis import locate
from rnnc.toolchain.tools import has_tool

GENERATED_SAMPLES, SEED = 16, 0

BESIDE = 512
"""Bytes of stack and static data that are reckoned with before they are known: few, so that nothing is refused that
fits."""

NOWHERE = Path()
"""The output folder of an exploration that writes nothing."""

Progress = Callable[[str, int, int], None]
"""Receives (what is going on, how much is done, of how much)."""


def _silent(text: str, done: int, total: int) -> None:
    """No progress display."""


@dataclass(frozen=True)
class Options:
    """What `rnnc compile` was asked for; sizes in bytes."""

    model: Path
    out: Path
    target: str = "cortex-m4"
    name: str | None = None
    calibration: Path | None = None
    method: Method = "mse"
    ram: int | None = None
    flash: int | None = None
    schedule: Mode = "auto"
    input_mode: InputMode = "buffer"
    output_mode: OutputMode = "buffer"
    optimize: Optimize = "balanced"
    arithmetic: Arithmetic = "fast"
    dump_after: str | None = None
    sparsity: Mapping[str, float] | None = None


@dataclass
class Compilation:
    """What a compilation found out beside its files: warnings for the user, notes of the passes, a dump."""

    report: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    dump: str | None = None


def compile_model(options: Options, progress: Progress = _silent) -> Compilation:
    """Compile ``options.model`` into the folder ``options.out``.

    Raises CompileError for anything the user must change and BudgetError where --ram, --flash or the target's
    memory is exceeded; the output folder is then as it was.
    """
    check_writable(options.out)
    name = check_name(options.name or identifier(options.model.stem))
    target = load_target(options.target)
    result = Compilation()

    progress("reading the model", 0, 1)
    model = load_model(options.model)
    graph = integer_graph(model, options, result, progress)

    made = _generate(graph, target, name, options, progress)
    made = _widened(made, target, name, options)
    if made.measured is None:
        result.warnings.append(f"stack and code size are not known, because {ARM_GCC} is missing (see rnnc doctor)")
    result.report = _report(_bounds(graph, options), made, target, result, options)
    _check_budgets(options, target, made.plan, result.report)
    write_bundle(options.out, _files(made, result.report))
    return result


@dataclass(frozen=True)
class Point:
    """One of the plans that `rnnc explore` lists, as its report.json; ``folder``: where its C was written."""

    report: dict[str, Any]
    folder: Path | None


def explore_model(options: Options, result: Compilation, progress: Progress = _silent) -> Iterator[Point]:
    """Plans of a model from the fewest MACs to the least RAM, each compiled; into ``options.out``/0, 1, ... where
    that is given as a folder that does not exist yet or is empty."""
    name = check_name(options.name or identifier(options.model.stem))
    target = load_target(options.target)
    progress("reading the model", 0, 1)
    graph = integer_graph(load_model(options.model), options, result, progress)
    wish = Wish(target, options.schedule, options.input_mode, options.output_mode, reserved=BESIDE)
    bounds = _bounds(graph, options)
    smallest: int | None = None
    index = 0
    for scheduled in front(graph, wish, _judging(progress)):
        progress(f"compiling plan {index}", 0, 1)
        made = _print(scheduled, name)
        report = _report(bounds, made, target, result, options)
        total = report["ram"]["total"]
        if smallest is not None and total >= smallest:  # its stack takes more than its arena saves
            continue
        smallest = total
        folder = None if options.out == NOWHERE else options.out / str(index)
        if folder is not None:
            write_bundle(folder, _files(made, report))
        yield Point(report, folder)
        index += 1


@dataclass(frozen=True)
class _Generated:
    scheduled: Scheduled
    program: CProgram
    sources: dict[str, str]
    measured: Measured | None
    widened: tuple[Widening, ...] = ()

    @property
    def flash(self) -> int | None:
        """Bytes of code and constants, if they could be measured."""
        return self.measured.code + self.measured.constants if self.measured else None

    @property
    def plan(self) -> Plan:
        return self.scheduled.plan

    @property
    def beside_arena(self) -> int:
        """Bytes of the first bank that stack and static data take."""
        return static_bytes(self.program) + (self.measured.stack if self.measured else 0)


def _generate(graph: Graph, target: Target, name: str, options: Options, progress: Progress) -> _Generated:
    """Schedule and print C: the first plan that fits with its own stack and static data, which only its C can tell."""
    progress("scheduling", 0, 1)
    modes = options.schedule, options.input_mode, options.output_mode
    wish = Wish(target, *modes, options.optimize, options.ram, BESIDE)
    failure: BudgetError | None = None
    for scheduled in choose(graph, wish, _judging(progress)):
        progress("writing C", 0, 1)
        made = _print(scheduled, name)
        if not _over(made, options, target):
            return made
        try:
            plan = replace(wish, reserved=made.beside_arena).plan(scheduled.graph)
        except BudgetError as error:
            failure = error
            continue
        return _print(replace(scheduled, plan=plan), name)
    if failure is None:
        raise ValueError("there is nothing to choose from")
    raise failure


def _widened(made: _Generated, target: Target, name: str, options: Options) -> _Generated:
    """The same with operators that take more flash and fewer cycles, as far as flash and RAM are there: where a size
    of flash is given, or speed is all that counts; then just what is faster in the target's flash, too."""
    wanted = options.flash is not None or options.optimize == "speed"
    if not (wanted and target.has_dsp and made.flash is not None):
        return made
    limit = target.flash_size if options.flash is None else options.flash
    room = limit - made.flash
    while room > 0:
        other = _widened_into(made, room, target, name, options)
        if other is None or other.flash is None:
            break
        if other.flash <= limit and not _over(other, options, target):
            return other
        room -= max(other.flash - limit, room // 8 + 1)
    return made


def _widened_into(made: _Generated, room: int, target: Target, name: str, options: Options) -> _Generated | None:
    """The same with ``room`` bytes more of constants, None where there is nothing to be had for them."""
    graph = made.scheduled.graph
    modes = options.schedule, options.input_mode, options.output_mode
    wish = Wish(target, *modes, options.optimize, options.ram, made.beside_arena)
    most = None if options.optimize == "speed" or options.ram is not None else made.plan.arena

    def plan(chosen: Sequence[Widening]) -> Plan | None:
        try:
            found = wish.plan(widened(graph, chosen))
        except BudgetError:
            return None
        return found if most is None or found.arena <= most else None

    found = widenings(graph, target.flash_waits if options.flash is None else 0)
    chosen = affordable(found, room)
    better = plan(chosen)
    if better is None:
        chosen = affordable(found, room, lambda some: plan(some) is not None)
        better = plan(chosen)
    if not chosen or better is None:
        return None
    scheduled = replace(made.scheduled, graph=widened(graph, chosen), plan=better)
    return replace(_print(scheduled, name), widened=tuple(chosen))


def _judging(progress: Progress) -> Callable[[int], None]:
    return lambda count: progress(f"searching: {count} choices of operators judged", 0, 1)


def _print(scheduled: Scheduled, name: str) -> _Generated:
    program = lower(scheduled.graph, scheduled.plan, name)
    sources = {**render(program), **runtime_files(program)}
    return _Generated(scheduled, program, sources, _measure(sources, program))


def _files(made: _Generated, report: Mapping[str, Any]) -> dict[str, bytes]:
    graph, plan = made.scheduled.graph, made.plan
    page = report_page(report, graph, plan)
    return bundle_files(graph, plan, dict(report), {**made.sources, "report.html": page})


def _over(made: _Generated, options: Options, target: Target) -> bool:
    """Whether stack and static data, now that they are known, leave too little for the arena."""
    total = made.plan.arena + made.beside_arena
    in_first_bank = made.plan.bank_sizes[0] + made.beside_arena
    return in_first_bank > target.banks[0].size or (options.ram is not None and total > options.ram)


def _bounds(graph: Graph, options: Options) -> Bounds:
    return memory_bounds(Network(graph), Modes(options.input_mode, options.output_mode))


def _report(bounds: Bounds, made: _Generated, target: Target, result: Compilation, options: Options) -> dict[str, Any]:
    wide = summary(made.widened)
    notes = [*result.notes, *({"pass": "widen", "text": text} for text in wide.texts)]
    report = build_report(bounds, made.scheduled, made.program, target.banks, made.measured, notes, options.target)
    return report | {"widened": {"layers": wide.layers, "bytes": wide.bytes, "cycles": wide.cycles}}


def integer_graph(model: Model, options: Options, result: Compilation, progress: Progress) -> Graph:
    """Import a model and run the whole pipeline of passes, calibrating where the model is not quantised."""
    if options.dump_after is not None and options.dump_after not in PASS_NAMES:
        raise CompileError(f"there is no pass '{options.dump_after}'", remedy=f"one of {', '.join(PASS_NAMES)}")

    def note(name: str, text: str) -> None:
        result.notes.append({"pass": name, "text": text})

    def after(name: str, graph: Graph) -> None:
        if name == options.dump_after:
            result.dump = print_graph(graph, inline=16)

    if options.sparsity:
        note("sparsify", sparsify(model, options.sparsity))
    graph = import_model(model, FLOAT_OPS)
    graph.arithmetic = options.arithmetic
    run_passes(graph, FLOAT_PASSES, note, after)
    if not needs_ranges(graph):
        run_passes(graph, integer_passes({}), note, after)
        return graph
    samples = _samples(model, options, result)
    ranges = _ranges(model, samples, options, progress)
    progress("rounding weights", 0, 1)
    run_passes(graph, integer_passes(ranges, list(samples)), note, after)
    return graph


def _samples(model: Model, options: Options, result: Compilation) -> Samples:
    specs = input_specs(model)
    if options.calibration is not None:
        return load_samples(options.calibration, specs)
    result.warnings.append(
        "calibrated on generated inputs: the accuracy of this int8 model is not to be trusted "
        "(give --calibration X.npz with real ones)"
    )
    return generated_samples(specs, GENERATED_SAMPLES, SEED)


def _ranges(model: Model, samples: Samples, options: Options, progress: Progress) -> Mapping[str, tuple[float, float]]:
    total = calibration_runs(len(samples), options.method)
    found = calibrate(model, samples, method=options.method, progress=lambda done: progress("calibrating", done, total))
    return {name: (item.low, item.high) for name, item in found.items()}


def _measure(sources: Mapping[str, str], program: CProgram) -> Measured | None:
    """Stack and code size, as far as an Arm compiler is there."""
    if not has_tool(ARM_GCC):
        return None
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text)
        size = measure_model(Path(folder), f"{program.name}_run", f"{program.name}_init", cmsis=locate())
    return Measured(size.stack.bytes, size.stack.path, size.code, size.constants)


def _check_budgets(options: Options, target: Target, plan: Plan, report: Mapping[str, Any]) -> None:
    ram, flash = report["ram"]["total"], report["flash"]["total"]
    if options.ram is not None and ram > options.ram:
        raise BudgetError(
            f"the model needs {ram:,} bytes of RAM, {ram - options.ram:,} more than --ram allows",
            where=f"step {plan.peak_step}, where {', '.join(plan.peak_buffers[:4])} are live",
            why=f"arena {plan.arena:,}, stack {report['ram']['stack']}, static {report['ram']['static']:,}",
            remedy="try --schedule auto, --input-mode stream, or a smaller input",
        )
    limit = options.flash if options.flash is not None else target.flash_size
    if flash is not None and flash > limit:
        raise BudgetError(
            f"the model needs {flash:,} bytes of flash, {flash - limit:,} more than there are",
            why=f"weights {report['flash']['weights']:,}, code {report['flash']['code']:,}",
            remedy="use a narrower network, or a chip with more flash",
        )
