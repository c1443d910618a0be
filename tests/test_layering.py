"""Who may know what in rnnc/, checked on the syntax trees: which package imports which, and which library.

The layers are those of the design: ir <- frontend, passes, scheduler; scheduler <- codegen; only the driver
and the command line see everything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rnnc"


@dataclass(frozen=True)
class Layer:
    """What modules equal to or under ``name`` (dotted, below rnnc) may import beside each other, and why."""

    name: str
    allowed: frozenset[str]
    reason: str


@dataclass(frozen=True)
class Library:
    """``name`` may be imported by modules equal to or under one of ``users`` only."""

    name: str
    users: tuple[str, ...]
    reason: str


EVERYTHING = frozenset({"*"})

# The first layer whose name matches a module is its layer.
LAYERS = (
    Layer("diagnostics", frozenset(), "diagnostics is a leaf, so that anything can raise its errors"),
    Layer("resources", frozenset({"diagnostics"}), "resources only finds files"),
    Layer(
        "target",
        frozenset({"diagnostics", "resources"}),
        "a target is facts about hardware, not about models",
    ),
    Layer(
        "ir",
        frozenset({"diagnostics"}),
        "the IR is the language that the other layers share; it knows none of them",
    ),
    Layer("frontend", frozenset({"ir", "diagnostics"}), "the frontend only makes graphs"),
    Layer(
        "passes",
        frozenset({"ir", "diagnostics"}),
        "passes turn graphs into graphs and know nothing of schedules",
    ),
    Layer(
        "scheduler",
        frozenset({"ir", "diagnostics", "target"}),
        "a plan depends on the graph and the memory banks, not on how the graph was made or is printed",
    ),
    Layer(
        "codegen",
        frozenset({"scheduler", "ir", "target", "diagnostics", "resources"}),
        "code is written from plans: the decisions are made before",
    ),
    Layer(
        "toolchain",
        frozenset({"target", "resources", "diagnostics"}),
        "compilers, emulators and probes work on files, whatever model these hold",
    ),
    Layer("zoo", frozenset({"frontend", "ir", "diagnostics"}), "the zoo builds ONNX files, as a user would"),
    Layer("torch", frozenset({"frontend", "ir", "diagnostics"}), "the trainable module only exports ONNX"),
    Layer("arrays", frozenset({"ir", "diagnostics"}), "arrays only reads and writes files"),
    Layer("bundle", frozenset({"ir", "scheduler", "diagnostics"}), "a bundle holds a graph and its plan"),
    Layer(
        "execute",
        frozenset({"ir", "scheduler", "bundle", "target", "toolchain", "diagnostics"}),
        "a bundle runs without the compiler that wrote it",
    ),
    Layer("verification", frozenset({"ir", "bundle", "execute"}), "it compares executions of a bundle"),
    Layer(
        "profiler",
        frozenset({"scheduler", "bundle", "target", "toolchain", "diagnostics"}),
        "it measures bundles as they were written: what was compiled, not how",
    ),
    Layer(
        "present",
        frozenset({"ir", "target", "toolchain", "verification", "profiler", "zoo"}),
        "it prints results and makes none",
    ),
    Layer(
        "pages",
        frozenset({"ir", "scheduler", "diagnostics"}),
        "a page is drawn from a report and its plan, whoever asks for it",
    ),
    Layer("compile", EVERYTHING, ""),
    Layer("cli", EVERYTHING, ""),
    Layer("__main__", frozenset({"cli"}), "python -m rnnc is the command line"),
    Layer("__init__", frozenset({"diagnostics"}), "importing rnnc must be cheap"),
)

LIBRARIES = (
    Library("onnx", ("frontend", "zoo", "torch"), "behind the frontend there are only our own graphs"),
    Library(
        "onnxruntime",
        ("frontend",),
        "it is the float reference for calibration; the compiler never runs models",
    ),
    Library("networkx", ("scheduler",), "the IR has its own, typed graph; only the search uses graph algorithms"),
    Library("scipy", ("scheduler.row_cut",), "a compiled maximum flow, for one bound; numpy is enough elsewhere"),
    Library("jinja2", ("codegen.render",), "templates decide nothing, so one place may fill them in"),
    Library("click", ("cli",), "the library must be usable without a command line"),
    Library("torch", ("torch",), "PyTorch is an optional extra"),
    Library("pickle", (), "unpickling runs code from the file"),
    Library("marshal", (), "unmarshalling trusts the file, and the format changes between Python versions"),
    Library("shelve", (), "it is pickle underneath"),
)


def is_under(module: str, name: str) -> bool:
    """Whether ``module`` is ``name``, lies under it, or is a split of it (cli and cli_zoo)."""
    return module == name or module.startswith((f"{name}.", f"{name}_"))


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """The dotted name below rnnc; a package has the name of its folder, rnnc itself is ``__init__``."""
    parts = list(path.relative_to(package).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import, inside functions and TYPE_CHECKING blocks too.

    ``from a import b`` gives a.b, because b may be a module. Relative imports are refused by ruff (TID252).
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def layer_of(module: str) -> Layer | None:
    return next((layer for layer in LAYERS if is_under(module, layer.name)), None)


def import_faults(module: str, tree: ast.Module) -> list[str]:
    """The imports of a module that its layer forbids, each with the reason."""
    layer = layer_of(module)
    if layer is None:
        return [f"rnnc.{module} belongs to no layer; give it one in LAYERS, with what it may import and why"]
    faults = []
    for line, name in imports(tree):
        root, _, rest = name.partition(".")
        if root == "rnnc":
            other = layer_of(rest) or Layer(rest or "__init__", frozenset(), "")
            known = layer.allowed | {layer.name, "__init__"}
            if layer.allowed != EVERYTHING and other.name not in known and rest != "__version__":
                faults.append(f"rnnc.{module}:{line} imports {name}: {layer.reason}")
        for library in LIBRARIES:
            if root == library.name and not any(is_under(module, user) for user in library.users):
                faults.append(f"rnnc.{module}:{line} imports {name}: {library.reason}")
    return faults


def habit_faults(module: str, tree: ast.Module) -> list[str]:
    """Statements that are wrong anywhere in rnnc/: assert, relative imports, and loading pickled arrays."""
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            faults.append(f"rnnc.{module}:{node.lineno} has an assert, which vanishes under python -O: raise instead")
        elif isinstance(node, ast.ImportFrom) and node.level:
            faults.append(f"rnnc.{module}:{node.lineno} has a relative import, which hides its layer: name it in full")
        elif (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
        ):
            faults.append(f"rnnc.{module}:{node.lineno} sets allow_pickle: unpickling runs code from the file")
    return faults


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=[module_name(path) for path in SOURCES])
def test_module_keeps_to_its_layer(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    faults = import_faults(module_name(path), tree) + habit_faults(module_name(path), tree)
    assert not faults, "\n".join(faults)


def test_every_layer_that_is_there_was_looked_at() -> None:
    looked_at = {layer.name for path in SOURCES if (layer := layer_of(module_name(path)))}
    assert {"ir", "frontend", "passes", "scheduler", "codegen", "zoo", "compile", "cli"} <= looked_at


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("ir.graph", "from rnnc.passes.layout import run", "language that the other layers share"),
        ("ir.graph", "import rnnc.scheduler", "language that the other layers share"),
        ("passes.layout", "from rnnc import scheduler", "know nothing of schedules"),
        ("scheduler.plan", "def f():\n    from rnnc.passes import run", "not on how the graph was made"),
        ("codegen.lower", "from rnnc.frontend.load import load", "decisions are made before"),
        ("codegen.lower", "import rnnc.compile", "decisions are made before"),
        ("target", "from rnnc.ir import Graph", "facts about hardware"),
        ("toolchain.qemu", "from rnnc.codegen import render", "whatever model these hold"),
        ("ir.ops.conv", "import onnx", "only our own graphs"),
        ("passes.fold", "import onnxruntime as ort", "never runs models"),
        ("passes.fold", "from networkx import DiGraph", "graph algorithms"),
        ("codegen.lower", "from jinja2 import Template", "templates decide nothing"),
        ("compile", "import click", "without a command line"),
        ("compile", "import pickle", "runs code from the file"),
        ("brand_new", "", "belongs to no layer"),
    ],
)
def test_forbidden_imports_are_found(module: str, source: str, reason: str) -> None:
    faults = import_faults(module, ast.parse(source))
    assert len(faults) == 1
    assert f"rnnc.{module}" in faults[0]
    assert reason in faults[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ir.ops.conv", "from rnnc.ir import fixedpoint\nfrom rnnc.diagnostics import CompileError"),
        ("frontend.calibrate", "import onnx, onnxruntime\nfrom rnnc.ir.graph import Graph"),
        ("scheduler.offsets", "import networkx\nfrom rnnc.target import Target"),
        ("codegen.render", "import jinja2\nfrom rnnc.scheduler.plan import Plan"),
        ("cli_zoo", "import click\nfrom rnnc import __version__\nfrom rnnc.zoo import NAMES"),
        ("compile", "from rnnc import codegen, frontend, passes, scheduler"),
    ],
)
def test_allowed_imports_pass(module: str, source: str) -> None:
    assert import_faults(module, ast.parse(source)) == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert x > 0", "vanishes under python -O"),
        ("np.load(path, allow_pickle=True)", "unpickling runs code"),
        ("np.load(path, allow_pickle=flag)", "unpickling runs code"),
        ("from .graph import Graph", "hides its layer"),
    ],
)
def test_bad_habits_are_found(source: str, reason: str) -> None:
    faults = habit_faults("ir.graph", ast.parse(source))
    assert len(faults) == 1
    assert reason in faults[0]
    assert habit_faults("ir.graph", ast.parse("np.load(path, allow_pickle=False)")) == []
