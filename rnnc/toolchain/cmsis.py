"""CMSIS-DSP: where its sources are, how to fetch them, and which files the kernels may use.

The sources come from the source distribution of the PyPI package ``cmsisdsp``, pinned by hash and taken
without building it, or from the folder that CMSIS_DSP_DIR names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from rnnc.diagnostics import CompileError
from rnnc.toolchain.objects import cache_dir
from rnnc.toolchain.tools import first_lines, run_tool

VERSION = "1.10.3"
SHA256 = "307d32298faa7c58db912851027fce35f886fec7eb1a27c4b309ce1a97f47519"
ENVIRONMENT = "CMSIS_DSP_DIR"

_FOLDERS = ("Include", "PrivateInclude", "Source")
_LICENCE = "LICENSE"
_MAX_FILE = 16 << 20
_MAX_TOTAL = 128 << 20
_DOWNLOAD_SECONDS = 600.0

_BASIC = ("abs", "add", "clip", "dot_prod", "mult", "negate", "offset", "scale", "shift", "sub")
_MATRIX = ("mat_add", "mat_init", "mat_mult", "mat_mult_fast", "mat_scale", "mat_trans", "mat_vec_mult")
_SUPPORT = (
    "copy_q15",
    "copy_q7",
    "fill_q15",
    "fill_q7",
    "q15_to_q7",
    "q7_to_q15",
    "q15_to_q31",
    "q31_to_q15",
)

# All are compiled; the linker drops what a model does not call.
SOURCES: tuple[str, ...] = (
    *(f"Source/BasicMathFunctions/arm_{name}_{q}.c" for name in _BASIC for q in ("q15", "q7")),
    *(f"Source/MatrixFunctions/arm_{name}_q15.c" for name in _MATRIX),
    "Source/MatrixFunctions/arm_mat_vec_mult_q7.c",
    *(f"Source/SupportFunctions/arm_{name}.c" for name in _SUPPORT),
)


def _cached() -> Path:
    return cache_dir() / f"cmsis-dsp-{VERSION}"


def is_complete(folder: Path) -> bool:
    """Whether a folder holds the headers and every file of SOURCES."""
    return (folder / "Include" / "arm_math.h").is_file() and all((folder / name).is_file() for name in SOURCES)


def locate() -> Path | None:
    """The CMSIS-DSP sources: $CMSIS_DSP_DIR, else those in the cache, else None.

    Raises CompileError if CMSIS_DSP_DIR is set to a folder that does not hold them.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        folder = Path(named)
        if not is_complete(folder):
            missing = next((name for name in SOURCES if not (folder / name).is_file()), "Include/arm_math.h")
            raise CompileError(
                "these are not the CMSIS-DSP sources",
                where=f"{ENVIRONMENT}={named}",
                why=f"{missing} is missing",
                remedy=f"unset {ENVIRONMENT}, or name a folder with Include/, PrivateInclude/ and Source/",
            )
        return folder
    return _cached() if is_complete(_cached()) else None


def fetch() -> Path:
    """Locate the sources or download them into the cache.

    Raises CompileError if that fails, and leaves nothing half-written.
    """
    found = locate()
    if found is not None:
        return found
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="cmsis-") as work:
            archive = _download(Path(work))
            extracted = Path(work) / "extracted"
            extract(archive, extracted)
            if not is_complete(extracted):
                raise CompileError("the CMSIS-DSP archive lacks files that are needed", where=archive.name)
            shutil.rmtree(_cached(), ignore_errors=True)
            extracted.rename(_cached())
    except OSError as error:
        found = locate()  # another process may have been quicker
        if found is None:
            raise CompileError("cannot keep the CMSIS-DSP sources", where=str(cache), why=str(error)) from error
    return _cached()


def _download(work: Path) -> Path:
    requirements = work / "requirements.txt"
    requirements.write_text(f"cmsisdsp=={VERSION} --hash=sha256:{SHA256}\n", encoding="utf-8")
    options = ["--no-deps", "--no-binary", "cmsisdsp", "--no-build-isolation", "--require-hashes"]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *options]
    done = run_tool([*command, "-r", requirements, "-d", work], timeout=_DOWNLOAD_SECONDS)
    archives = list(work.glob("cmsisdsp-*.tar.gz"))
    if done.returncode != 0 or len(archives) != 1:
        raise CompileError(
            f"cannot download CMSIS-DSP (the source distribution of cmsisdsp {VERSION})",
            why=first_lines(done.stderr or done.stdout),
            remedy="python -m pip install setuptools wheel, check the network, or set "
            f"{ENVIRONMENT} to a folder with the sources; without them, builds use the portable kernels",
        )
    return archives[0]


def extract(archive: Path, folder: Path) -> None:
    """Unpack headers, sources and licence of the pinned archive into ``folder``.

    Raises CompileError if the archive is not the pinned one or holds anything but plain files in its tree.
    """
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        raise CompileError("this is not the CMSIS-DSP archive that rnnc was tested with", where=archive.name)
    extract_tar(archive, folder)


def extract_tar(archive: Path, folder: Path) -> None:
    """The unpacking itself, which trusts no archive: see ``extract``."""
    total = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts[1:]
            if not parts or not (parts[0] in _FOLDERS or parts == (_LICENCE,)) or member.isdir():
                continue
            total += member.size
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None or ".." in parts or member.size > _MAX_FILE or total > _MAX_TOTAL:
                raise CompileError(
                    "the archive holds something that a source archive has no use for",
                    where=f"{archive.name}: {member.name}",
                    why="a link, a path that leaves its folder, or a huge file",
                )
            target = folder.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(stream, out)


def main() -> int:
    """Fetch the sources and say where they are; returns the exit code."""
    try:
        print(f"CMSIS-DSP {VERSION}: {fetch()}")
    except CompileError as error:
        print(f"rnnc: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
