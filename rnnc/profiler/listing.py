"""The instructions and functions of a linked Arm program, from its disassembly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnc.diagnostics import CompileError
from rnnc.toolchain.tools import check_tool, find_tool

_FUNCTION = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t((?:[0-9a-f]{4} ?)+)\s*\t([a-z]\S*)(?:\t(.*))?$")
_REMARK = re.compile(r"\s*[;@].*$")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: ``size`` in bytes, ``mnemonic`` with condition but without width (.n, .w), ``operands`` as
    objdump writes them."""

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.size


@dataclass(frozen=True, slots=True)
class Function:
    """A named piece of code, from ``start`` to before ``end``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Listing:
    """A program: its instructions by address, and its functions in order of address."""

    instructions: Mapping[int, Instruction]
    functions: tuple[Function, ...]

    def between(self, start: int, end: int) -> tuple[Instruction, ...]:
        """The instructions from ``start`` to before ``end``; raises CompileError where there is none."""
        found, address = [], start
        while address < end:
            instruction = self.instructions.get(address)
            if instruction is None:
                raise CompileError(f"the program has no instruction at 0x{address:x}", where="profile")
            found.append(instruction)
            address = instruction.end
        return tuple(found)

    def function(self, name: str) -> Function:
        """The function of that name; raises CompileError if there is none."""
        for function in self.functions:
            if function.name == name:
                return function
        raise CompileError(f"the program has no function '{name}'", where="profile")

    def caller_of(self, name: str) -> Function:
        """The function that calls ``name``; raises CompileError unless there is exactly one."""
        called = re.compile(rf"<{re.escape(name)}>$")
        places = [i.address for i in self.instructions.values() if i.mnemonic == "bl" and called.search(i.operands)]
        callers = {f for f in self.functions if any(f.start <= place < f.end for place in places)}
        if len(callers) != 1:
            raise CompileError(f"'{name}' is called by {len(callers)} functions, not by one", where="profile")
        return callers.pop()


def read_listing(elf: Path) -> Listing:
    """Disassemble ``elf``. Raises CompileError if objdump is missing or refuses it."""
    return parse_listing(check_tool([find_tool("arm-none-eabi-objdump"), "-d", elf], where=str(elf)))


def parse_listing(text: str) -> Listing:
    """The listing that ``objdump -d`` printed; mapping symbols and local labels count as functions too."""
    instructions: dict[int, Instruction] = {}
    starts: list[tuple[int, str]] = []
    end = 0
    for line in text.splitlines():
        if label := _FUNCTION.match(line):
            starts.append((int(label[1], 16), label[2]))
        elif found := _INSTRUCTION.match(line):
            address, size = int(found[1], 16), len(found[2].replace(" ", "")) // 2
            mnemonic = found[3].removesuffix(".n").removesuffix(".w")
            instructions[address] = Instruction(address, size, mnemonic, _REMARK.sub("", found[4] or ""))
            end = address + size
    ends = [start for start, _ in starts[1:]] + [end]
    functions = tuple(Function(name, start, stop) for (start, name), stop in zip(starts, ends, strict=True))
    return Listing(instructions, functions)
