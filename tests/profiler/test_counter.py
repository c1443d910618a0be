"""Counts of the plugin and cycles of the model, on loops that are counted by hand in the comments."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnc.diagnostics import CompileError
from rnnc.profiler.counter import build_plugin, count
from rnnc.profiler.listing import Listing, read_listing
from rnnc.profiler.profile import Figures, estimate
from rnnc.profiler.timing import Timing
from rnnc.target import load_board
from rnnc.toolchain.cc import ARM_GCC, Image
from rnnc.toolchain.tools import check_tool, find_tool

LOOPS = Path(__file__).with_name("loops.S")
BOARD = load_board("qemu-mps2-an386")
ORDER = (0, 1, 2, 0, 3, 4, 5)
"""Layers of the jobs in loops.S: count_down runs twice."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Listing]:
    elf = tmp_path_factory.mktemp("loops") / "loops.elf"
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-nostdlib"]
    layout = ["-Wl,--section-start=.vectors=0", "-Wl,-Ttext=0x100"]
    check_tool([find_tool(ARM_GCC), *flags, *layout, LOOPS, "-o", elf], where="loops.S")
    return Image(elf, None, None, 0, 0, 0), read_listing(elf)


@pytest.fixture(scope="module")
def figures(program: tuple[Image, Listing]) -> list[Figures]:
    image, listing = program
    return estimate(listing, count(image, BOARD, listing, ORDER, 6), Timing())


def test_a_loop_that_jumps_back_nine_times_of_ten(figures: list[Figures]) -> None:
    # movs 1; 10 subs; 10 bne, 9 of them taken: 10 + 9 * 2; bx 1 + 2. Twice.
    assert (figures[1].instructions, figures[1].jumps, figures[1].cycles) == (2 * 22, 2 * 10, 2 * 42)


def test_a_branch_that_is_taken_every_other_time(figures: list[Figures]) -> None:
    # movs 1; 8 times tst, beq, subs, bne: 32; 4 times two nops: 8; beq taken 4 times, bne 7 times, bx: 12 * 2; bx 1.
    assert (figures[2].instructions, figures[2].jumps, figures[2].cycles) == (1 + 32 + 8 + 1, 12, 1 + 32 + 8 + 1 + 24)


def test_loads_that_overlap_and_flash_that_is_read(figures: list[Figures]) -> None:
    # 3; 5 times ldr 2, ldr 1, str 1, str 1, subs 1, bne 1; 4 jumps back and bx: 5 * 2; bx 1.
    assert (figures[3].instructions, figures[3].cycles) == (3 + 30 + 1, 3 + 5 * 7 + 1 + 10)
    assert figures[3].flash_loads == 10
    # 40 bytes from an address that is a multiple of 4 lie in 3 or 4 lines of 16 bytes.
    assert figures[3].data_misses in (3, 4)
    assert figures[3].unaligned_loads == figures[3].unaligned_stores == 0


def test_unaligned_accesses(figures: list[Figures]) -> None:
    # mov 1; ldr 2 + 2 (odd), ldr 1 + 1 (halfword), ldrh 1 + 1 (odd), ldrh 1; str 1; bx 3.
    assert (figures[4].instructions, figures[4].cycles) == (7, 1 + 4 + 2 + 2 + 1 + 1 + 3)
    assert (figures[4].unaligned_loads, figures[4].unaligned_cycles, figures[4].unaligned_stores) == (3, 4, 1)
    assert figures[4].flash_loads == 0


def test_blocks_that_end_at_a_page_go_on_behind_it(program: tuple[Image, Listing], figures: list[Figures]) -> None:
    assert program[1].function("across_pages").start % 1024 == 1016
    # mov 1; ldr 2, ldr 1, ldr 1, ldr 1; bx 3.
    assert (figures[5].instructions, figures[5].jumps, figures[5].cycles) == (6, 1, 9)


def test_an_instruction_that_lies_in_two_pages_counts_once(figures: list[Figures]) -> None:
    # mov 1; nop 1; mov 1; bx 3.
    assert (figures[6].instructions, figures[6].jumps, figures[6].cycles) == (4, 1, 6)


def test_the_rest_is_the_engine(figures: list[Figures]) -> None:
    # In jobs, after the bl of Reset_Handler: push {r4, lr} 3, 7 times two bl: 42, pop {r4, pc} 3 + 2; the bl to jobs
    # is 3, the bl to the marker that ends it is run but was not left yet when counting stopped: 3.
    assert figures[0].cycles == 3 + 3 + 42 + 5 + 3
    assert figures[0].instructions == 1 + 1 + 14 + 1 + 1


def test_lines_of_code_that_are_fetched(figures: list[Figures]) -> None:
    # The two or three lines of count_down are missed once: with the first job, not with the second.
    assert 1 <= figures[1].code_misses <= 2 <= figures[1].code_lines


def test_another_number_of_jobs_is_refused(program: tuple[Image, Listing]) -> None:
    image, listing = program
    with pytest.raises(CompileError, match="the program ran 7 jobs, the plan has 2"):
        count(image, BOARD, listing, (0, 1), 5)


def test_the_plugin_is_built_once() -> None:
    first = build_plugin()
    stamp = first.stat().st_mtime_ns
    assert build_plugin() == first
    assert first.stat().st_mtime_ns == stamp
