"""RNNPool: its definition against a direct one and onnxruntime, its fixed-point parts, and its other builds."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from rnnc.diagnostics import CompileError
from rnnc.frontend.rnnpool_function import attach_rnnpool, make_rnnpool_node
from rnnc.ir.channels import ChannelRange, KeptChannels
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Value
from rnnc.ir.importing import SourceNode
from rnnc.ir.op import Const, evaluate
from rnnc.ir.ops import rnnpool_cell as cell
from rnnc.ir.ops import rnnpool_gates as fixed_gates
from rnnc.ir.ops import rnnpool_packing as packing
from rnnc.ir.ops.rnnpool import RnnPool
from rnnc.ir.ops.rnnpool_int import Case, RnnPoolInt, sample
from rnnc.ir.types import Quant, TensorType
from rnnc.resources import boards_dir, runtime_dir
from rnnc.target import load_board
from rnnc.toolchain import cmsis
from rnnc.toolchain.cc import WARNINGS
from rnnc.toolchain.objects import ObjectBuilder, Unit
from rnnc.toolchain.tools import check_tool, find_tool
from tests import kernels

Array = npt.NDArray[np.float64]
SMOOTH = ("Sigmoid", "Tanh")
PIECEWISE = ("QuantSigmoid", "QuantTanh")
ARGUMENTS = np.arange(-32768, 32768)


def pool(
    rng: np.random.Generator,
    sizes: tuple[int, int, int] = (4, 8, 8),
    gates: tuple[str, str] = SMOOTH,
    **fields: tuple[float, ...],
) -> RnnPool:
    """RNNPool with weights of the magnitude that training gives (sizes: channels, h1, h2)."""
    channels, h1, h2 = sizes

    def const(*shape: int, scale: float, shift: float = 0.0) -> Const:
        return Const((rng.normal(size=shape) * scale + shift).astype(np.float32))

    return RnnPool(
        const(h1, channels, scale=0.7),
        const(h1, h1, scale=0.5),
        const(2, h1, scale=0.5, shift=-0.3),
        const(h2, h1, scale=0.7),
        const(h2, h2, scale=0.3),
        const(2, h2, scale=0.5, shift=-0.3),
        gate=gates[0],
        update=gates[1],
        **{"kernel": (6, 6), "strides": (3, 3), "s1": (0.98, 0.01), "s2": (0.95, 0.02), **fields},  # type: ignore[arg-type]
    )


def sweep_directly(op: RnnPool, number: int, vectors: Sequence[Array]) -> Array:
    """FastGRNN over one sequence, as the paper writes it."""
    w, r, b, s = (op.w1, op.r1, op.b1, op.s1) if number == 1 else (op.w2, op.r2, op.b2, op.s2)
    smooth = op.gate == "Sigmoid"
    h = np.zeros(r.values.shape[0])
    for x in vectors:
        pre = w.values.astype(np.float64) @ x + r.values.astype(np.float64) @ h
        a, c = pre + b.values[0], pre + b.values[1]
        z = 1 / (1 + np.exp(-a)) if smooth else np.clip((a + 1) / 2, 0, 1)
        u = np.tanh(c) if smooth else np.clip(c, -1, 1)
        h = z * h + (s[0] * (1 - z) + s[1]) * u
    return h


def pool_directly(op: RnnPool, x: Array) -> Array:
    """Every patch by itself."""
    top, left, bottom, right = op.pads
    padded = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    out = []
    for i in range((padded.shape[0] - op.kernel[0]) // op.strides[0] + 1):
        for j in range((padded.shape[1] - op.kernel[1]) // op.strides[1] + 1):
            y, z = i * op.strides[0], j * op.strides[1]
            patch = padded[y : y + op.kernel[0], z : z + op.kernel[1]]
            rows = [sweep_directly(op, 1, list(row)) for row in patch]
            columns = [sweep_directly(op, 1, list(column)) for column in patch.transpose(1, 0, 2)]
            ways = (rows, rows[::-1], columns, columns[::-1])
            out.append(np.concatenate([sweep_directly(op, 2, way) for way in ways]))
    return np.array(out)


def snr(reference: Array, value: Array) -> float:
    """Signal to noise in dB."""
    return float(10 * np.log10((reference**2).sum() / ((reference - value) ** 2).sum()))


@pytest.mark.parametrize("gates", [SMOOTH, PIECEWISE])
@pytest.mark.parametrize("geometry", [((3, 2), (2, 1), (1, 0, 2, 1)), ((2, 3), (3, 4), (0, 0, 0, 0))])
def test_evaluate_is_the_direct_definition(gates: tuple[str, str], geometry: tuple[tuple[int, ...], ...]) -> None:
    rng = np.random.default_rng(1)
    kernel, strides, pads = geometry
    op = pool(rng, (3, 5, 4), gates, kernel=kernel, strides=strides, pads=pads)
    x = rng.uniform(0, 2, (7, 8, 3))
    y = op.evaluate([x.astype(np.float32)])
    assert y.shape == op.infer([TensorType(x.shape)]).shape
    np.testing.assert_allclose(y.reshape(-1, 16), pool_directly(op, x), atol=1e-6)


def test_evaluate_equals_onnxruntime() -> None:
    rng = np.random.default_rng(2)
    op = pool(rng, pads=(1, 0, 2, 1))
    x = rng.uniform(0, 2, (11, 10, 4)).astype(np.float32)
    consts = {n: getattr(op, n.lower()).values for n in ("W1", "R1", "B1", "W2", "R2", "B2")}
    consts |= {"S1": np.float32(op.s1), "S2": np.float32(op.s2)}
    node = make_rnnpool_node(["X", *consts], "Y", kernel_shape=op.kernel, strides=op.strides, pads=op.pads)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node],
        "g",
        [info("X", onnx.TensorProto.FLOAT, [1, 4, 11, 10])],
        [info("Y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in consts.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(attach_rnnpool(model).SerializeToString())
    (y,) = session.run(None, {"X": x.transpose(2, 0, 1)[None]})
    np.testing.assert_allclose(op.evaluate([x]), y[0].transpose(1, 2, 0), atol=1e-5)


@pytest.mark.parametrize("gates", [SMOOTH, PIECEWISE])
@pytest.mark.parametrize("sizes", [(4, 16, 16), (8, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_int8_signal_to_noise(gates: tuple[str, str], sizes: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    op = pool(rng, sizes, gates)
    stored = rng.integers(-128, 128, (18, 18, sizes[0])).astype(np.int8)
    x = TensorType(stored.shape, "int8", Quant(2.0 / 255, -128))
    real = ((stored.astype(np.float64) + 128) * (2.0 / 255)).astype(np.float32)
    reference = op.evaluate([real])
    scale = float(reference.max() - reference.min()) / 255
    zero_point = round(-128 - float(reference.min()) / scale)
    y = replace(op.infer([x]), dtype="int8", quant=Quant(scale, zero_point))
    result = evaluate(op.quantise([x], y, "fast"), [stored], [x], y)
    value = (result.astype(np.float64) - zero_point) * scale
    rounded = np.rint(reference / scale) * scale
    assert snr(reference, value) > 40
    assert snr(reference, value) > snr(reference, rounded) - 1.5, "arithmetic costs more than the int8 output"


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh"])
def test_tables_are_right_for_every_argument(name: str) -> None:
    """At most 2 LSB of Q15's top 12 bits, clipping at +-8 included; monotonic; tanh(0) = 0."""
    values = fixed_gates.gate_fixed(name, ARGUMENTS)
    wanted = fixed_gates.gate_real(name, ARGUMENTS / 2.0**fixed_gates.FRACTION) * 2.0**15
    assert np.abs(values - wanted).max() <= 2 * 2**4
    assert np.all(np.diff(values) >= 0)
    inside = np.abs(ARGUMENTS) < 4 << fixed_gates.FRACTION
    assert np.abs(values - wanted)[inside].max() < 5
    if name == "Tanh":
        assert values[32768] == 0


