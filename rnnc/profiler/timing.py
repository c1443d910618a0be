"""What instructions cost on a Cortex-M4: section 3.3 of its Technical Reference Manual, r0p1.

Memory without wait states; docs/profiling.md says what the model leaves out. A cost has a part that is paid each time
the instruction runs, and the refill of the pipeline, which is paid when it is left by a jump.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rnnc.profiler.listing import Instruction

_CONDITION = "(?:eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le|al)?"
_LOAD = re.compile(rf"ldr(?:ex)?(?:b|h|sb|sh)?t?{_CONDITION}$")
_STORE = re.compile(rf"str(?:ex)?(?:b|h)?t?{_CONDITION}$")
_DOUBLE = re.compile(rf"(?:ldrd|strd){_CONDITION}$")
_MULTIPLE = re.compile(rf"(?:(?:ldm|stm)(?:ia|db|fd|ea)?|push|pop){_CONDITION}$")
_DIVIDE = re.compile(rf"[us]div{_CONDITION}$")
_TABLE_BRANCH = re.compile(r"tb[bh]$")
_BRANCH = re.compile(rf"(?:bl?x?{_CONDITION}|cbn?z)$")
_SYSTEM = re.compile(rf"(?:mrs|msr){_CONDITION}$")
_BARRIER = re.compile(r"(?:dsb|dmb|isb)$")
_FLAGS_ONLY = re.compile(rf"(?:cmp|cmn|tst|teq){_CONDITION}$|it[te]*$|nop$")
_TWO_RESULTS = re.compile(r"(?:[us]mull|[us]mlal|umaal|smlald|smlsld|smlal[bt])")
_FLOAT_MULTIPLE = re.compile(r"v(?:ldm|stm|push|pop)")
_FLOAT_SINGLE = re.compile(rf"v(?:ldr|str){_CONDITION}(?:\.\d+)?$")
_FLOAT_LONG = re.compile(r"v(?:div|sqrt)")
_FLOAT_FUSED = re.compile(r"v(?:f?n?ml[as]|f?nm[as]|fm[as])")
_LIST = re.compile(r"\{([^}]*)\}")
_REGISTER = re.compile(r"\b(?:r\d+|ip|sp|lr|pc|fp|sl|s[bp])\b")
_BRACKETS = re.compile(r"\[([^\]]*)\]")
_OFFSET_REGISTER = re.compile(r"\[[^\],]+,\s*-?[a-z]")


@dataclass(frozen=True)
class Timing:
    """The figures that the manual leaves open, in cycles.

    ``refill`` is P of a taken branch (1 to 3, by alignment and width of its target), ``divide`` a division (2 to 12, by
    its operands), ``address_stall`` what a load or store waits whose address the instruction before has computed: the
    manual says 1, and 0 counts these places without adding them.
    """

    refill: int = 2
    divide: int = 6
    address_stall: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """Cycles of one pass over some instructions, not left by a jump; ``stalls`` are the possible address stalls,
    included as far as the Timing says so."""

    instructions: int
    cycles: int
    stalls: int


def block_cost(timing: Timing, block: Sequence[Instruction], before: Instruction | None = None) -> Cost:
    """The cost of instructions that run one after the other; ``before`` is what ran just before them, None after a
    jump, when nothing can overlap."""
    costs = [instruction_cost(timing, at, previous) for previous, at in zip((before, *block), block, strict=False)]
    return Cost(len(costs), sum(cost.cycles for cost in costs), sum(cost.stalls for cost in costs))


@lru_cache(maxsize=1 << 16)
def instruction_cost(timing: Timing, at: Instruction, before: Instruction | None) -> Cost:
    """The cost of one instruction; ``before`` as in `block_cost`."""
    cycles = _cycles(timing, at, before)
    stalls = int(_has_address(at) and before is not None and bool(_results(before) & _address_registers(at)))
    return Cost(1, cycles + stalls * timing.address_stall, stalls)


def _cycles(timing: Timing, at: Instruction, before: Instruction | None) -> int:
    name = at.mnemonic
    if _LOAD.match(name):
        return 1 if _overlaps(before, at) else 2
    if _STORE.match(name):
        # With an immediate offset the address is ready in the first cycle, and the write buffer does the rest.
        return 2 if _OFFSET_REGISTER.search(at.operands) and not _overlaps(before, at) else 1
    if _DOUBLE.match(name):
        return 3
    if _MULTIPLE.match(name):
        return 1 + _listed(at.operands)
    if _DIVIDE.match(name):
        return timing.divide
    if _TABLE_BRANCH.match(name) or _SYSTEM.match(name):
        return 2
    if name.startswith("v"):
        return _float_cycles(at)
    return 1


def _float_cycles(at: Instruction) -> int:
    name = at.mnemonic
    if _FLOAT_MULTIPLE.match(name):
        return 1 + _listed(at.operands)
    if _FLOAT_SINGLE.match(name):
        return 3 if at.operands.startswith("d") else 2
    if _FLOAT_LONG.match(name):
        return 14
    if _FLOAT_FUSED.match(name):
        return 3
    two = name.startswith("vmov") and at.operands.count(",") > 1
    return 2 if two else 1


def _overlaps(before: Instruction | None, at: Instruction) -> bool:
    """Whether the address phase of ``at`` runs beside the data phase of the load before it."""
    if before is None or not _LOAD.match(before.mnemonic):
        return False
    return _first_register(before) not in _address_registers(at)


def _listed(operands: str) -> int:
    """Words in a register list; a range counts all it spans, a d register two words."""
    found = _LIST.search(operands)
    count = 0
    for item in (found[1] if found else "").split(","):
        first, _, last = item.strip().partition("-")
        span = int(last[1:]) - int(first[1:]) + 1 if last else 1
        count += span * (2 if first.startswith("d") else 1)
    return count


def _has_address(at: Instruction) -> bool:
    return "[" in at.operands


def _address_registers(at: Instruction) -> frozenset[str]:
    found = _BRACKETS.search(at.operands)
    return frozenset(_REGISTER.findall(found[1])) - {"pc"} if found else frozenset()


def _first_register(at: Instruction) -> str:
    return at.operands.split(",", 1)[0].strip()


def _results(at: Instruction) -> frozenset[str]:
    """The core registers that a data-processing instruction writes; none for any other."""
    name = at.mnemonic
    if "[" in at.operands or "{" in at.operands or name.startswith("v"):
        return frozenset()
    if _FLAGS_ONLY.match(name) or _BRANCH.match(name) or _BARRIER.match(name):
        return frozenset()
    written = at.operands.split(",")[: 2 if _TWO_RESULTS.match(name) else 1]
    return frozenset(register.strip() for register in written)
