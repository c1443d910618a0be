"""The worst-case stack of a linked program: frames from -fstack-usage, calls from the disassembly.

A call through a pointer counts as a call of every function whose address the program takes (in an operator
table, say), so the result is an upper bound. Functions without a .su record, i.e. of libraries, are measured
by what their instructions push, and so are those whose record is 0: a function in assembly (`naked`) has such a
record whatever it pushes. Where compiled code ends in a jump to another function, its frame is gone by then: only
assembly, and a compiler's cold part of a function, jump with theirs in place. Recursion and frames of unknown size are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnnc.diagnostics import CompileError
from rnnc.toolchain.tools import check_tool, find_tool

_FUNCTION = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_TARGET = re.compile(r"\b([0-9a-f]+) <([^>+]+)>")
_BRANCH = re.compile(r"^(?:bl|b|b(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le))(?:\.[nw])?$|^cbn?z$")
_INDIRECT_TAIL = re.compile(r"^(?:r\d+|ip|fp|sl)$")
_LIST = re.compile(r"\{([^}]*)\}")
_IMMEDIATE = re.compile(r"#(-?\d+)")
_RELOCATION = re.compile(
    r"^[0-9a-f]+\s+[0-9a-f]+\s+R_ARM_(?:ABS32|TARGET1|MOVW_ABS_NC|THM_MOVW_ABS_NC)\s+([0-9a-f]+)\s"
)
_CLONE = re.compile(r"\.(?:constprop|isra|part|cold|lto_priv)\.?\d*.*$")
_UNCOUNTED_SECTIONS = (".vectors", ".debug", ".ARM")


@dataclass(frozen=True)
class StackReport:
    """Worst-case bytes of stack from ``root`` on (its own frame included) and the calls that lead there."""

    root: str
    bytes: int
    path: tuple[str, ...]


@dataclass
class _Function:
    name: str
    pushed: int = 0
    unbounded: bool = False
    calls: set[int] = field(default_factory=set)
    jumps: set[int] = field(default_factory=set)
    indirect: bool = False


@dataclass(frozen=True)
class CallGraph:
    """The functions of one program by address; ``frames`` in bytes, None where the size is not bounded. ``tails``
    are the calls that take the place of the caller's frame.
    """

    names: Mapping[int, str]
    frames: Mapping[int, int | None]
    calls: Mapping[int, frozenset[int]]
    tails: Mapping[int, frozenset[int]]

    def worst_case(self, root: str) -> StackReport:
        """The deepest call path from the function named ``root``.

        Raises CompileError if there is no such function, on recursion and on frames without a bound.
        """
        starts = [address for address, name in self.names.items() if name == root]
        if not starts:
            raise CompileError(f"the program has no function '{root}'", where="stack analysis")
        known: dict[int, tuple[int, tuple[int, ...]]] = {}
        total, path = max(self._deepest(start, (), known) for start in starts)
        return StackReport(root, total, tuple(self.names[address] for address in path))

    def _deepest(
        self, at: int, callers: tuple[int, ...], known: dict[int, tuple[int, tuple[int, ...]]]
    ) -> tuple[int, tuple[int, ...]]:
        if at in known:
            return known[at]
        if at in callers:
            cycle = [self.names[address] for address in (*callers[callers.index(at) :], at)]
            raise CompileError("the stack has no bound", where=cycle[0], why=f"recursion: {' -> '.join(cycle)}")
        frame = self.frames[at]
        if frame is None:
            raise CompileError(
                "the stack has no bound",
                where=self.names[at],
                why="its frame has a size known only at run time",
            )
        callers = (*callers, at)
        below = [self._deepest(callee, callers, known) for callee in sorted(self.calls[at])]
        after = [self._deepest(callee, callers, known) for callee in sorted(self.tails[at])]
        deepest = max(below, default=(0, ()))
        total, path = max([(frame + deepest[0], deepest[1]), *after])
        known[at] = (total, (at, *path))
        return known[at]


def read_call_graph(elf: Path, usage: Iterable[Path]) -> CallGraph:
    """The call graph of an Arm ELF file linked with --emit-relocs; ``usage`` are the compiler's .su files."""
    listing = check_tool([find_tool("arm-none-eabi-objdump"), "-d", elf], where=str(elf))
    relocations = check_tool([find_tool("arm-none-eabi-readelf"), "-rW", elf], where=str(elf))
    functions = _parse_listing(listing)
    declared = _read_usage(usage)
    taken = _address_taken(relocations) & functions.keys()
    frames: dict[int, int | None] = {}
    tails: dict[int, frozenset[int]] = {}
    for address, function in functions.items():
        base = _CLONE.sub("", function.name)
        pushed = None if function.unbounded else function.pushed
        frame = declared.get(function.name, declared.get(base, 0))
        frames[address] = pushed if frame == 0 else frame
        within = {target for target in function.jumps if frame == 0 or _is_cold(function, functions.get(target))}
        function.calls |= within
        tails[address] = frozenset(function.jumps - within) & functions.keys()
    return CallGraph(
        names={address: function.name for address, function in functions.items()},
        frames=frames,
        calls={
            address: frozenset((function.calls | (taken if function.indirect else set())) & functions.keys())
            for address, function in functions.items()
        },
        tails=tails,
    )