@pytest.mark.parametrize("mix", [(1.0, 0.0), (0.98, 0.05), (0.3, 0.6), (0.0, 1.0), (1.0, 1.0)])
def test_tables_of_units_are_right_for_every_argument(mix: tuple[float, float]) -> None:
    """z and g by themselves: at most 2 LSB of Q15's top 12 bits, clipping at +-8 included."""
    leads = np.array([-3.5, -1.3, -0.4, 0, 0.01, 0.6, 2, 3.5])
    zeta, nu = (round(part * 2**15) for part in mix)
    a = np.repeat(ARGUMENTS[:, None], len(leads), axis=1)
    real = a / 2.0**fixed_gates.FRACTION
    z = 0.5 + 0.5 * np.tanh(real / 2)
    g = (mix[0] * (1 - z) + mix[1]) * np.tanh(real + leads)
    stored = np.rint(leads * 2**fixed_gates.FRACTION).astype(np.int16)
    bits = fixed_gates.UNIT_SEGMENT_BITS
    z_found = fixed_gates.interpolate(fixed_gates.z_table(), a, bits) / 2.0**16
    g_found = fixed_gates.interpolate(fixed_gates.g_tables(stored, zeta, nu), a, bits) / 2.0**15
    assert np.abs(z_found - z * 2**15).max() <= 2 * 2**4
    assert np.abs(g_found - g * 2**15).max() <= 2 * 2**4 * max(1, sum(mix))
    assert (np.abs(z_found) + np.abs(g_found)).max() < 2 * 2**15, "z * h + g does not fit 32 bits"


