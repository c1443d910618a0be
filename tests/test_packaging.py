"""The wheel: everything that an installed rnnc needs travels in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("rnnc-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def below(folder: str, *suffixes: str) -> set[str]:
    """Files of the checkout below a folder, by their path in it."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_the_runtime_and_the_boards_are_in_it(wheel: list[str]) -> None:
    data = below("runtime", ".c", ".h") | below("boards", ".c", ".h", ".toml", ".ld", ".cfg", ".S", ".s")
    assert len(data) > 30
    assert {f"rnnc/_data/{name}" for name in data} <= set(wheel)


def test_the_package_is_in_it(wheel: list[str]) -> None:
    assert below("rnnc", ".py", ".j2", ".typed") | {"rnnc/py.typed"} <= set(wheel)


def test_nothing_else_is_in_it(wheel: list[str]) -> None:
    strangers = [name for name in wheel if not name.startswith(("rnnc/", "rnnc-"))]
    assert strangers == []
    assert not [name for name in wheel if "__pycache__" in name or name.endswith((".o", ".su", ".elf"))]
    assert len(wheel) == len(set(wheel))


def test_licence_and_entry_point(wheel: list[str]) -> None:
    (info,) = {name.split("/")[0] for name in wheel if ".dist-info/" in name}
    assert {f"{info}/entry_points.txt", f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= set(wheel)
