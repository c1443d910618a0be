"""Images that nobody answers: no semihosting, no files, only a serial port."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.toolchain.run import checksum, self_test_input
from rnnc.toolchain.tools import find_tool

SECONDS = 20.0
INPUT_BYTES = 20


def serial_lines(machine: str, serial_ports: list[str], elf: Path, count: int) -> list[str]:
    """The first lines on the serial port of an image that runs for ever."""
    command = [find_tool("qemu-system-arm"), "-M", machine, "-display", "none", "-monitor", "none"]
    for port in serial_ports:
        command += ["-serial", port]
    process = subprocess.Popen([*command, "-kernel", str(elf)], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        if process.stdout is None:
            return []
        return [process.stdout.readline().strip() for _ in range(count)]
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


# QEMU has no STM32F439; its STM32F405 has the same core, flash and USART3, and no clock tree at all, so the
# time limits of the clock set-up are put to the test too.
@pytest.mark.parametrize(
    ("name", "machine", "serial_ports"),
    [
        ("qemu-mps2-an386", "mps2-an386", ["stdio"]),
        ("stm32f439", "netduinoplus2", ["null", "null", "stdio"]),
    ],
)
def test_self_test_over_the_serial_port(
    bundle: Path, tmp_path: Path, name: str, machine: str, serial_ports: list[str]
) -> None:
    image = build(bundle, load_board(name), tmp_path / "out")
    result, stack = serial_lines(machine, serial_ports, image.elf, 2)
    expected = checksum(bytes(v if v == 0x7F else (v + 1) & 0xFF for v in self_test_input(INPUT_BYTES)))
    assert result.startswith("rnnc: self-test cycles ")
    assert result.endswith(f" checksum 0x{expected:08x}")
    assert stack.startswith("rnnc: stack ")
