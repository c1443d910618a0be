"""Calibration inputs: read from an .npz file, or generated for a model that comes without any."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, helper

from rnnc.diagnostics import CompileError

MAX_BYTES = 2 << 30
"""Limit on the uncompressed size of a file of samples, in bytes."""

_REMEDY = "save it with numpy.savez(file, x=samples), samples on the first axis, in the model's layout and type"
# What zipfile, zlib and numpy raise on a file that is damaged, encrypted or something else.
_BAD_FILE = (
    ValueError,
    KeyError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
# Below this length an axis is channels or a handful of features, which have no smoothness to imitate.
_SMOOTH_AXIS = 8


@dataclass(frozen=True)
class InputSpec:
    """An input of the model: ``shape`` as ONNX has it, None for a symbolic size, and the element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample as the model takes it; symbolic sizes are 1."""
        return tuple(1 if n is None else n for n in self.shape)

    def accepts(self, shape: Sequence[int]) -> bool:
        return len(shape) == len(self.shape) and all(
            n is None or n == m for n, m in zip(self.shape, shape, strict=True)
        )

    def describe(self) -> str:
        """The array that a file of samples should hold for this input, for messages."""
        has_batch = bool(self.shape) and self.shape[0] in (None, 1)
        sizes = ["samples", *(str(n or "any") for n in self.shape[1 if has_batch else 0 :])]
        return f"[{', '.join(sizes)}] {self.dtype}"


@dataclass(frozen=True, eq=False)
class Samples:
    """Per input an array [n, *sample shape]; iterating gives what onnxruntime takes, n times."""

    arrays: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, npt.NDArray[Any]]]:
        for i in range(len(self)):
            yield {name: array[i] for name, array in self.arrays.items()}


def input_specs(model: ModelProto) -> list[InputSpec]:
    """The inputs of a model that are not constants."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        InputSpec(
            entry.name,
            tuple(dim.dim_value or None for dim in entry.type.tensor_type.shape.dim),
            helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type),
        )
        for entry in model.graph.input
        if entry.name not in constants
    ]


def load_samples(path: Path, inputs: Sequence[InputSpec]) -> Samples:
    """The samples in the .npz file ``path``: arrays by input name, or one array ``x`` if there is one input.

    Samples lie on the first axis, which takes the place of a batch axis of size 1 or of symbolic size. Other
    arrays in the file are ignored; float64 and float16 are taken for float32.

    Raises CompileError if the file cannot be read, is larger than MAX_BYTES, or does not fit ``inputs``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path)
        with np.load(path, allow_pickle=False) as file:
            chosen = _choose(path, file.files, inputs)
            found = {spec.name: file[key] for spec, key in zip(inputs, chosen, strict=True)}
    except OSError as error:
        raise CompileError("the samples cannot be read", where=str(path), why=error.strerror or str(error)) from error
    except _BAD_FILE as error:
        raise CompileError(
            "this is not a usable .npz file of samples", where=str(path), why=str(error), remedy=_REMEDY
        ) from error
    arrays = {spec.name: _per_sample(path, spec, found[spec.name]) for spec in inputs}
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) > 1:
        raise CompileError(
            "the inputs have different numbers of samples",
            where=str(path),
            why=", ".join(f"{name} has {n}" for name, n in counts.items()),
        )
    return Samples(arrays)


def generated_samples(inputs: Sequence[InputSpec], n: int, seed: int) -> Samples:
    """``n`` samples of smooth random maps with noise, the same for the same ``seed``.

    Float inputs lie within [-1, 1], integer ones use their whole range; offset and contrast vary from sample
    to sample as they do between photographs.
    """
    rng = np.random.default_rng(seed)
    return Samples({spec.name: np.stack([_generated(spec, rng) for _ in range(n)]) for spec in inputs})


def _check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Before anything is allocated: headers of arrays can promise any size, and so can compression."""
    total = 0
    for entry in archive.infolist():
        total += entry.file_size
        with archive.open(entry) as member:
            promised = _promised_bytes(member)
        if promised > entry.file_size:
            raise ValueError(f"array {entry.filename} is cut short: {entry.file_size} of {promised} bytes")
    if total > MAX_BYTES:
        raise CompileError(
            f"the samples take {total} bytes, the limit is {MAX_BYTES}",
            where=str(path),
            remedy="use fewer samples: some hundreds are enough for calibration",
        )


def _promised_bytes(member: IO[bytes]) -> int:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(member)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects instead of numbers")
    return math.prod(shape) * dtype.itemsize


def _choose(path: Path, keys: Sequence[str], inputs: Sequence[InputSpec]) -> list[str]:
    """The key of each input's array."""
    names = [spec.name for spec in inputs]
    if all(name in keys for name in names):
        return names
    if len(names) == 1 and "x" in keys:
        return ["x"]
    expected = ", ".join(names) + (" or x" if len(names) == 1 else "")
    raise CompileError(
        "the file does not hold samples for every input of the model",
        where=str(path),
        why=f"expected arrays: {expected}; found: {', '.join(keys) or 'none'}",
        remedy=_REMEDY,
    )


def _per_sample(path: Path, spec: InputSpec, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``array`` as [n, *sample shape] in the input's type."""
    fits_type = array.dtype == spec.dtype or (
        np.issubdtype(spec.dtype, np.floating) and np.issubdtype(array.dtype, np.floating)
    )
    with_batch = array[:, None] if array.ndim else array
    if fits_type and array.ndim and len(array):
        if spec.accepts(with_batch.shape[1:]):
            return with_batch.astype(spec.dtype, copy=False)
        if spec.accepts(array.shape[1:]):
            return array.astype(spec.dtype, copy=False)
    raise CompileError(
        f"the samples do not fit input {spec.name}",
        where=str(path),
        why=f"expected {spec.describe()}, found {list(array.shape)} {array.dtype}",
        remedy=_REMEDY,
    )


def _generated(spec: InputSpec, rng: np.random.Generator) -> npt.NDArray[Any]:
    shape = spec.sample_shape
    smooth = rng.uniform(-1.0, 1.0, [math.ceil(n / _SMOOTH_AXIS) + 1 if n >= _SMOOTH_AXIS else n for n in shape])
    for axis, n in enumerate(shape):
        if n >= _SMOOTH_AXIS:
            smooth = _stretched(smooth, axis, n)
    contrast, offset, noise = rng.uniform(0.3, 1.0), rng.uniform(-0.4, 0.4), rng.uniform(0.0, 0.15)
    values = np.clip(contrast * smooth + offset + noise * rng.normal(size=shape), -1.0, 1.0)
    if np.issubdtype(spec.dtype, np.integer):
        limits = np.iinfo(spec.dtype)
        middle, half = (limits.max + limits.min) / 2, (limits.max - limits.min) / 2
        return np.clip(np.rint(middle + half * values), limits.min, limits.max).astype(spec.dtype)
    return values.astype(spec.dtype)


def _stretched(values: npt.NDArray[np.float64], axis: int, n: int) -> npt.NDArray[np.float64]:
    """``values`` interpolated linearly along ``axis`` to length ``n``."""
    at = np.linspace(0, values.shape[axis] - 1, n)
    below = np.minimum(at.astype(int), values.shape[axis] - 2)
    weight = (at - below).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    low, high = np.take(values, below, axis), np.take(values, below + 1, axis)
    return np.asarray(low + weight * (high - low))
