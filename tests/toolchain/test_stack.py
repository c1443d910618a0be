"""Stack analysis on programs whose worst case can be counted by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rnnc.diagnostics import CompileError
from rnnc.target import load_board
from rnnc.toolchain.stack import CallGraph, read_call_graph
from rnnc.toolchain.tools import find_tool

# root 8 -> middle 4 + 24 -> the deeper of leaf (20 + 16) and, through a pointer, kernel (4 + 4 + 256).
ASSEMBLY = """
    .syntax unified
    .thumb
    .macro function name
    .section .text.\\name, "ax"
    .global \\name
    .type \\name, %function
    .thumb_func
\\name:
    .endm
    function root
    push {r4, lr}
    bl middle
    pop {r4, pc}
    function middle
    str lr, [sp, #-4]!
    sub sp, #24
    bl leaf
    ldr r3, =table
    ldr r3, [r3]
    blx r3
    add sp, #24
    ldr pc, [sp], #4
    .ltorg
    function leaf
    stmdb sp!, {r4, r5, r6, r7, lr}
    vpush {d8-d9}
    vpop {d8-d9}
    ldmia sp!, {r4, r5, r6, r7, pc}
    function kernel
    push {r4}
    sub sp, #256
    b tail
    function tail
    push {r5}
    pop {r5}
    bx lr
    function unused
    sub sp, #4000
    bx lr
    .section .rodata.table, "a"
    .align 2
table:
    .word kernel
"""

C_CODE = """
int leaf(volatile int *p, int n);
int root(int n);
int leaf(volatile int *p, int n) { volatile char big[512]; big[n] = (char)*p; return big[0]; }
int root(int n) { volatile int small[4]; small[0] = n; return leaf(small, n) + 1; }
"""


def analyse(folder: Path, source: str, suffix: str) -> CallGraph:
    file, elf = folder / f"code{suffix}", folder / "code.elf"
    file.write_text(source, encoding="utf-8")
    board = load_board("stm32f439")
    flags = [*board.cpu_flags, "-Os", "-ffunction-sections", "-fno-inline"]
    compiler = find_tool("arm-none-eabi-gcc")
    subprocess.run([compiler, *flags, "-fstack-usage", "-c", file, "-o", folder / "code.o"], check=True)
    link = ["-nostdlib", "-Wl,--gc-sections", "-Wl,--emit-relocs", "-Wl,-e,root"]
    subprocess.run([compiler, *flags, folder / "code.o", *link, "-o", elf], check=True)
    return read_call_graph(elf, folder.glob("*.su"))


def test_frames_are_measured_from_instructions(tmp_path: Path) -> None:
    graph = analyse(tmp_path, ASSEMBLY, ".s")
    report = graph.worst_case("root")
    assert report.path == ("root", "middle", "kernel", "tail")
    assert report.bytes == 8 + (4 + 24) + (4 + 256) + 4
    assert graph.worst_case("leaf").bytes == 20 + 16


def test_frames_come_from_the_compiler(tmp_path: Path) -> None:
    report = analyse(tmp_path, C_CODE, ".c").worst_case("root")
    declared = {
        line.split("\t")[0].rsplit(":", 1)[1]: int(line.split("\t")[1])
        for line in (tmp_path / "code.su").read_text(encoding="utf-8").splitlines()
    }
    assert report.path == ("root", "leaf")
    assert report.bytes == declared["root"] + declared["leaf"]
    assert report.bytes >= 512 + 16


def test_a_tail_call_takes_the_place_of_its_caller(tmp_path: Path) -> None:
    """The larger of the two counts; in assembly, both (`kernel` and `tail` above)."""
    code = """
        int leaf(volatile int *p, int n) { volatile int small[8]; small[n] = *p; return small[0]; }
        int middle(int n) { volatile char big[256]; big[n] = 1; return leaf((int *)0, big[0]); }
        int root(int n) { return middle(n) + 1; }
    """
    graph = analyse(tmp_path, code, ".c")
    leaf, middle = graph.worst_case("leaf").bytes, graph.worst_case("middle").bytes
    assert 0 < leaf < middle < 256 + leaf
    assert graph.worst_case("root").path == ("root", "middle")


def test_recursion_is_refused(tmp_path: Path) -> None:
    code = "int other(int n);\nint root(int n) { return n ? other(n) + 1 : 0; }\n"
    code += "int other(int n) { return root(n - 1) * 3; }\n"
    with pytest.raises(CompileError, match="recursion: root -> other -> root"):
        analyse(tmp_path, code, ".c").worst_case("root")


def test_dynamic_frame_is_refused(tmp_path: Path) -> None:
    code = "void use(volatile char *p, int n);\nvoid use(volatile char *p, int n) { p[n] = 1; }\n"
    code += "void root(int n) { volatile char p[n]; use(p, n / 2); }\n"
    with pytest.raises(CompileError, match="size known only at run time"):
        analyse(tmp_path, code, ".c").worst_case("root")


def test_unknown_root(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no function 'stem'"):
        analyse(tmp_path, C_CODE, ".c").worst_case("stem")


def test_a_function_in_assembly_counts_what_it_pushes(tmp_path: Path) -> None:
    """The compiler's record of a naked function says 0 bytes."""
    body = '__asm__ volatile("push {r1-r11, lr}\\n sub sp, #8\\n add sp, #8\\n pop {r1-r11, pc}\\n");'
    source = f"""
        __attribute__((naked, noinline, used)) static void bare(void) {{ {body} }}
        void root(void) {{ bare(); __asm__ volatile("" ::: "memory"); }}
        void _start(void) {{ root(); }}
    """
    graph = analyse(tmp_path, source, ".c")
    assert graph.worst_case("bare").bytes == 12 * 4 + 8
