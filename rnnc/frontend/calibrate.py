"""Calibration: the range of every float value of a model, from running it on samples in onnxruntime.

The samples are streamed, once for the extremes and, for the methods that clip, once more for histograms;
nothing is kept of a sample but what it adds to these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from rnnc.diagnostics import CompileError
from rnnc.frontend.rnnpool_function import attach_rnnpool

Method = Literal["minmax", "percentile", "mse"]
Sample = Mapping[str, npt.NDArray[Any]]

PERCENTILE = 99.99
"""How much of a value's distribution the method "percentile" keeps, in percent."""

_BINS = 2048
_LEVELS = 256
# Values that are fetched together from one run: more are spread over several runs of the same sample.
_GROUP_BYTES = 256 << 20
# A value whose shape is not known before it is computed is counted as this many elements.
_UNKNOWN_ELEMENTS = 1 << 20
# Steps of the search for the best clipping, as fractions of the extreme.
_FRACTIONS = np.linspace(1.0, 0.05, 77)


@dataclass(frozen=True)
class Range:
    """What a value may be without being clipped: low <= 0 <= high, so that zero has an integer of its own."""

    low: float
    high: float


@dataclass
class _Statistics:
    """Extremes of a value and, from the second pass, its histogram between them, zeros left out."""

    low: float = 0.0
    high: float = 0.0
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    def extend(self, values: npt.NDArray[Any]) -> None:
        if values.size:
            self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    def count(self, values: npt.NDArray[Any]) -> None:
        """Zeros are exact in every range; counting them would only blur the bin that they share."""
        values = values[values != 0]
        if values.size:
            scaled = (values.astype(np.float64) - self.low) * (_BINS / (self.high - self.low))
            self.counts += np.bincount(np.clip(scaled.astype(np.int64), 0, _BINS - 1), minlength=_BINS)

    def edges(self) -> npt.NDArray[np.float64]:
        return np.linspace(self.low, self.high, _BINS + 1)


def calibrate(
    model: onnx.ModelProto,
    samples: Iterable[Sample],
    *,
    method: Method = "mse",
    values: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Range]:
    """The range, for asymmetric int8, of each float value of ``model``: inputs, nodes' outputs, outputs.

    ``samples`` map input names to arrays. An iterator is kept in memory unless ``method`` is "minmax";
    anything that can be iterated twice is not. ``values`` limits the result to these names. ``progress`` is
    called after each run of a sample with the number of runs so far, of ``calibration_runs``.

    "minmax" keeps the extremes, "percentile" PERCENTILE of the distribution (zeros aside), "mse" the range
    that minimises the mean squared error of 8-bit quantisation.

    Raises CompileError if onnxruntime cannot run the model, if there are no samples, if a name of ``values``
    is not a float value of the model, or if a value turns out NaN or infinite.
    """
    clips = method != "minmax"
    if clips and iter(samples) is samples:
        samples = list(samples)
    runner = _Runner(model, values)
    statistics = {name: _Statistics() for name in runner.names}
    runs = 0
    for clipping in (False, True) if clips else (False,):
        for sample in samples:
            for name, array in runner.run(sample):
                if clipping:
                    statistics[name].count(array)
                else:
                    _check_finite(name, array, runs)
                    statistics[name].extend(array)
            runs += 1
            if progress:
                progress(runs)
        if not runs:
            raise CompileError("there are no samples to calibrate with", remedy="give at least one sample")
    choose = {"minmax": _minmax, "percentile": _percentile, "mse": _mse}[method]
    return {name: choose(found) for name, found in statistics.items()}


def calibration_runs(samples: int, method: Method) -> int:
    """How often ``calibrate`` calls ``progress`` for this many samples."""
    return samples if method == "minmax" else 2 * samples


