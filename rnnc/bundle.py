"""The folder that `rnnc compile` writes: C for the user, and what the other commands need to run and verify it."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnc.diagnostics import CompileError
from rnnc.ir.graph import Graph
from rnnc.ir.ops import OPS
from rnnc.ir.text import parse_graph, print_graph
from rnnc.ir.verify import verify
from rnnc.scheduler.plan import Buffer, Plan, Stage, Strip

GRAPH, CONSTANTS, PLAN, REPORT = "rnnc/graph.txt", "rnnc/constants.npz", "rnnc/plan.json", "report.json"
INLINE = 16
"""Constants of up to this many elements are printed in graph.txt itself."""

REPORT_KEYS = ("model", "target", "ram", "flash", "macs", "cycles", "search", "stages", "buffers", "ops")

Json = dict[str, Any]

# What zipfile, zlib, numpy, json and the parser of the text form raise on a file that was cut off or edited.
_DAMAGES = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A compiled model as read back from its folder."""

    folder: Path
    graph: Graph
    plan: Plan
    report: Json

    @property
    def name(self) -> str:
        return str(self.report["model"])


def bundle_files(graph: Graph, plan: Plan, report: Json, sources: Mapping[str, str]) -> dict[str, bytes]:
    """Every file of a bundle by its relative name."""
    constants: dict[str, np.ndarray[Any, Any]] = {}
    text = print_graph(graph, constants, INLINE)
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **constants)
    files = {name: content.encode() for name, content in sources.items()}
    files[GRAPH] = text.encode()
    files[CONSTANTS] = archive.getvalue()
    files[PLAN] = json.dumps(asdict(plan), indent=1).encode()
    files[REPORT] = (json.dumps(report, indent=2) + "\n").encode()
    return files


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put the bundle in place in one move; an older bundle is replaced, anything else is left alone.

    Raises CompileError where ``folder`` holds something that is not a bundle or cannot be written.
    """
    folder = folder.resolve()
    check_writable(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
            staging = Path(work) / "new"
            for name, content in files.items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            _swap(staging, folder, Path(work) / "old")
    except OSError as error:
        raise CompileError("cannot write here", where=str(folder), why=error.strerror or str(error)) from error


def check_writable(folder: Path) -> None:
    """Refuse to replace what is not an older bundle."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / GRAPH).exists():
        raise CompileError(
            "this folder holds other files",
            where=str(folder),
            why="compile replaces its output folder as a whole",
            remedy="name a new or empty folder with -o",
        )
    if folder.exists() and not folder.is_dir():
        raise CompileError("this is a file, not a folder", where=str(folder), remedy="name a folder with -o")


def _swap(staging: Path, folder: Path, old: Path) -> None:
    """Put ``staging`` in the place of ``folder``, which moves to ``old``; on an error it is where it was."""
    if not folder.exists():
        staging.replace(folder)
        return
    folder.replace(old)
    try:
        staging.replace(folder)
    except OSError:
        old.replace(folder)
        raise


def read_bundle(folder: Path) -> Bundle:
    """The bundle in ``folder``; raises CompileError for anything else, damaged files included."""
    if not (folder / GRAPH).is_file():
        raise CompileError(
            "this is not a compiled model",
            where=str(folder),
            why=f"there is no {GRAPH} in it",
            remedy="rnnc compile MODEL.onnx -o OUT, then name OUT here",
        )
    try:
        with np.load(folder / CONSTANTS, allow_pickle=False) as archive:
            constants = {name: archive[name] for name in archive.files}
        graph = parse_graph((folder / GRAPH).read_text(encoding="utf-8"), OPS, constants)
        verify(graph)
        plan = _plan_from(json.loads((folder / PLAN).read_text(encoding="utf-8")))
        report = _report_from(json.loads((folder / REPORT).read_text(encoding="utf-8")))
    except (CompileError, OSError, *_DAMAGES) as error:
        raise CompileError(
            "the compiled model is damaged",
            where=str(folder),
            why=" ".join(str(error).split()) or type(error).__name__,
            remedy="compile it again",
        ) from error
    return Bundle(folder, graph, plan, report)


def _report_from(data: object) -> Json:
    if not isinstance(data, dict):
        raise ValueError(f"{REPORT} is not a JSON object")
    if missing := [key for key in REPORT_KEYS if key not in data]:
        raise ValueError(f"{REPORT} lacks {', '.join(missing)}")
    return data


def _plan_from(data: Json) -> Plan:
    stages = tuple(
        Stage(
            **{
                **s,
                "nodes": tuple(s["nodes"]),
                "sinks": tuple(s["sinks"]),
                "strips": tuple(Strip(**x) for x in s["strips"]),
            }
        )
        for s in data["stages"]
    )
    lists = {key: tuple(data[key]) for key in ("bank_sizes", "peak_buffers", "notes")}
    return Plan(**{**data, **lists, "stages": stages, "buffers": tuple(Buffer(**b) for b in data["buffers"])})