@pytest.mark.parametrize("name", PIECEWISE)
def test_piecewise_linear_gates_are_exact(name: str) -> None:
    wanted = fixed_gates.gate_real(name, ARGUMENTS / 2.0**fixed_gates.FRACTION) * 2.0**15
    assert np.array_equal(fixed_gates.gate_fixed(name, ARGUMENTS), np.minimum(wanted, 32767))


@pytest.mark.parametrize("largest", [0.01, 3.0, 15.0, 16.5, 700.0])
def test_quantised_matrix_cannot_overflow_32_bits(largest: float) -> None:
    rng = np.random.default_rng(3)
    real = rng.uniform(-largest, largest, (6, 9))
    fraction = fixed_gates.FRACTION
    stored, shift = cell.quantise_matrix(real * 2.0**fraction)
    assert np.abs(stored.astype(np.int64)).sum(axis=1).max() * 2**15 < 2**31
    assert np.abs(stored * 2.0 ** (shift - fixed_gates.FRACTION) - real).max() <= 2.0 ** (
        shift - fixed_gates.FRACTION - 1
    )
    assert shift == 0 or np.abs(real).sum() * 2.0 ** (fixed_gates.FRACTION + 1 - shift) > 2**15


def test_weights_beyond_any_shift_are_refused() -> None:
    with pytest.raises(CompileError, match="weights of an RNNPool cell are too large"):
        cell.quantise_matrix(np.full((2, 2), 1e12))


def test_too_many_hidden_units_are_refused() -> None:
    many = cell.MAX_HIDDEN + 1
    wide = cell.FloatCell(np.zeros((many, 1)), np.zeros((many, many)), np.zeros((2, many)), 1.0, 0.0, *SMOOTH)
    with pytest.raises(CompileError, match="an RNNPool cell of 1001 hidden units"):
        cell.quantise_cell(wide, 2.0**-15)


# Face-M4 of the paper: 160 x 120 x 4 after the first convolution, patches of 8 with stride 4
FACE = Case((120, 160, 4), (16, 16), (8, 8), (4, 4))


