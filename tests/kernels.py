"""Runs C kernels on operator samples, on this computer and on an emulated Cortex-M4, beside numpy.

One program holds all samples; kernel_driver/driver.c gives each kernel its rows in blocks of exactly their size.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from rnnc.codegen.cprint import array_definition, struct_definition
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.op import Field, IntOp, Kernel, Sample, Table, evaluate
from rnnc.ir.ops import OPS
from rnnc.ir.types import ELEMENT_BYTES, INTEGER_RANGE, Array, TensorType
from rnnc.resources import boards_dir, runtime_dir
from rnnc.target import Board, load_board
from rnnc.toolchain.cc import WARNINGS
from rnnc.toolchain.objects import ObjectBuilder, Unit
from rnnc.toolchain.tools import check_tool, find_tool, first_lines, run_tool

Place = Literal["host", "qemu", "qemu-portable"]

MAX_ROWS = 64
NO_WINDOW = 255
DRIVER = Path(__file__).parent / "kernel_driver"
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True, eq=False)
class Trial:
    """Input arrays for a sample; rows start ``misalignment`` bytes off, the output row is window ``in_place``."""

    label: str
    inputs: tuple[Array, ...]
    misalignment: int = 0
    in_place: int = NO_WINDOW

    def to_bytes(self) -> bytes:
        return bytes([self.misalignment, self.in_place]) + b"".join(x.tobytes() for x in self.inputs)


@dataclass(frozen=True, eq=False)
class Case:
    """A sample with its trials."""

    op: type[IntOp]
    sample: Sample
    trials: tuple[Trial, ...]

    @property
    def label(self) -> str:
        return f"{self.op.name} [{self.sample.label}]"


@dataclass(frozen=True, eq=False)
class Result:
    """What a kernel made of a trial; ``ticks`` of the board's counter, ``damaged``: it wrote outside its rows."""

    output: Array
    ticks: int
    damaged: bool


@dataclass(frozen=True, eq=False)
class Run:
    """Results of each case, trial by trial; fewer where the program ended early, which ``failure`` describes."""

    results: list[list[Result]]
    failure: str


def int_ops() -> tuple[type[IntOp], ...]:
    """The integer operators of the registry."""
    return tuple(op for op in OPS if issubclass(op, IntOp))


def rng_for(op: type[IntOp]) -> np.random.Generator:
    """A generator that gives an operator the same samples in every run."""
    return np.random.default_rng(zlib.crc32(op.name.encode()))


def arithmetics_of(value: object) -> set[Arithmetic]:
    """The arithmetics that an operator, or a part of it, was made for."""
    if not is_dataclass(value):
        parts = value if isinstance(value, tuple) else ()
        return set().union(*(arithmetics_of(part) for part in parts))
    found: set[Arithmetic] = set()
    for item in fields(value):
        part = getattr(value, item.name)
        found |= {part} if item.name == "arithmetic" else arithmetics_of(part)
    return found


def random_input(rng: np.random.Generator, type_: TensorType) -> Array:
    low, high = INTEGER_RANGE[type_.dtype]
    return rng.integers(low, high + 1, type_.shape).astype(type_.dtype)


def extreme_inputs(type_: TensorType) -> Iterator[tuple[str, Array]]:
    low, high = INTEGER_RANGE[type_.dtype]
    yield "lowest", np.full(type_.shape, low, type_.dtype)
    yield "highest", np.full(type_.shape, high, type_.dtype)
    alternating = np.where(np.arange(type_.elements) % 2, low, high)
    yield "alternating", alternating.reshape(type_.shape).astype(type_.dtype)


def trials_of(op: type[IntOp], sample: Sample, rng: np.random.Generator) -> Iterator[Trial]:
    """Extreme inputs, random ones at every misalignment, and in place where the operator can be."""
    for variants in zip(*(extreme_inputs(type_) for type_ in sample.inputs), strict=True):
        yield Trial(variants[0][0], tuple(array for _, array in variants))

    def random() -> tuple[Array, ...]:
        return tuple(random_input(rng, type_) for type_ in sample.inputs)

    for misalignment in range(4):
        yield Trial(f"random, {misalignment} bytes off", random(), misalignment)
    for index, window in enumerate(sample.op.windows(sample.inputs)):
        if window.input in op.in_place:
            yield Trial(f"random, in place of input {window.input}", random(), 0, index)


def cases_of(op: type[IntOp], arithmetic: Arithmetic) -> Iterator[Case]:
    """The operator's samples for one arithmetic, those without any included."""
    rng = rng_for(op)
    for sample in list(op.samples(rng)):
        if arithmetic in (arithmetics_of(sample.op) or {arithmetic}):
            yield Case(op, sample, tuple(trials_of(op, sample, rng)))


