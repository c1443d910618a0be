"""Every mistake ends in one clear message, the right exit code, no traceback, and nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnc import cli
from rnnc.ir.types import Array
from tests.small_models import MODELS


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code and all that it printed."""

    code: int
    text: str


Rnnc = Callable[..., Ended]


@pytest.fixture
def rnnc(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rnnc:
    """Runs the console script's main() in this process."""

    def run(*arguments: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["rnnc", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out + captured.err)

    return run


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with classifier.onnx and two.onnx, and their bundles."""
    folder = tmp_path_factory.mktemp("messages")
    from click.testing import CliRunner

    for name in ("classifier", "two"):
        onnx.save(MODELS[name](), folder / f"{name}.onnx")
        arguments = ["compile", str(folder / f"{name}.onnx"), "-o", str(folder / name)]
        assert CliRunner().invoke(cli.cli, arguments).exit_code == 0
    return folder


@pytest.fixture
def bundle(bundles: Path, tmp_path: Path) -> Path:
    """A bundle of the classifier to be damaged."""
    shutil.copytree(bundles / "classifier", tmp_path / "bundle")
    return tmp_path / "bundle"


def assert_refused(ended: Ended, *words: str, code: int = 2) -> None:
    assert ended.code == code, ended.text
    assert "Traceback" not in ended.text
    for word in words:
        assert word in ended.text, ended.text


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """All files (and folders) below a folder, hidden ones included."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def graph_of(op: str, shape: list[int | str], constants: dict[str, Array] | None = None, **attributes: object) -> bytes:
    names = ["x", *(constants or {})]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="the_node", **attributes)],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shape))],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


WEIGHT = np.ones((2, 3, 3, 3), np.float32)
NAN = np.where(np.arange(54).reshape(2, 3, 3, 3) == 7, np.nan, WEIGHT).astype(np.float32)