def test_sharing_halves_the_work_of_face_m4() -> None:
    face = sample(np.random.default_rng(4), FACE)
    op = face.op
    assert isinstance(op, RnnPoolInt)
    nominal = op.geometry(face.inputs[0], face.output).nominal_macs()
    assert face.output.shape == (29, 39, 64)
    assert nominal == 29 * 39 * (128 * (4 * 16 + 16 * 16) + 32 * (16 * 16 + 16 * 16))
    assert op.macs(face.inputs, face.output) < 0.5 * nominal
    assert op.macs(face.inputs, face.output) < replace(op, share_rows=0).macs(face.inputs, face.output)
    assert op.scratch_bytes(face.inputs, face.output) < 3000
    assert op.state_bytes(face.inputs, face.output) == 39 * 4 * 16 * 2
    assert replace(op, share_rows=0).state_bytes(face.inputs, face.output) == 0


def test_leaner_operators_of_face_m4() -> None:
    face = sample(np.random.default_rng(4), FACE)
    assert isinstance(face.op, RnnPoolInt)
    fastest = face.op.fastest(face.inputs[0], face.output)
    found = [fastest, *fastest.leaner(face.inputs, face.output)]
    needs = [
        (op.scratch_bytes(face.inputs, face.output), op.state_bytes(face.inputs, face.output), op.share_rows, op.batch)
        for op in found
        if isinstance(op, RnnPoolInt)
    ]
    assert needs == [
        *((2592, 4992, 1, 1), (2336, 4992, 1, 4), (1056, 4992, 1, 1)),
        *((4128, 0, 0, 1), (2336, 0, 0, 4), (1056, 0, 0, 1)),
    ]
    macs = [op.macs(face.inputs, face.output) for op in found]
    assert macs == sorted(macs)
    assert found[-1].leaner(face.inputs, face.output) == ()


def test_channels_at_the_zero_point_can_go() -> None:
    rng = np.random.default_rng(5)
    case = sample(rng, Case((5, 6, 4), (4, 4), (3, 3), (2, 2)))
    op, source = case.op, case.inputs[0]
    zero_point = source.required_quant.zero_point
    x = rng.integers(-128, 128, source.shape).astype(np.int8)
    x[..., [0, 2]] = zero_point
    low = np.array([zero_point, 5, zero_point, -128])
    ranges = ChannelRange(low, np.array([zero_point, 5, zero_point, 127]))
    gone = op.droppable(0, ranges, case.inputs)
    other = zero_point == 5
    assert gone.tolist() == [True, other, True, False]
    kept = KeptChannels(np.array([False, True, False, True]), ranges)
    smaller = op.keep_channels([kept], np.ones(16, np.bool_), case.inputs)
    narrow = source.with_shape((5, 6, 2))
    whole = evaluate(op, [x], case.inputs, case.output)
    assert np.array_equal(evaluate(smaller, [x[..., [1, 3]]], [narrow], case.output), whole)


# --- other builds of the kernel; tests/ir/ops/test_registry.py runs the usual ones ---


def test_samples_have_recurrent_matrices_in_every_form() -> None:
    found = set()
    for case in kernels.cases_of(RnnPoolInt, "fast"):
        members = case.sample.op.kernel(case.sample.inputs, case.sample.output).members  # type: ignore[union-attr]
        found |= {members["rnn1.form"], members["rnn2.form"]}
    assert found == {f"RNNC_RNN_{form}" for form in ("PLAIN", "DENSE_8", "DENSE_16", "SPARSE_16")}


def test_units_are_ordered_for_few_tiles() -> None:
    rng = np.random.default_rng(10)
    op = sample(rng, replace(FACE, density=0.3)).op
    assert isinstance(op, RnnPoolInt)
    cell1, _, order = op.kernel_cells
    assert sorted(order) == list(range(16))

    def tiles(matrix: npt.NDArray[np.int16]) -> int:
        return int(np.count_nonzero(matrix.reshape(8, 2, 8, 2).any(axis=(1, 3))))

    assert tiles(cell1.r) <= 42 < tiles(op.r1)
    (choice, _) = op.choices()
    assert f"in {tiles(cell1.r)} of 64 tiles: sparse" in choice


