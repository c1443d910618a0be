"""Builds an image from a bundle: the bundle's C, the firmware, the board and, where wanted, CMSIS-DSP."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnnc.diagnostics import BudgetError, CompileError
from rnnc.resources import boards_dir, runtime_dir
from rnnc.target import ISA_DSP, Board, load_board
from rnnc.toolchain import cmsis as cmsis_dsp
from rnnc.toolchain.objects import ObjectBuilder, Unit
from rnnc.toolchain.stack import StackReport, read_call_graph
from rnnc.toolchain.tools import check_tool, find_tool, first_lines, run_tool

ARM_GCC = "arm-none-eabi-gcc"
BUNDLE_OPTIMISATION = "-O2"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic")
ENTRY = "Reset_Handler"
ENGINE = "rnnc_engine_step"

_SECTIONS = ("-ffunction-sections", "-fdata-sections")
_LINK = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,--emit-relocs")
# What an exception pushes with the FPU in use: a board without a debugger takes one when it looks for a host.
_EXCEPTION_FRAME = 104
_STACK_MARGIN = 64
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_MEMORIES = {"FLASH": "flash", "SRAM": "RAM", "BANK1": "the second RAM bank"}


@dataclass(frozen=True)
class Section:
    """A section of the linked program: address and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Image:
    """A built program. Sizes in bytes: ``text`` is code and constants, ``data`` and ``bss`` static
    variables without arena and stack. ``stack`` is the worst case of the whole program, ``engine_stack`` of
    the model alone; both None on a host, where ``bin`` and ``map`` are None and ``sections`` is empty too.
    """

    elf: Path
    bin: Path | None
    map: Path | None
    text: int
    data: int
    bss: int
    sections: tuple[Section, ...] = ()
    stack: StackReport | None = None
    engine_stack: StackReport | None = None

    @property
    def flash(self) -> int:
        """Bytes of flash: code, constants and the initial values of variables."""
        return self.text + self.data

    def section(self, name: str) -> Section | None:
        """The section of that name, if the image has it."""
        return next((section for section in self.sections if section.name == name), None)


def build(
    bundle_dir: Path,
    board: Board,
    build_dir: Path,
    *,
    trace: bool = False,
    portable: bool = False,
    cmsis: Path | None = None,
    extra_flags: Sequence[str] = (),
) -> Image:
    """Compile and link ``bundle_dir`` for ``board`` into ``build_dir`` (firmware.elf, .bin, .map).

    ``trace`` makes the firmware write every row to trace.bin, ``portable`` leaves the DSP kernels out,
    ``cmsis`` is the folder of the CMSIS-DSP sources, used where the core can. ``extra_flags`` go to the
    compiler, for bundle, firmware and board. The stack section is as large as the analysis says it can get.

    Raises CompileError if a tool is missing or refuses its input and BudgetError if the program does not fit
    the board; whatever was in ``build_dir`` before is then still there.
    """
    with _workplace(build_dir) as work:
        defines = ("-DRNNC_HOOKS", *(("-DRNNC_TRACE",) if trace else ()))
        units = _bundle_units(bundle_dir, board, (*defines, *extra_flags), portable, cmsis)
        units += _firmware_units(bundle_dir, board, (*defines, *extra_flags))
        compiler = find_tool("cc" if board.is_host else ARM_GCC)
        objects = ObjectBuilder(compiler, work).build(units)
        if board.is_host:
            program = work / "firmware.elf"
            done = run_tool([compiler, *extra_flags, *objects, "-o", program])
            _check_link(done.returncode, done.stderr, bundle_dir)
            return _keep(_host_image(program), build_dir)
        return _keep(_link_bare(compiler, board, objects, work, bundle_dir), build_dir)


@dataclass(frozen=True)
class ModelSize:
    """What calling a bundle costs a user's own program on a Cortex-M4: ``stack`` in the worst case, ``code`` and
    ``constants`` (weights, tables) in bytes of flash."""

    stack: StackReport
    code: int
    constants: int


def measure_model(
    bundle_dir: Path, root: str, *others: str, portable: bool = False, cmsis: Path | None = None
) -> ModelSize:
    """Flash of a bundle of which a program calls ``root`` (face_run, say) and ``others`` (face_init), and the stack
    of calling ``root``; without firmware and hooks.

    Raises CompileError as ``build`` does.
    """
    board = load_board("stm32f439")
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        work = Path(name)
        compiler = find_tool(ARM_GCC)
        objects = ObjectBuilder(compiler, work).build(_bundle_units(bundle_dir, board, (), portable, cmsis))
        elf = work / "model.elf"
        entry = ["-Wl,-e," + root, *(f"-Wl,--undefined={name}" for name in (root, *others))]
        done = run_tool([compiler, *board.cpu_flags, *objects, *_LINK, *entry, "-o", elf])
        _check_link(done.returncode, done.stderr, bundle_dir)
        stack = read_call_graph(elf, work.glob("*.su")).worst_case(root)
        sizes = {section.name: section.size for section in _read_sections(elf)}
        return ModelSize(stack, sizes.get(".text", 0), sizes.get(".rodata", 0) + sizes.get(".data", 0))


