"""The fixture model as a bundle, and the CMSIS-DSP sources."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rnnc.resources import runtime_dir
from rnnc.toolchain import cmsis

FIXTURE = Path(__file__).parent / "fixture_bundle"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle as the compiler would write it: the fixture model beside the runtime files that it needs."""
    folder = tmp_path / "bundle"
    shutil.copytree(FIXTURE, folder)
    shutil.copy(runtime_dir() / "include" / "rnnc.h", folder)
    shutil.copy(runtime_dir() / "src" / "engine.c", folder)
    shutil.copy(runtime_dir() / "include" / "rnnc_config.h", folder)
    return folder


@pytest.fixture(scope="session")
def cmsis_sources() -> Path:
    """The pinned sources, from the cache or downloaded."""
    return cmsis.fetch()
