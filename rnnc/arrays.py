"""Reading and writing the arrays of `rnnc run` and other files, safely."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.types import Array

MAX_BYTES = 2 << 30


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Arrays by input name: from an .npz by its names (or its one array), from an .npy for a single input."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CompileError("the file is larger than 2 GiB", where=str(path))
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            found = {"": loaded}
        else:
            with loaded:
                found = {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise CompileError("the file cannot be read", where=str(path), why=error.strerror or str(error)) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CompileError(
            "this is not a numpy file",
            where=str(path),
            why=str(error),
            remedy="save it with numpy.save or numpy.savez",
        ) from error
    if len(names) == 1 and names[0] not in found:
        key = "x" if "x" in found else next(iter(found), None)
        if key is not None and (key == "x" or len(found) == 1):
            return {names[0]: found[key]}
    return found


def check_output_name(path: Path, names: Sequence[str]) -> None:
    """Refuse, before any work, a name that cannot hold the outputs."""
    if path.suffix not in (".npy", ".npz"):
        raise CompileError("outputs are written as .npy or .npz", where=str(path))
    if path.suffix == ".npy" and len(names) > 1:
        raise CompileError(
            f"an .npy file holds one array, the model has {len(names)} outputs",
            where=str(path),
            remedy="name it .npz",
        )


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """One array as .npy, or all of them by name as .npz."""
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, next(iter(arrays.values())), allow_pickle=False)
    else:
        np.savez(buffer, allow_pickle=False, **arrays)
    write_file(path, buffer.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Write a file in one move; raises CompileError where that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            file.write(content)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise CompileError("cannot write here", where=str(path), why=error.strerror or str(error)) from error
