"""Where CMSIS-DSP comes from, what is refused as such, and what `doctor` says."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from rnnc.diagnostics import CompileError
from rnnc.toolchain import cmsis, doctor


def archive_with(path: Path, member: tarfile.TarInfo, data: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(data))
    return path


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def test_sources_are_complete(cmsis_sources: Path) -> None:
    assert cmsis.is_complete(cmsis_sources)
    assert len(set(cmsis.SOURCES)) == len(cmsis.SOURCES)


def test_folder_from_the_environment(cmsis_sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cmsis.ENVIRONMENT, str(cmsis_sources))
    assert cmsis.locate() == cmsis_sources
    monkeypatch.setenv(cmsis.ENVIRONMENT, str(tmp_path))
    with pytest.raises(CompileError, match="not the CMSIS-DSP sources") as caught:
        cmsis.locate()
    assert f"unset {cmsis.ENVIRONMENT}" in str(caught.value)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    archive = archive_with(tmp_path / "cmsisdsp.tar.gz", member("cmsisdsp/Source/a.c", 3), b"abc")
    with pytest.raises(CompileError, match="not the CMSIS-DSP archive"):
        cmsis.extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "bad",
    [
        member("cmsisdsp/Source/../../escape.c"),
        member("cmsisdsp/Source/link.c", kind=tarfile.SYMTYPE),
        member("cmsisdsp/Source/pipe.c", kind=tarfile.FIFOTYPE),
    ],
    ids=["parent", "link", "pipe"],
)
def test_hostile_members_are_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    archive = archive_with(tmp_path / "a.tar.gz", bad)
    with pytest.raises(CompileError, match="no use for"):
        cmsis.extract_tar(archive, tmp_path / "out")
    assert not (tmp_path / "escape.c").exists()


def test_only_sources_are_extracted(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("c/Source/a.c", "c/setup.py", "c/LICENSE", "/etc/passwd"):
            tar.addfile(member(name, 3), io.BytesIO(b"abc"))
    cmsis.extract_tar(archive, tmp_path / "out")
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert found == ["LICENSE", "Source/a.c"]


def test_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cmsis.ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cmsis, "VERSION", "0.0.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(CompileError, match="cannot download CMSIS-DSP") as caught:
        cmsis.fetch()
    assert cmsis.ENVIRONMENT in str(caught.value.remedy)
    assert list((tmp_path / "rnnc").iterdir()) == []


def test_doctor_finds_what_is_here() -> None:
    found = {check.name: check for check in doctor.checks()}
    for name in ("C compiler", "arm-none-eabi-gcc", "newlib", "qemu-system-arm", "openocd"):
        assert found[name].found and found[name].version and not found[name].remedy


def test_doctor_tells_how_to_get_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(cmsis.ENVIRONMENT, str(tmp_path))
    checks = {check.name: check for check in doctor.checks()}
    assert checks["qemu-system-arm"].remedy == "apt install qemu-system-arm"
    assert checks["newlib"].remedy == "apt install libnewlib-arm-none-eabi"
    assert "gcc-arm-none-eabi" in checks["arm-none-eabi-gcc"].remedy
    cmsis_check = checks[f"CMSIS-DSP {cmsis.VERSION}"]
    assert not cmsis_check.found and cmsis.ENVIRONMENT in cmsis_check.remedy