def _is_cold(*functions: _Function | None) -> bool:
    return any(function is not None and ".cold" in function.name for function in functions)


def _read_usage(files: Iterable[Path]) -> dict[str, int | None]:
    """Frame sizes by function; the largest of several functions of the same name, None for dynamic ones."""
    frames: dict[str, int | None] = {}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            place, size, kind = line.split("\t")
            name = place.rsplit(":", 1)[1]
            bounded = kind == "static" or "bounded" in kind
            known = frames.get(name, 0)
            frames[name] = max(known, int(size)) if bounded and known is not None else None
    return frames


def _address_taken(relocations: str) -> set[int]:
    taken: set[int] = set()
    counted = False
    for line in relocations.splitlines():
        if line.startswith("Relocation section"):
            section = line.split("'")[1].removeprefix(".rel")
            counted = not section.startswith(_UNCOUNTED_SECTIONS)
        elif counted and (match := _RELOCATION.match(line)):
            value = int(match[1], 16)
            if value & 1:  # functions have the Thumb bit, data has not
                taken.add(value & ~1)
    return taken


def _parse_listing(listing: str) -> dict[int, _Function]:
    functions: dict[int, _Function] = {}
    address, function = -1, _Function("")
    for line in listing.splitlines():
        if head := _FUNCTION.match(line):
            address, function = int(head[1], 16), _Function(head[2])
            functions[address] = function
        elif (match := _disassembled(line)) is not None:
            _note_instruction(function, address, *match)
    return functions


def _disassembled(line: str) -> tuple[str, str] | None:
    """Mnemonic and operands of a line such as ``   8:\\tb510      \\tpush\\t{r4, lr}``."""
    parts = line.split("\t")
    if len(parts) < 3 or not parts[0].rstrip().endswith(":"):
        return None
    return parts[2].strip(), parts[3].split(";")[0].split("@")[0].strip() if len(parts) > 3 else ""


def _note_instruction(function: _Function, address: int, mnemonic: str, operands: str) -> None:
    if _BRANCH.match(mnemonic):
        target = _TARGET.search(operands)
        links = mnemonic.partition(".")[0] == "bl"
        # A plain branch to the own start is a loop, not a call.
        if target and (int(target[1], 16) != address or links):
            (function.calls if links else function.jumps).add(int(target[1], 16))
    elif mnemonic.startswith("blx") or (mnemonic.startswith("bx") and _INDIRECT_TAIL.match(operands)):
        function.indirect = True
    else:
        _note_push(function, mnemonic.partition(".")[0], operands)


def _note_push(function: _Function, mnemonic: str, operands: str) -> None:
    registers = _LIST.search(operands)
    if registers and (mnemonic in ("push", "vpush") or operands.startswith("sp!")):
        if mnemonic in ("push", "vpush", "stmdb", "vstmdb"):
            function.pushed += _register_bytes(registers[1])
    elif mnemonic in ("sub", "subw", "subs") and operands.startswith("sp"):
        amount = _IMMEDIATE.search(operands)
        function.unbounded |= amount is None
        function.pushed += int(amount[1]) if amount else 0
    elif mnemonic in ("str", "strd", "vstr") and "[sp, #-" in operands and operands.endswith("]!"):
        amount = _IMMEDIATE.search(operands)
        function.pushed += -int(amount[1]) if amount else 0


def _register_bytes(registers: str) -> int:
    total = 0
    for part in registers.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        total += count * (8 if first.startswith("d") else 4)
    return total