class _Runner:
    """A session of the model in which every float value can be fetched."""

    def __init__(self, model: onnx.ModelProto, values: Sequence[str] | None) -> None:
        self._session = _session(_exposed(attach_rnnpool(model), values))
        floats = {"tensor(float)": 4, "tensor(double)": 8, "tensor(float16)": 2}
        inputs = [i.name for i in self._session.get_inputs() if i.type in floats]
        outputs = [o for o in self._session.get_outputs() if o.type in floats]
        available = [*inputs, *(o.name for o in outputs)]
        self.names = [name for name in available if values is None or name in values]
        missing = sorted(set(values or ()) - set(available))
        if missing:
            raise CompileError("the model has no such float value to calibrate", where=", ".join(missing))
        self._inputs = [name for name in inputs if name in self.names]
        self._groups = _grouped(
            [(o.name, floats[o.type] * _elements(o.shape)) for o in outputs if o.name in self.names]
        )

    def run(self, sample: Sample) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Name and array of every value for one sample."""
        for name in self._inputs:
            if name in sample:
                yield name, sample[name]
        for group in self._groups:
            try:
                arrays = self._session.run(group, dict(sample))
            except Exception as error:  # onnxruntime's errors have no common base
                raise CompileError(
                    "onnxruntime cannot run the model on a sample",
                    why=_first_line(error),
                    remedy="check that the samples have the names, shapes and types of the model's inputs",
                ) from error
            yield from zip(group, arrays, strict=True)


def _exposed(model: onnx.ModelProto, values: Sequence[str] | None) -> onnx.ModelProto:
    """A copy of ``model`` with all nodes' outputs, or those in ``values``, as its outputs, in graph order."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    declared = {output.name: output for output in model.graph.output}
    computed = [name for node in model.graph.node for name in node.output if name]
    wanted = [name for name in computed if values is None or name in values]
    # onnxruntime wants at least one output, even where only inputs are asked for.
    names = wanted or list(declared)
    del result.graph.output[:]
    result.graph.output.extend(declared.get(name, onnx.ValueInfoProto(name=name)) for name in names)
    return result


def _session(model: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise CompileError(
            "onnxruntime cannot load the model",
            why=_first_line(error),
            remedy="check the model with onnx.checker.check_model(model, full_check=True)",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _elements(shape: Sequence[int | str | None] | None) -> int:
    if shape is None:
        return _UNKNOWN_ELEMENTS
    symbolic = any(not isinstance(n, int) for n in shape[1:])
    return _UNKNOWN_ELEMENTS if symbolic else math.prod(n for n in shape if isinstance(n, int))


def _grouped(sizes: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Names in groups of at most _GROUP_BYTES each, or of one."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes:
        if size > room or not groups:
            groups.append([])
            room = _GROUP_BYTES
        groups[-1].append(name)
        room -= size
    return groups


def _check_finite(name: str, array: npt.NDArray[Any], sample: int) -> None:
    if not np.isfinite(array).all():
        found = "NaN" if np.isnan(array).any() else "infinite"
        raise CompileError(
            f"the value is {found} for sample {sample}",
            where=name,
            why="a range for int8 can only be made of finite values",
            remedy="check the weights and the calibration samples for NaN and infinity",
        )


def _minmax(found: _Statistics) -> Range:
    return Range(found.low, found.high)


def _percentile(found: _Statistics) -> Range:
    total = int(found.counts.sum())
    if not total:
        return _minmax(found)
    tail = total * (1 - PERCENTILE / 100) / 2
    edges, cumulative = found.edges(), np.cumsum(found.counts)
    low = edges[int(np.searchsorted(cumulative, tail, side="right"))]
    high = edges[int(np.searchsorted(cumulative, total - tail)) + 1]
    return Range(min(float(low), 0.0), max(float(high), 0.0))


def _mse(found: _Statistics) -> Range:
    """Both ends are shrunk together first, then each by itself."""
    if not found.counts.any():
        return _minmax(found)
    used = found.counts > 0
    edges = found.edges()
    centres, counts = ((edges[:-1] + edges[1:]) / 2)[used], found.counts[used].astype(np.float64)

    def best(candidates: Iterable[tuple[float, float]]) -> tuple[float, float]:
        return min(candidates, key=lambda ends: _quantisation_error(centres, counts, *ends))

    low, high = best((found.low * f, found.high * f) for f in _FRACTIONS)
    if found.low < 0 < found.high:
        low, high = best((found.low * f, high) for f in (low / found.low, *_FRACTIONS))
        low, high = best((low, found.high * f) for f in (high / found.high, *_FRACTIONS))
    return Range(float(low), float(high))


def _quantisation_error(
    centres: npt.NDArray[np.float64], counts: npt.NDArray[np.float64], low: float, high: float
) -> float:
    """Squared error summed over a histogram, when [low, high] is quantised to 256 levels, zero among them."""
    scale = (high - low) / (_LEVELS - 1)
    zero_point = round(-low / scale)
    levels = np.clip(np.rint(centres / scale) + zero_point, 0, _LEVELS - 1)
    return float(np.dot(counts, ((levels - zero_point) * scale - centres) ** 2))