@pytest.mark.parametrize(("density", "gain", "form"), [(1.0, 1.0, "DENSE"), (0.2, 1.0, "SPARSE"), (0.2, 64.0, "PLAIN")])
def test_packed_matrices_mean_the_same(density: float, gain: float, form: str) -> None:
    """Unpacked as the kernel reads it: twice the weights, and the biases in the upper half."""
    case = replace(FACE, density=density, gain=gain)
    fixed = sample(np.random.default_rng(11), case).op.kernel_cells[0]  # type: ignore[union-attr]
    found, packed = packing.packed_matrix(fixed)
    assert found == form
    if packed is None:
        return
    stream, at, matrix = iter(packed.tolist()), 0, np.zeros((16, 16), np.int64)

    def put(words: Sequence[int], row: int) -> None:
        for unit, word in enumerate(words):
            matrix[row + unit, at : at + 2] = ((word & 0xFFFF) ^ 0x8000) - 0x8000, word >> 16

    for row in range(0, 16, 2):
        biases = [next(stream), next(stream)] if form == "DENSE" else []
        more = 7
        for number in range(8):
            if number > more:
                break
            words = [next(stream), next(stream)]
            if form == "SPARSE":
                biases = biases if number else [next(stream), next(stream)]
                at += next(stream) // 2
                more = more if number else 7 - next(stream)
            else:
                at = 2 * number
            put(words, row)
        assert biases == [int(fixed.bias[0, row]) << 16, int(fixed.bias[0, row + 1]) << 16]
    assert next(stream, None) is None
    assert np.array_equal(matrix, 2 * fixed.r)


def rnnpool_cases() -> list[kernels.Case]:
    return list(kernels.cases_of(RnnPoolInt, "fast"))


def check(cases: Sequence[kernels.Case], run: kernels.Run) -> None:
    for case, results in zip(cases, run.results, strict=True):
        assert not kernels.disagreement(case, results, run.failure)


def build_with_cmsis(cases: Sequence[kernels.Case], work: Path, define: str) -> Path:
    """`kernels.build` for QEMU with CMSIS-DSP linked."""
    library = cmsis.fetch()
    board = load_board("qemu-mps2-an386")
    generated = work / "cases.c"
    generated.write_text(kernels.print_cases(cases))
    code = kernels.code_flags(board)
    shim = (runtime_dir() / "cmsis", library / "Include", library / "PrivateInclude")
    flags = (*WARNINGS, "-Werror", *code, "-DRNNC_CMSIS_DSP", define)
    include = (runtime_dir() / "include", kernels.DRIVER, boards_dir() / "firmware", *board.include)
    sources = [*kernels.sources_of(cases), kernels.DRIVER / "driver.c", generated, *board.sources]
    units = [Unit(source, flags, include, shim) for source in sources]
    units += [Unit(library / name, ("-std=gnu11", *code), (), shim) for name in cmsis.SOURCES]
    compiler = find_tool("arm-none-eabi-gcc")
    program = work / "kernels.elf"
    objects = ObjectBuilder(compiler, work).build(units)
    check_tool([compiler, *code, *objects, *kernels.link_flags(board), "-o", program], where=program.name)
    return program


def symbols(program: Path) -> set[str]:
    listing = subprocess.run([find_tool("arm-none-eabi-nm"), program], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in listing.stdout.splitlines()}