def _bundle_units(
    bundle_dir: Path, board: Board, flags: tuple[str, ...], portable: bool, cmsis: Path | None
) -> list[Unit]:
    sources = sorted(bundle_dir.glob("*.c"))
    if not sources:
        raise CompileError(
            "this is not a compiled model",
            where=str(bundle_dir),
            why="it holds no C file",
            remedy="rnnc compile",
        )
    code = _code_flags(board)
    own = (*WARNINGS, *code, *flags, *(("-DRNNC_PORTABLE",) if portable else ()))
    if cmsis is None or portable or board.isa != ISA_DSP:
        return [Unit(source, own, (bundle_dir,)) for source in sources]
    shim = (runtime_dir() / "cmsis", cmsis / "Include", cmsis / "PrivateInclude")
    units = [Unit(source, (*own, "-DRNNC_CMSIS_DSP"), (bundle_dir,), shim) for source in sources]
    library = ("-std=gnu11", *code)
    return units + [Unit(cmsis / name, library, (), shim) for name in cmsis_dsp.SOURCES]


def _firmware_units(bundle_dir: Path, board: Board, flags: tuple[str, ...]) -> list[Unit]:
    bare = () if board.is_host else ("-DRNNC_BOARD_BARE",)
    own = (*WARNINGS, *_code_flags(board), *bare, *flags)
    firmware = boards_dir() / "firmware"
    include = (firmware, *board.include, board.folder)
    units = [Unit(source, own, include) for source in board.sources]
    return [*units, Unit(firmware / "main.c", own, (*include, bundle_dir))]


def _code_flags(board: Board) -> tuple[str, ...]:
    if board.is_host:
        return (BUNDLE_OPTIMISATION,)
    return (*board.cpu_flags, BUNDLE_OPTIMISATION, *_SECTIONS, "-fstack-usage")


def _link_bare(compiler: str, board: Board, objects: list[Path], work: Path, bundle_dir: Path) -> Image:
    """Links twice: only the linked program tells how much stack it can need."""
    if board.linker_script is None:
        raise CompileError("the board has no linker script", where=str(board.folder / "board.toml"))
    elf, map_file, binary = work / "firmware.elf", work / "firmware.map", work / "firmware.bin"
    scripts: list[str | Path] = ["-T", board.linker_script]
    scripts += [f"-L{folder}" for folder in board.include]
    stack_size = 8
    for _ in range(2):
        layout = [f"-Wl,--defsym=__stack_size={stack_size}", f"-Wl,-Map={map_file}"]
        command = [compiler, *board.cpu_flags, *objects, *_LINK, *scripts, *layout, "-o", elf]
        done = run_tool(command)
        _check_link(done.returncode, done.stderr, bundle_dir)
        graph = read_call_graph(elf, work.glob("*.su"))
        stack = graph.worst_case(ENTRY)
        stack_size = (stack.bytes + _EXCEPTION_FRAME + _STACK_MARGIN + 7) // 8 * 8
    check_tool([find_tool("arm-none-eabi-objcopy"), "-O", "binary", elf, binary], where=str(elf))
    sections = _read_sections(elf)
    sizes = {section.name: section.size for section in sections}
    return Image(
        elf=elf,
        bin=binary,
        map=map_file,
        text=binary.stat().st_size - sizes.get(".data", 0),
        data=sizes.get(".data", 0),
        bss=sizes.get(".bss", 0),
        sections=sections,
        stack=stack,
        engine_stack=graph.worst_case(ENGINE),
    )


def _check_link(returncode: int, message: str, bundle_dir: Path) -> None:
    if returncode == 0:
        return
    overflows = _OVERFLOW.findall(message)
    if overflows:
        places = [f"{int(size):,} bytes too much for {_MEMORIES.get(name, name)}" for name, size in overflows]
        raise BudgetError(
            "the program does not fit the board",
            where=str(bundle_dir),
            why="; ".join(places),
            remedy="compile with a smaller --ram or --flash, or choose a smaller model",
        )
    raise CompileError("the linker refused the program", where=str(bundle_dir), why=first_lines(message))


def _read_sections(elf: Path) -> tuple[Section, ...]:
    """The sections that take memory on the target, in file order."""
    listing = check_tool([find_tool("arm-none-eabi-readelf"), "-SW", elf], where=str(elf))
    pattern = re.compile(r"^\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\S+\s+\w*A")
    matches = filter(None, map(pattern.match, listing.splitlines()))
    return tuple(Section(match[1], int(match[2], 16), int(match[3], 16)) for match in matches)


def _host_image(program: Path) -> Image:
    """Sizes are for information only here, so a host without the `size` program just has none."""
    size = shutil.which("size")
    figures = check_tool([size, program], where=str(program)).splitlines()[1].split() if size else ["0"] * 3
    return Image(program, None, None, int(figures[0]), int(figures[1]), int(figures[2]))


@contextmanager
def _workplace(build_dir: Path) -> Iterator[Path]:
    try:
        build_dir.mkdir(parents=True, exist_ok=True)
        work = tempfile.TemporaryDirectory(dir=build_dir, prefix=".build-")
    except OSError as error:
        raise CompileError("cannot write to the build folder", where=str(build_dir), why=str(error)) from error
    with work as name:
        yield Path(name)


def _keep(image: Image, build_dir: Path) -> Image:
    """Moves the finished files into place, each in one step."""

    def move(path: Path) -> Path:
        return path.replace(build_dir / path.name)

    return Image(
        elf=move(image.elf),
        bin=move(image.bin) if image.bin else None,
        map=move(image.map) if image.map else None,
        text=image.text,
        data=image.data,
        bss=image.bss,
        sections=image.sections,
        stack=image.stack,
        engine_stack=image.engine_stack,
    )