def expected(case: Case, trial: Trial) -> Array:
    """What the operator's numpy definition gives."""
    return evaluate(case.sample.op, trial.inputs, case.sample.inputs, case.sample.output)


# --- printing cases.c ---


def print_cases(cases: Sequence[Case]) -> str:
    """The C file that describes ``cases`` to the driver."""
    kernels = [case.sample.op.kernel(case.sample.inputs, case.sample.output) for case in cases]
    headers = sorted({f"rnnc_{kernel.source}.h" for kernel in kernels})
    functions = sorted({kernel.function for kernel in kernels})
    parts = ['#include "cases.h"\n', *(f'#include "{header}"\n' for header in headers), "\n"]
    parts += [f"rnnc_kernel {function};\n" for function in functions]
    entries = []
    for index, (case, kernel) in enumerate(zip(cases, kernels, strict=True)):
        parts += print_parameters(index, kernel)
        parts.append(print_geometry(index, case.sample))
        entries.append(print_entry(index, case, kernel))
    room = max(sum(type_.bytes for type_ in case.sample.inputs) for case in cases)
    parts.append("const kernel_case kernel_cases[] = {\n" + ",\n".join(entries) + ",\n};\n")
    parts.append(f"const uint32_t n_kernel_cases = {len(cases)};\nuint8_t kernel_inputs[{room}];\n")
    return "".join(parts)


def print_parameters(index: int, kernel: Kernel) -> Iterator[str]:
    members: list[tuple[str, str]] = []
    for number, (key, value) in enumerate(kernel.members.items()):
        members.append((key, print_field(value, f"c{index}_{number}")))
        if isinstance(value, Table):
            yield array_definition(f"c{index}_{number}", value.ctype, value.values, "static")
    yield struct_definition(f"c{index}", kernel.struct, members)


def print_field(value: Field, table: str) -> str:
    if isinstance(value, Table):
        return table
    return "NULL" if value is None else str(value)


def print_tensor(type_: TensorType) -> str:
    return f"{{{type_.row_bytes}, {type_.height}, {ELEMENT_BYTES[type_.dtype]}}}"


def print_geometry(index: int, sample: Sample) -> str:
    windows = sample.op.windows(sample.inputs)
    assert sum(window.rows for window in windows) <= MAX_ROWS, f"too many rows for one job: {sample.label}"
    tensors = ", ".join(print_tensor(type_) for type_ in sample.inputs)
    rows = ", ".join(
        f"{{{w.input}, {w.rows}, {w.stride}, {w.dilation}, {w.pad}, {int(w.edge)}, {w.last(0) + 1}}}" for w in windows
    )
    return (
        f"static const case_tensor c{index}_inputs[] = {{{tensors}}};\n"
        f"static const rnnc_window c{index}_windows[] = {{{rows}}};\n"
    )


def print_entry(index: int, case: Case, kernel: Kernel) -> str:
    op, inputs, output = case.sample.op, case.sample.inputs, case.sample.output
    numbers = (
        f"{len(inputs)}, {len(op.windows(inputs))}, {print_tensor(output)}, {op.scratch_bytes(inputs, output)}, "
        f"{op.state_bytes(inputs, output)}, {op.jobs(inputs, output)}, {len(case.trials)}"
    )
    label = case.label.replace("\\", "/").replace('"', "'")
    pointers = f'"case {label}\\n", {kernel.function}, &c{index}, c{index}_inputs, c{index}_windows'
    return f"    {{{pointers}, {numbers}}}"


# --- building and running ---


def sources_of(cases: Sequence[Case]) -> list[Path]:
    """The runtime files of the kernels' families."""
    root = runtime_dir() / "src"
    kernels = [case.sample.op.kernel(case.sample.inputs, case.sample.output) for case in cases]
    families = {stem for kernel in kernels for stem in (kernel.source, *kernel.uses)}
    portable = [root / f"{family}.c" for family in families]
    dsp = [path for family in families for path in (root / "dsp").glob(f"{family}*.c")]
    return sorted({path for path in (*portable, *dsp) if path.exists()})