@pytest.mark.parametrize(
    ("define", "linked"),
    [
        ("-DRNNC_RNNPOOL_LIBRARY=0", {"arm_fill_q15"}),
        ("-DRNNC_RNNPOOL_LIBRARY=1", {"arm_copy_q15", "arm_fill_q15", "arm_mat_vec_mult_q15", "arm_shift_q15"}),
    ],
)
def test_cmsis_dsp_gives_the_same_bytes(define: str, linked: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found: set[str] = set()

    def build(
        cases: Sequence[kernels.Case], place: kernels.Place, arithmetic: Arithmetic, work: Path, extra: Sequence[Path]
    ) -> Path:
        program = build_with_cmsis(cases, work, define)
        found.update(symbols(program))
        return program

    monkeypatch.setattr(kernels, "build", build)
    cases = rnnpool_cases()
    check(cases, kernels.run_cases(cases, "qemu", "fast"))
    assert linked <= found


# --- import ---


class Importer:
    """As much of a Builder as from_onnx needs."""

    def __init__(self) -> None:
        self.emitted: list[RnnPool] = []

    def emit(self, op: RnnPool, inputs: Sequence[Value], name: str) -> Value:
        self.emitted.append(op)
        return Value(name, op.infer([value.type for value in inputs]))

    def value(self, node: SourceNode, index: int) -> Value:
        value = node.inputs[index]
        assert isinstance(value, Value)
        return value

    def const(self, node: SourceNode, index: int) -> Const:
        const = node.inputs[index]
        assert isinstance(const, Const)
        return const

    def onnx_shape(self, value: Value) -> tuple[int, ...]:
        height, width, channels = value.type.shape
        return (1, channels, height, width)

    def to_hwc(self, value: Value) -> Value:
        return value

    def from_hwc(self, value: Value, shape: tuple[int, ...]) -> Value:
        return Value(value.name, TensorType(shape[1:]))

    def refuse(self, node: SourceNode, what: str, *, why: str = "", remedy: str = "") -> NoReturn:
        raise CompileError(what, where=node.name, why=why, remedy=remedy)


def node_of(op: RnnPool, s1: Const | None = None, **attributes: object) -> SourceNode:
    consts = (op.w1, op.r1, op.b1, op.w2, op.r2, op.b2)
    given = {"kernel_shape": op.kernel, "strides": op.strides, "pads": op.pads, **attributes}
    x = Value("x", TensorType((9, 12, 4)))
    return SourceNode("RNNPool", "pool", (x, *consts, s1), ("y",), given, 1)  # type: ignore[arg-type]


def test_import_reads_attributes_and_defaults() -> None:
    source = pool(np.random.default_rng(6), pads=(1, 2, 0, 1))
    importer = Importer()
    s1 = Const(np.array([0.75, 0.25], np.float32))
    y = RnnPool.from_onnx(node_of(source, s1, gate_activation="QuantSigmoid"), importer)
    (op,) = importer.emitted
    assert (op.kernel, op.strides, op.pads) == ((6, 6), (3, 3), (1, 2, 0, 1))
    assert (op.gate, op.update, op.s1, op.s2) == ("QuantSigmoid", "Tanh", (0.75, 0.25), (1.0, 0.0))
    assert y.type.shape == (32, 2, 4)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"cell": "GRU"}, "pool: RNNPool with cell=GRU\n  why: only FastGRNN cells are supported"),
        ({"gate_activation": "Relu"}, "gate_activation=Relu\n  why: supported: Sigmoid, QuantSigmoid"),
        ({"update_activation": "Sigmoid"}, "update_activation=Sigmoid\n  why: supported: Tanh, QuantTanh"),
        ({"kernel_shape": (3,)}, "it gives the rows and columns of a patch"),
        ({"kernel_shape": (65, 1)}, "patches of 65 rows"),
        ({"strides": (0, 1)}, "two steps of at least 1"),
        ({"pads": (0, 0, -1, 0)}, "none negative"),
        ({"s1": Const(np.array([13.1, -13.1], np.float32))}, "store zeta and nu after their sigmoid"),
    ],
)
def test_import_refuses(attributes: dict[str, object], message: str) -> None:
    node = node_of(pool(np.random.default_rng(7)), **attributes)  # type: ignore[arg-type]
    with pytest.raises(CompileError) as caught:
        RnnPool.from_onnx(node, Importer())
    assert message in str(caught.value)


def test_import_refuses_weights_that_do_not_fit() -> None:
    op = pool(np.random.default_rng(8))
    node = node_of(replace(op, r1=Const(np.zeros((8, 7), np.float32))))
    with pytest.raises(CompileError, match=r"R1 has shape \(8, 7\) where \(8, 8\) is needed"):
        RnnPool.from_onnx(node, Importer())


def test_patch_larger_than_the_input_is_refused() -> None:
    op = pool(np.random.default_rng(9))
    with pytest.raises(CompileError, match="the patch 6x6 is larger than its padded input 5x9"):
        op.infer([TensorType((5, 9, 4))])
