"""OpenOCD as far as it goes without a probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rnnc.diagnostics import CompileError, VerificationError
from rnnc.target import load_board
from rnnc.toolchain import openocd


def test_configuration_is_accepted() -> None:
    openocd.check_config(load_board("stm32f439"))


def test_broken_configuration_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "openocd.cfg"
    config.write_text("source [find target/no-such-chip.cfg]\n", encoding="utf-8")
    with pytest.raises(CompileError, match="OpenOCD refuses its configuration") as caught:
        openocd.check_config(replace(load_board("stm32f439"), openocd_config=config))
    assert "no-such-chip" in str(caught.value)


def test_missing_probe_is_reported_as_such(tmp_path: Path) -> None:
    """Holds on any machine without an ST-LINK; with one, the empty image is refused instead."""
    image = tmp_path / "firmware.elf"
    image.write_bytes(b"\x7fELF")
    with pytest.raises(CompileError, match=r"no debug probe was found|OpenOCD failed") as caught:
        openocd.flash(image, load_board("stm32f439"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("log", "what", "remedy"),
    [
        ("Error: open failed", "no debug probe was found", "by USB"),
        (
            "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed",
            "may not be used",
            "udev",
        ),
        ("Error: init mode failed (unable to connect to the target)", "does not answer", "power"),
        ("Error: something new", "OpenOCD failed", None),
    ],
)
def test_messages(log: str, what: str, remedy: str | None) -> None:
    error = openocd.flash_error(f"Open On-Chip Debugger 0.12.0\n{log}\n", load_board("stm32f439"))
    assert what in str(error)
    assert error.why is not None and error.why.startswith("Error:")
    assert error.remedy is None if remedy is None else remedy in str(error.remedy)


def test_failed_verification_is_one() -> None:
    error = openocd.flash_error("Error: checksum mismatch - attempting binary compare\n", load_board("stm32f439"))
    assert isinstance(error, VerificationError)
    assert error.exit_code == 1


def test_boards_without_openocd_cannot_be_flashed(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="'host' cannot be flashed"):
        openocd.flash(tmp_path / "firmware.elf", load_board("host"))


def test_missing_image(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no image to flash"):
        openocd.flash(tmp_path / "firmware.elf", load_board("stm32f439"))
