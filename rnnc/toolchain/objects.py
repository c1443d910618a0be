"""Compiling C files to objects, in parallel, with a cache keyed by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rnnc.diagnostics import CompileError
from rnnc.toolchain.tools import check_tool, first_lines, run_tool

_KEPT_OBJECTS = 3000


@dataclass(frozen=True)
class Unit:
    """One C file and how to compile it; headers come from ``include`` and, warnings off, from ``system``."""

    source: Path
    flags: tuple[str, ...]
    include: tuple[Path, ...] = ()
    system: tuple[Path, ...] = ()


def cache_dir() -> Path:
    """The user's cache folder of rnnc (not created)."""
    return Path(platformdirs.user_cache_dir("rnnc", appauthor=False))


def _headers_digest(folder: Path) -> bytes:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".h" and path.is_file():
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


class ObjectBuilder:
    """Compiles units with one compiler. Objects and their .su files land in ``folder``."""

    def __init__(self, compiler: str, folder: Path) -> None:
        self.compiler, self.folder = compiler, folder
        self.cache = cache_dir() / "objects"
        self.version = check_tool([compiler, "--version"], where="compiler").encode()
        self._digests: dict[Path, bytes] = {}

    def build(self, units: Sequence[Unit]) -> list[Path]:
        """Compile all units; raises CompileError with the first lines of the compiler's message."""
        for folder in {f for unit in units for f in (*unit.include, *unit.system)}:
            self._digests[folder] = _headers_digest(folder)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            objects = list(pool.map(self._build_one, range(len(units)), units))
        _prune(self.cache)
        return objects

    def _key(self, unit: Unit) -> str:
        digest = hashlib.sha256(self.version)
        digest.update("\0".join(unit.flags).encode())
        for folder in (*unit.include, *unit.system):
            digest.update(self._digests[folder])
        digest.update(unit.source.name.encode())
        try:
            digest.update(unit.source.read_bytes())
        except OSError as error:
            raise CompileError("cannot read a C file", where=str(unit.source), why=str(error)) from error
        return digest.hexdigest()

    def _build_one(self, index: int, unit: Unit) -> Path:
        # The index keeps files of the same name apart.
        target = self.folder / f"{index:03}-{unit.source.stem}.o"
        cached = self.cache / f"{self._key(unit)}.o"
        if _fetch(cached, target):
            return target
        command: list[str | Path] = [self.compiler, *unit.flags]
        command += [f"-I{folder}" for folder in unit.include]
        for folder in unit.system:
            command += ["-isystem", folder]
        done = run_tool([*command, "-c", unit.source, "-o", target])
        if done.returncode != 0:
            raise CompileError("the C compiler refused a file", where=str(unit.source), why=first_lines(done.stderr))
        _store(target, cached)
        return target


def _fetch(cached: Path, target: Path) -> bool:
    try:
        # The object is stored last, so where it is, its stack figures are too (if the compiler makes them).
        if not cached.exists():
            return False
        if cached.with_suffix(".su").exists():
            shutil.copyfile(cached.with_suffix(".su"), target.with_suffix(".su"))
        shutil.copyfile(cached, target)
        os.utime(cached)
    except OSError:
        return False
    return True


def _store(target: Path, cached: Path) -> None:
    """A cache that cannot be written costs time, never a build."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".su", ".o"):
            source = target.with_suffix(suffix)
            if source.exists():
                handle, name = tempfile.mkstemp(dir=cached.parent, suffix=".part")
                os.close(handle)
                shutil.copyfile(source, name)
                Path(name).replace(cached.with_suffix(suffix))
    except OSError:
        return


def _prune(cache: Path) -> None:
    try:
        objects = sorted(_with_times(cache.glob("*.o")), reverse=True)
        for _, path in objects[_KEPT_OBJECTS:]:
            path.unlink(missing_ok=True)
            path.with_suffix(".su").unlink(missing_ok=True)
    except OSError:
        return


def _with_times(paths: Iterable[Path]) -> list[tuple[float, Path]]:
    return [(path.stat().st_mtime, path) for path in paths]