BAD_MODELS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty file": (b"", ("bad.onnx: this is not an ONNX model, or it is cut off", "holds no graph")),
    "text": (b"hello, I am not a model\n" * 9, ("bad.onnx: this is not an ONNX model, or it is cut off",)),
    "cut off": (
        MODELS["classifier"]().SerializeToString()[:700],
        ("bad.onnx: this is not an ONNX model, or it is cut off", "try: check that the file was copied in full"),
    ),
    "NaN weights": (
        graph_of("Conv", [1, 3, 8, 8], {"w": NAN}),
        ("tensor 'w': 1 of its 54 values are NaN or infinite, the first at [0, 0, 2, 1]", "why:", "try:"),
    ),
    "unknown operator": (
        graph_of("Einsum", [1, 4], equation="ij->ij"),
        ("operators that are not supported: Einsum (node 'the_node')", "why: supported: Add,", "try:"),
    ),
    "unsupported attribute": (
        graph_of("Softmax", [1, 3, 4, 5], axis=2),
        ("node 'the_node': Softmax over axis 2 of [1, 3, 4, 5]", "why:", "try: transpose"),
    ),
    "fixed batch": (
        graph_of("Relu", [4, 3, 8, 8]),
        ("input 'x': its batch size is fixed at 4", "why:", "batch size 1 or a symbolic batch size"),
    ),
    "dynamic height": (
        graph_of("Relu", ["n", 3, "height", 8]),
        ("input 'x': axis 2 has no fixed extent ('height')", "why: memory is planned ahead", "try:"),
    ),
    "wrong weight shape": (graph_of("Conv", [1, 5, 8, 8], {"w": WEIGHT}), ("the_node",)),
    "kernel larger than the map": (graph_of("Conv", [1, 3, 2, 2], {"w": WEIGHT}), ("the_node",)),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_bad_models(case: str, rnnc: Rnnc, tmp_path: Path) -> None:
    content, words = BAD_MODELS[case]
    (tmp_path / "bad.onnx").write_bytes(content)
    ended = rnnc("compile", tmp_path / "bad.onnx", "-o", tmp_path / "out")
    assert_refused(ended, "error: ", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.onnx"]


def test_a_missing_model(rnnc: Rnnc, tmp_path: Path) -> None:
    ended = rnnc("compile", tmp_path / "no.onnx", "-o", tmp_path / "out")
    assert_refused(ended, "no.onnx: the file cannot be read", "why: No such file or directory")


def test_a_folder_for_a_model(rnnc: Rnnc, tmp_path: Path) -> None:
    assert_refused(rnnc("compile", tmp_path, "-o", tmp_path / "out"), "this is a folder, not an ONNX file")


@pytest.mark.parametrize(
    ("option", "value", "code", "words"),
    [
        ("--ram", "lots", 2, ("'lots' is not a size; write 65536, 64KiB or 1MiB",)),
        ("--ram", "-5", 2, ("is not a size",)),
        (
            "--ram",
            "100",
            1,
            (
                "conv0: the activations need ",
                " bytes, but 100 bytes were asked for",
                "why: most is in use at step",
                "try: ",
            ),
        ),
        ("--flash", "1KiB", 1, ("bytes of flash", "more than there are", "why: weights", "try: ")),
        ("--target", "z80", 2, ("unknown target 'z80'", "try: one of cortex-m4, host")),
        ("--dump-after", "folding", 2, ("there is no pass 'folding'", "try: one of absorb-qdq, channels-last")),
        ("--name", "3d-net", 2, ("'3d-net' cannot name the generated functions", "why: ", "try: choose a name like")),
        ("--name", "while", 2, ("'while' cannot name the generated functions",)),
        ("--name", "rnnc_net", 2, ("'rnnc_net' cannot name",)),
        ("--schedule", "random", 2, ("'random' is not one of",)),
        ("--schedule", "patches", 2, ("schedule 'patches'", "try: --schedule rows or auto")),
        ("--calibration", "no.npz", 2, ("no.npz: the samples cannot be read", "No such file")),
    ],
)
def test_bad_options_leave_the_old_bundle_alone(
    option: str, value: str, code: int, words: tuple[str, ...], rnnc: Rnnc, bundles: Path, bundle: Path
) -> None:
    before = snapshot(bundle.parent)
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", bundle, option, value)
    assert_refused(ended, *words, code=code)
    assert snapshot(bundle.parent) == before


def test_zero_ram_is_a_budget_too(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    assert_refused(rnnc("compile", bundles / "classifier.onnx", "-o", tmp_path / "o", "--ram", "0"), "0 bytes", code=1)


SAMPLES: dict[str, tuple[dict[str, Array], tuple[str, ...]]] = {
    "wrong shape": (
        {"input": np.zeros((5, 2, 8, 9), np.float32)},
        ("the samples do not fit input input", "expected [samples, 2, 8, 8] float32, found [5, 2, 8, 9] float32"),
    ),
    "wrong name": (
        {"image": np.zeros((5, 2, 8, 8), np.float32)},
        ("does not hold samples for every input", "expected arrays: input or x; found: image"),
    ),
    "wrong type": ({"x": np.zeros((5, 2, 8, 8), np.int32)}, ("do not fit input input", "found [5, 2, 8, 8] int32")),
    "no samples": ({"x": np.zeros((0, 2, 8, 8), np.float32)}, ("do not fit input input", "[0, 2, 8, 8]")),
    "objects": ({"x": np.array([{}, None], object)}, ("not a usable .npz file", "Python objects")),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_calibration_files_that_do_not_match(case: str, rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    arrays, words = SAMPLES[case]
    np.savez(tmp_path / "samples.npz", allow_pickle=True, **arrays)
    ended = rnnc(
        "compile", bundles / "classifier.onnx", "-o", tmp_path / "out", "--calibration", tmp_path / "samples.npz"
    )
    assert_refused(ended, "samples.npz", *words, "try: save it with numpy.savez")
    assert not (tmp_path / "out").exists()


def test_a_calibration_file_with_nan(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.full((2, 2, 8, 8), np.nan, np.float32))
    ended = rnnc(
        "compile", bundles / "classifier.onnx", "-o", tmp_path / "out", "--calibration", tmp_path / "samples.npz"
    )
    assert_refused(ended, "NaN")
    assert not (tmp_path / "out").exists()


def test_a_calibration_file_that_is_something_else(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "samples.npz").write_bytes(b"not a zip")
    ended = rnnc(
        "compile", bundles / "classifier.onnx", "-o", tmp_path / "out", "--calibration", tmp_path / "samples.npz"
    )
    assert_refused(ended, "samples.npz: this is not a usable .npz file of samples", "try: ")


def test_out_that_holds_other_files(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    before = snapshot(tmp_path)
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", tmp_path / "out")
    assert_refused(ended, "out: this folder holds other files", "why: ", "try: name a new or empty folder with -o")
    assert snapshot(tmp_path) == before


def test_out_that_is_a_file(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", tmp_path / "out")
    assert_refused(ended, "out: this is a file, not a folder", "try: ")
    assert (tmp_path / "out").read_text() == "precious"


def test_an_error_in_the_last_step_keeps_the_old_bundle(
    rnnc: Rnnc, bundles: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replace = snapshot(bundle.parent), Path.replace

    def full_disk(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full_disk)
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", bundle)
    assert_refused(ended, "bundle: cannot write here", "why: No space left on device")
    assert snapshot(bundle.parent) == before


def test_out_that_is_the_current_folder_or_a_link(
    rnnc: Rnnc, bundles: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older bundle is replaced where it is."""
    arguments = ("compile", bundles / "classifier.onnx", "--arithmetic", "tflite", "-o")
    link = bundle.parent / "link"
    link.symlink_to(bundle)
    assert rnnc(*arguments, link).code == 0
    assert link.is_symlink()
    assert '"tflite"' in (bundle / "report.json").read_text()
    monkeypatch.chdir(bundle)
    assert rnnc(*arguments, ".").code == 0


def test_out_below_a_file(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    """Also what a folder without the right to write comes to, for a user who is not root."""
    (tmp_path / "file").write_text("precious")
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", tmp_path / "file" / "out")
    assert_refused(ended, "file/out: cannot write here", "why: ")


@pytest.mark.parametrize("command", ["report", "verify", "build"])
def test_a_folder_that_is_no_bundle(command: str, rnnc: Rnnc, tmp_path: Path) -> None:
    ended = rnnc(command, tmp_path)
    assert_refused(ended, "this is not a compiled model", "why: there is no rnnc/graph.txt", "try: rnnc compile")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 40):
        data[at] ^= 0x55
    path.write_bytes(data)


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("rnnc/constants.npz", truncate),
        ("rnnc/constants.npz", flip),
        ("rnnc/constants.npz", Path.unlink),
        ("rnnc/graph.txt", truncate),
        ("rnnc/graph.txt", flip),
        ("rnnc/graph.txt", edit("conv2d(", "conv3d(")),
        ("rnnc/graph.txt", edit("int8[8,8,2]", "int8[8,9,2]")),
        ("rnnc/graph.txt", edit("int8[8,8,2]", "int8[-8,8,2]")),
        ("rnnc/plan.json", truncate),
        ("rnnc/plan.json", Path.unlink),
        ("rnnc/plan.json", edit('"offset"', '"offzet"')),
        ("rnnc/plan.json", edit('"nodes"', '"notes"')),
        ("report.json", truncate),
        ("report.json", edit('"model"', '"modell"')),
        ("report.json", edit("{", '["')),
    ],
)
@pytest.mark.parametrize("command", ["report", "verify"])
def test_damaged_bundles(command: str, name: str, damage: Callable[[Path], None], rnnc: Rnnc, bundle: Path) -> None:
    damage(bundle / name)
    options = ("--on", "host") if command == "verify" else ()
    ended = rnnc(command, bundle, *options)
    assert_refused(ended, "bundle: the compiled model is damaged", "why: ", "try: compile it again")


def test_a_bundle_without_its_c(rnnc: Rnnc, bundle: Path) -> None:
    (bundle / "model.c").write_text("int broken(;\n")
    ended = rnnc("verify", bundle, "--on", "host")
    assert_refused(ended, "model.c: the C compiler refused a file", "why: ")


RUN_INPUTS: dict[str, tuple[Array, tuple[str, ...]]] = {
    "wrong shape": (
        np.zeros((2, 8, 9), np.float32),
        ("input 'input': an array of shape (2, 8, 9) does not fit", "why: the model takes ('n', 2, 8, 8)"),
    ),
    "wrong type": (np.zeros((2, 8, 8), np.int32), ("an array of int32 does not fit", "the model takes float32")),
    "NaN": (np.full((1, 2, 8, 8), np.nan, np.float32), ("input 'input': the array holds NaN or infinity",)),
    "no runs": (np.zeros((0, 2, 8, 8), np.float32), ("does not fit",)),
}


@pytest.mark.parametrize("case", RUN_INPUTS)
def test_run_with_bad_inputs(case: str, rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    array, words = RUN_INPUTS[case]
    np.save(tmp_path / "x.npy", array)
    ended = rnnc("run", bundles / "classifier", "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy")
    assert_refused(ended, *words)
    assert not (tmp_path / "y.npy").exists()


def test_run_with_files_that_do_not_fit(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    x = np.zeros((1, 2, 8, 8), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "a.npz", a=np.zeros((1, 2, 6, 6), np.float32))
    np.savez(tmp_path / "ab.npz", a=np.zeros((2, 2, 6, 6), np.float32), b=np.zeros((3, 6, 6, 3), np.float32))
    (tmp_path / "text.npy").write_text("1, 2, 3")
    np.savez(tmp_path / "objects.npz", allow_pickle=True, x=np.array([None], object))
    cut = tmp_path / "cut.npz"
    np.savez_compressed(cut, x=np.random.default_rng(0).normal(size=(1, 2, 8, 8)).astype(np.float32))
    flip(cut)
    for name, model, words in (
        ("no.npy", "classifier", ("no.npy: the file cannot be read", "No such file")),
        ("text.npy", "classifier", ("text.npy: this is not a numpy file", "try: save it with numpy.save")),
        ("objects.npz", "classifier", ("this is not a numpy file",)),
        ("cut.npz", "classifier", ("this is not a numpy file",)),
        ("a.npz", "two", ("the input 'b' is missing", "there is a")),
        ("ab.npz", "two", ("the inputs hold different numbers of runs", "'a': 2")),
    ):
        ended = rnnc("run", bundles / model, "--input", tmp_path / name)
        assert_refused(ended, *words)


def test_names_that_cannot_hold_the_outputs(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 6, 6), np.float32), b=np.zeros((6, 6, 3), np.float32))
    arguments = ("run", bundles / "two", "--input", tmp_path / "x.npz", "-o")
    assert_refused(rnnc(*arguments, tmp_path / "y.txt"), "y.txt: outputs are written as .npy or .npz")
    ended = rnnc(*arguments, tmp_path / "y.npy")
    assert_refused(ended, "an .npy file holds one array, the model has 2 outputs", "try: name it .npz")
    assert_refused(rnnc(*arguments, tmp_path / "x.npz" / "y.npz"), "y.npz: cannot write here", "why: ")


def test_unknown_board_place_and_zoo_name(rnnc: Rnnc, bundles: Path, tmp_path: Path) -> None:
    ended = rnnc("build", bundles / "classifier", "--board", "arduino", "-o", tmp_path / "b")
    assert_refused(ended, "unknown board 'arduino'", "stm32f439")
    assert_refused(rnnc("verify", bundles / "classifier", "--on", "moon"), "'moon' is not one of host, qemu")
    ended = rnnc("zoo", "export", "alexnet", "-o", tmp_path / "a.onnx")
    assert_refused(ended, "the zoo has no network 'alexnet'", "try: one of rnnpool-face-m4")
    assert_refused(rnnc("zoo", "export", "ds-cnn", "-o", bundles / "two.onnx" / "a.onnx"), "cannot write here")
    assert_refused(rnnc("compress"), "No such command 'compress'")
    assert_refused(rnnc("compile"), "Missing")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leaves only some programs in PATH."""

    def only(*names: str) -> None:
        folder = tmp_path / "programs"
        folder.mkdir()
        for name in names:
            found = shutil.which(name)
            assert found
            (folder / name).symlink_to(found)
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CC", raising=False)

    return only


def test_without_a_c_compiler(rnnc: Rnnc, bundles: Path, tools: Callable[..., None]) -> None:
    tools()
    ended = rnnc("verify", bundles / "classifier", "--on", "host", "-n", "1")
    assert_refused(ended, "PATH: no C compiler was found", "try: apt install gcc", "rnnc doctor")


def test_without_qemu(rnnc: Rnnc, bundles: Path, tools: Callable[..., None]) -> None:
    arm = [f"arm-none-eabi-{name}" for name in ("gcc", "objcopy", "objdump", "readelf")]
    tools(*arm)
    ended = rnnc("verify", bundles / "classifier", "--on", "qemu", "-n", "1")
    assert_refused(ended, "'qemu-system-arm' was not found", "try: apt install qemu-system-arm")


def test_without_an_arm_compiler(rnnc: Rnnc, bundles: Path, tools: Callable[..., None], tmp_path: Path) -> None:
    """Compiling still works, only the stack is unknown; building does not."""
    tools("gcc")
    ended = rnnc("compile", bundles / "classifier.onnx", "-o", tmp_path / "out")
    assert ended.code == 0
    assert "warning: stack and code size are not known, because arm-none-eabi-gcc is missing" in ended.text
    assert "stack unknown" in ended.text
    ended = rnnc("build", tmp_path / "out", "--board", "stm32f439")
    assert_refused(ended, "'arm-none-eabi-gcc' was not found", "apt install gcc-arm-none-eabi")
    assert rnnc("report", tmp_path / "out").code == 0


def test_flash_without_a_probe(rnnc: Rnnc, bundles: Path) -> None:
    ended = rnnc("flash", bundles / "classifier", "--board", "stm32f439")
    assert ended.code in (1, 2)
    assert "Traceback" not in ended.text
    assert "probe" in ended.text.lower() or "st-link" in ended.text.lower()
