"""Runs a bundle in Python, in C on this machine or in C on an emulated Cortex-M4, on arrays in the model's layout."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rnnc.bundle import Bundle
from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Port
from rnnc.ir.interpret import model_output, stored_input
from rnnc.ir.types import Array
from rnnc.scheduler.simulate import simulate
from rnnc.target import load_board
from rnnc.toolchain.cc import build
from rnnc.toolchain.cmsis import locate
from rnnc.toolchain.run import run_image

Place = Literal["python", "host", "qemu"]
BOARDS: dict[str, str] = {"host": "host", "qemu": "qemu-mps2-an386"}
Batch = Mapping[str, Array]
"""By port name, one array with the runs on the first axis."""


@dataclass(frozen=True, eq=False)
class Execution:
    """Outputs in device form (integers, channels last) by port name with the runs on the first axis, and cycles
    per run where the place counts them (QEMU: instructions)."""

    outputs: dict[str, Array]
    cycles: tuple[int, ...] = ()
    trace: bytes = b""


def device_inputs(bundle: Bundle, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays in the model's own layout and type (runs on the first axis) as the integers the C is given.

    Raises CompileError for a missing input, a wrong shape or type, or values that are not finite.
    """
    result = {port.name: _device_input(port, arrays) for port in bundle.graph.inputs}
    counts = {name: len(array) for name, array in result.items()}
    if len(set(counts.values())) > 1:
        raise CompileError(f"the inputs hold different numbers of runs: {counts}")
    return result


def _device_input(port: Port, arrays: Mapping[str, Array]) -> Array:
    if port.name not in arrays:
        raise CompileError(f"the input '{port.name}' is missing", why=f"there is {', '.join(arrays) or 'nothing'}")
    array = arrays[port.name]
    where = f"input '{port.name}'"
    if array.shape == port.shape:
        array = array[None]
    if array.ndim != len(port.shape) + 1 or array.shape[1:] != port.shape or not len(array):
        raise CompileError(
            f"an array of shape {array.shape} does not fit",
            where=where,
            why=f"the model takes {('n', *port.shape)}",
        )
    if port.dtype == "float32":
        if array.dtype.kind != "f":
            raise CompileError(f"an array of {array.dtype} does not fit", where=where, why="the model takes float32")
        if not np.isfinite(array).all():
            raise CompileError("the array holds NaN or infinity", where=where)
    elif array.dtype != np.dtype(port.dtype):
        raise CompileError(f"an array of {array.dtype} does not fit", where=where, why=f"the model takes {port.dtype}")
    return np.stack([stored_input(port, item) for item in array])


def model_outputs(bundle: Bundle, outputs: Mapping[str, Array], raw: bool = False) -> dict[str, Array]:
    """Device outputs as the model gives them; float outputs are dequantised unless ``raw``."""
    result: dict[str, Array] = {}
    for port in bundle.graph.outputs:
        keep = raw and port.dtype == "float32"
        convert = port.from_value if keep else partial(model_output, port)
        result[port.name] = np.stack([convert(item) for item in outputs[port.name]])
    return result


def execute(
    bundle: Bundle,
    inputs: Batch,
    place: Place,
    *,
    trace: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Execution:
    """Run every input (device form). ``trace`` also records all rows of all operators, in the order they are made."""
    if place == "python":
        return _simulated(bundle, inputs, trace, progress)
    board = load_board(BOARDS[place])
    names = [port.name for port in bundle.graph.inputs]
    runs = len(inputs[names[0]])
    data = b"".join(inputs[name][run].tobytes() for run in range(runs) for name in names)
    with tempfile.TemporaryDirectory(prefix="rnnc-") as folder:
        image = build(bundle.folder, board, Path(folder) / "build", trace=trace, cmsis=locate())
        result = run_image(image, board, data, trace=trace)
    return Execution(_split_outputs(bundle.graph.outputs, result.outputs, runs), result.cycles, result.trace)


def _simulated(bundle: Bundle, inputs: Batch, trace: bool, progress: Callable[[int], None] | None) -> Execution:
    results: list[dict[str, Array]] = []
    records: list[bytes] = []

    def record(op: int, row: int, data: bytes) -> None:
        records.append(struct.pack("<HHI", op, row, len(data)) + data)

    for run in range(len(next(iter(inputs.values())))):
        one = {name: array[run] for name, array in inputs.items()}
        results.append(simulate(bundle.graph, bundle.plan, one, record if trace else None))
        if progress:
            progress(run + 1)
    outputs = {port.name: np.stack([result[port.name] for result in results]) for port in bundle.graph.outputs}
    return Execution(outputs, (), b"".join(records))


def _split_outputs(ports: Sequence[Port], data: bytes, runs: int) -> dict[str, Array]:
    flat: npt.NDArray[Any] = np.frombuffer(data, np.int8)
    size = sum(port.value.type.bytes for port in ports)
    if flat.size != runs * size:
        raise CompileError(f"the program returned {flat.size} bytes of output, {runs * size} were expected")
    rows, result, start = flat.reshape(runs, size), {}, 0
    for port in ports:
        end = start + port.value.type.bytes
        result[port.name] = rows[:, start:end].reshape(runs, *port.value.type.shape).copy()
        start = end
    return result