def build(cases: Sequence[Case], place: Place, arithmetic: Arithmetic, work: Path, extra: Sequence[Path]) -> Path:
    """The program that runs ``cases``; warnings are errors."""
    board = load_board("host" if place == "host" else "qemu-mps2-an386")
    generated = work / "cases.c"
    generated.write_text(print_cases(cases))
    flags = [*WARNINGS, "-Werror", f"-DRNNC_TFLITE={int(arithmetic == 'tflite')}", *code_flags(board)]
    if place == "qemu-portable":
        flags.append("-DRNNC_PORTABLE")
    include = (runtime_dir() / "include", DRIVER, boards_dir() / "firmware", *board.include)
    sources = [*sources_of(cases), *extra, DRIVER / "driver.c", generated, *board.sources]
    compiler = find_tool("cc" if board.is_host else "arm-none-eabi-gcc")
    objects = ObjectBuilder(compiler, work).build([Unit(source, tuple(flags), include) for source in sources])
    program = work / "kernels.elf"
    check_tool([compiler, *flags, *objects, *link_flags(board), "-o", program], where="kernels.elf")
    return program


def code_flags(board: Board) -> tuple[str, ...]:
    if board.is_host:
        return SANITIZE
    bank = board.banks[1]
    fence = f"-DKERNEL_FENCE={bank.base + bank.size:#x}u"
    return (*board.cpu_flags, "-O2", "-ffunction-sections", "-DRNNC_BOARD_BARE", fence)


def link_flags(board: Board) -> tuple[str, ...]:
    if board.is_host:
        return ()
    folders = [f"-L{folder}" for folder in board.include]
    script = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-T", str(board.linker_script)]
    return (*script, *folders, "-Wl,--defsym=__stack_size=32768")


def run_cases(cases: Sequence[Case], place: Place, arithmetic: Arithmetic, extra: Sequence[Path] = ()) -> Run:
    """Build and run ``cases`` at one place; ``extra`` are C files of kernels that are not the runtime's."""
    with tempfile.TemporaryDirectory(prefix="rnnc-kernels-") as name:
        work = Path(name)
        program = build(cases, place, arithmetic, work, extra)
        inputs = b"".join(trial.to_bytes() for case in cases for trial in case.trials)
        (work / "input.bin").write_bytes(inputs)
        done = run_tool(command(program, place), cwd=work, timeout=120)
        log = done.stdout + done.stderr
        failure = "" if done.returncode == 0 else f"the program ended in {last_lines(log)}"
        data = (work / "output.bin").read_bytes()
    return Run(
        [list(results_of(case, data, start)) for case, start in zip(cases, offsets(cases), strict=True)], failure
    )


def command(program: Path, place: Place) -> list[str | Path]:
    if place == "host":
        return [program]
    machine = load_board("qemu-mps2-an386").machine or ""
    quiet = ["-display", "none", "-monitor", "none", "-serial", "none"]
    # One instruction every 64 ns, which is what the board's counter takes for granted.
    counting = ["-icount", "shift=6,sleep=off", "-semihosting-config", "enable=on,target=native"]
    return [find_tool("qemu-system-arm"), "-M", machine, *quiet, *counting, "-kernel", program]


def last_lines(log: str) -> str:
    """The case that was running, and what stopped it."""
    lines = log.splitlines()
    sanitizer = [line for line in lines if "ERROR" in line or "runtime error" in line or "#1" in line]
    cases = [line for line in lines if line.startswith("case ")]
    return first_lines("\n".join([*cases[-1:], *sanitizer, *[line for line in lines if "rnnc: error" in line]]))


def result_bytes(case: Case) -> int:
    return 5 + case.sample.output.bytes


def offsets(cases: Sequence[Case]) -> list[int]:
    """Where each case's results start in output.bin."""
    sizes = [len(case.trials) * result_bytes(case) for case in cases]
    return [sum(sizes[:index]) for index in range(len(sizes))]


def results_of(case: Case, data: bytes, start: int) -> Iterator[Result]:
    output, size = case.sample.output, result_bytes(case)
    for index in range(len(case.trials)):
        record = data[start + index * size : start + (index + 1) * size]
        if len(record) < size:
            return
        array = np.frombuffer(record, output.dtype, offset=5).reshape(output.shape)
        yield Result(array, int.from_bytes(record[1:5], "little"), record[0] != 0)


def disagreement(case: Case, results: Sequence[Result], failure: str) -> str:
    """What is wrong with a case's results; empty if nothing is."""
    for trial, result in zip(case.trials, results, strict=False):
        where = f"{case.label}, {trial.label}"
        if result.damaged:
            return f"{where}: wrote outside its buffers"
        want = expected(case, trial)
        if not np.array_equal(want, result.output):
            wrong = np.argwhere(want != result.output)
            at = tuple(int(i) for i in wrong[0])
            return (
                f"{where}: {len(wrong)} of {want.size} elements differ, first at {at}: "
                f"numpy {want[at]}, C {result.output[at]}"
            )
    if len(results) < len(case.trials):
        return f"{case.label}: no result, {failure}"
    return ""
