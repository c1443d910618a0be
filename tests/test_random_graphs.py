"""Random models through the whole compiler: every way to run one gives the same bytes, and the right ones."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from onnx import ModelProto

from rnnc.bundle import Bundle
from rnnc.codegen.lower import lower
from rnnc.codegen.render import render, runtime_files
from rnnc.execute import execute
from rnnc.frontend.calibrate import calibrate
from rnnc.frontend.importer import import_model
from rnnc.frontend.load import prepare_model
from rnnc.frontend.samples import Samples, generated_samples, input_specs
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Graph
from rnnc.ir.interpret import model_output, run_float, run_integer
from rnnc.ir.op import FloatOp
from rnnc.ir.ops import FLOAT_OPS
from rnnc.ir.types import Array, FloatArray, Quant
from rnnc.passes import FLOAT_PASSES, integer_passes, run_passes
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.choose import Optimize, Scheduled, Wish, choose
from rnnc.scheduler.plan import InputMode, OutputMode
from rnnc.scheduler.simulate import simulate
from rnnc.target import load_target
from tests.onnx_models import onnx_model
from tests.random_models import models

ARITHMETICS: tuple[Arithmetic, ...] = ("fast", "tflite")
OPTIMIZE: tuple[Optimize, ...] = ("balanced", "ram")
MODES: tuple[Mode, ...] = ("layer", "rows", "auto")
TOLERANCE = 3.5
"""Output steps: the largest of 3,000 random models is between 3 and this."""
SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def quiet(name: str, text: str) -> None:
    """What passes say is not looked at here."""


def ranges_of(model: ModelProto, samples: Samples) -> dict[str, tuple[float, float]]:
    return {name: (item.low, item.high) for name, item in calibrate(model, samples, method="minmax").items()}


def compiled(model: ModelProto, ranges: Mapping[str, tuple[float, float]], arithmetic: Arithmetic) -> Graph:
    graph = import_model(model, FLOAT_OPS)
    graph.arithmetic = arithmetic
    run_passes(graph, (*FLOAT_PASSES, *integer_passes(ranges)), quiet)
    return graph


def device_inputs(graph: Graph, seed: int, runs: int = 2) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {port.name: rng.integers(-128, 128, (runs, *port.value.type.shape)).astype(np.int8) for port in graph.inputs}


def interpreted(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Device outputs of one run of the whole-tensor interpreter."""
    real = {}
    for port in graph.inputs:
        real[port.name] = model_output(port, inputs[port.name])
    values = run_integer(graph, real)
    return {port.name: values[port.value.name] for port in graph.outputs}


def bundle_of(graph: Graph, mode: Mode, modes: tuple[InputMode, OutputMode], folder: Path) -> Bundle:
    """C in ``folder``, without the report, which takes an Arm compiler."""
    return written(Scheduled(graph, schedule(graph, load_target(), mode, *modes)), folder)


def written(scheduled: Scheduled, folder: Path) -> Bundle:
    graph, plan = scheduled.graph, scheduled.plan
    program = lower(graph, plan, "net")
    for name, text in {**render(program), **runtime_files(program)}.items():
        (folder / name).write_text(text)
    return Bundle(folder, graph, plan, {"model": "net"})


def assert_equal(expected: Mapping[str, Array], actual: Mapping[str, Array], what: str) -> None:
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=f"{what}, output {name}")


def ways(graph: Graph) -> list[tuple[InputMode, OutputMode]]:
    """How a graph can take its inputs and give its outputs."""
    passed_through = any(graph.is_output(port.value) for port in graph.inputs)
    input_modes: list[InputMode] = ["buffer"]
    if not passed_through:
        input_modes += ["lent"] if len(graph.inputs) > 1 else ["stream", "lent"]
    output_modes: list[OutputMode] = ["buffer"] if passed_through else ["buffer", "stream"]
    return list(itertools.product(input_modes, output_modes))


def assert_all_ways_agree(source: ModelProto, arithmetic: Arithmetic, mode: Mode, way: int, seed: int) -> None:
    """The whole-tensor interpreter, the simulation of every schedule, and the C of one of them."""
    model = prepare_model(source, "random")
    ranges = ranges_of(model, generated_samples(input_specs(model), 3, 0))
    graph = compiled(model, ranges, arithmetic)
    inputs = device_inputs(graph, seed)
    expected = [interpreted(graph, {k: v[run] for k, v in inputs.items()}) for run in range(2)]
    for other, modes in itertools.product(MODES, ways(graph)):
        plan = schedule(graph, load_target(), other, *modes)
        simulated = simulate(graph, plan, {k: v[0] for k, v in inputs.items()})
        assert_equal(expected[0], simulated, f"simulation of {other}, {modes}")
    chosen = [
        next(choose(graph, Wish(load_target(), "auto", *ways(graph)[way % len(ways(graph))], optimize)))
        for optimize in OPTIMIZE
    ]
    for scheduled in chosen:
        simulated = simulate(scheduled.graph, scheduled.plan, {k: v[0] for k, v in inputs.items()})
        assert_equal(expected[0], simulated, f"simulation of {scheduled.plan.notes}")
    with tempfile.TemporaryDirectory() as folder:
        outputs = execute(written(chosen[seed % len(chosen)], Path(folder)), inputs, "host").outputs
    for run in range(2):
        assert_equal(expected[run], {name: array[run] for name, array in outputs.items()}, f"chosen C, run {run}")
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(graph, mode, ways(graph)[way % len(ways(graph))], Path(folder))
        outputs = execute(bundle, inputs, "host").outputs
    for run in range(2):
        assert_equal(expected[run], {name: array[run] for name, array in outputs.items()}, f"host C, run {run}")


@settings(max_examples=25, suppress_health_check=SLOW)
@given(models(), st.sampled_from(ARITHMETICS), st.sampled_from(MODES), st.integers(0, 3), st.integers(0, 99))
def test_every_way_to_run_a_model_gives_the_same_bytes(
    source: ModelProto, arithmetic: Arithmetic, mode: Mode, way: int, seed: int
) -> None:
    note(onnx.printer.to_text(source))
    assert_all_ways_agree(source, arithmetic, mode, way, seed)


ONCE_WRONG = {
    "an in-place operator overwrote an output in the last step": """
        m (float[batch,1,9,10] x) => (float[batch,1,1,1] y, float[batch,1] z) {
          r = Relu (x)
          y = GlobalAveragePool (r)
          f = Flatten <axis = 1> (y)
          z = Softmax <axis = 1> (f)
        }""",
    "a concatenation of concatenations changed the inner one's scale": """
        m (float[batch,3,4,7] x) => (float[batch,8,4,7] y)
        <float[1,3,1,1] w = {0.25, 0.5, 0.6}> {
          c = Conv (x, w)
          one = Concat <axis = 1> (x, x)
          two = Concat <axis = 1> (c, c)
          y = Concat <axis = 1> (one, two)
        }""",
    "rows and columns of a channels-last input were swapped before a slice": """
        m (float[batch,10,12,1] x) => (float[batch,1,10,3] y)
        <int64[1] start = {8}, int64[1] stop = {11}, int64[1] axis = {3}> {
          t = Transpose <perm = [0, 3, 1, 2]> (x)
          s = Slice (t, start, stop, axis)
          y = Softmax <axis = 1> (s)
        }""",
    "a channels-last input was padded along its channels": """
        m (float[batch,9,12,3] x) => (float[batch,3,13,14] y)
        <int64[8] pads = {0, 0, 2, 0, 0, 0, 2, 2}> {
          t = Transpose <perm = [0, 3, 1, 2]> (x)
          y = Pad <mode = "edge"> (t, pads)
        }""",
    "a bundle of one elementwise operator lacked a header": """
        m (float[batch,2,3,4] x) => (float[batch,2,3,4] y) { y = Add (x, x) }""",
}


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("case", ONCE_WRONG)
def test_models_that_once_went_wrong(case: str, arithmetic: Arithmetic) -> None:
    assert_all_ways_agree(onnx_model(ONCE_WRONG[case]), arithmetic, "auto", 0, 1)


OUTPUTS = {
    "one value is two outputs": """
        m (float[batch,2,6,4] x) => (float[batch,2,6,4] y, float[batch,2,6,4] z) {
          y = Relu (x)
          z = Identity (y)
        }""",
    "an output is written over by the next operator, another output": """
        m (float[batch,2,6,4] x) => (float[batch,2,6,4] y, float[batch,2,6,4] z) {
          y = Sigmoid (x)
          z = Tanh (y)
        }""",
    "an output is read later, over a window": """
        m (float[batch,2,9,4] x) => (float[batch,2,9,4] y, float[batch,2,4,1] z) {
          y = Relu (x)
          z = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (y)
        }""",
    "an input is an output as well": """
        m (float[batch,2,6,4] x) => (float[batch,2,6,4] y, float[batch,2,6,4] z) {
          y = Relu (x)
          z = Identity (x)
        }""",
    "the last rows of the input are not needed": """
        m (float[batch,1,9,4] x) => (float[batch,1,4,2] y) {
          y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        }""",
}


@pytest.mark.parametrize("way", range(4))
@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_that_are_more_than_the_end_of_a_chain(case: str, way: int) -> None:
    assert_all_ways_agree(onnx_model(OUTPUTS[case]), "fast", "rows", way, 1)


@pytest.mark.parametrize(
    ("op", "scale", "zero_point"), [("Softmax", 256, -128), ("Sigmoid", 256, -128), ("Tanh", 128, 0)]
)
def test_operators_of_a_fixed_range_get_the_scale_of_tensorflow_lite(op: str, scale: int, zero_point: int) -> None:
    model = prepare_model(onnx_model(f"m (float[batch,3,4,4] x) => (float[batch,3,4,4] y) {{ y = {op} (x) }}"), "m")
    graph = compiled(model, {"x": (-1.0, 1.0), "y": (0.0, 0.3)}, "tflite")
    assert graph.outputs[0].value.type.quant == Quant(1 / scale, zero_point)


@settings(max_examples=200, suppress_health_check=SLOW)
@given(models(), st.integers(0, 99))
def test_the_float_graph_computes_what_onnxruntime_does(source: ModelProto, seed: int) -> None:
    """Before and after the passes on real numbers."""
    note(onnx.printer.to_text(source))
    model = prepare_model(source, "random")
    inputs = {name: array[0] for name, array in generated_samples(input_specs(model), 1, seed).arrays.items()}
    options = onnxruntime.SessionOptions()
    # its optimiser moves a Pad into a pooling that then refuses its own padding
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(source.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, inputs), strict=True))
    graph = import_model(model, FLOAT_OPS)
    for passes in ((), FLOAT_PASSES):
        run_passes(graph, passes, quiet)
        values = run_float(graph, inputs)
        for port in graph.outputs:
            result = model_output(port, values[port.value.name])
            np.testing.assert_allclose(result, expected[port.name][0], rtol=1e-3, atol=1e-4, err_msg=port.name)


@settings(max_examples=200, suppress_health_check=SLOW)
@given(models(), st.sampled_from(ARITHMETICS), st.integers(0, 99))
def test_every_layer_is_near_its_definition(source: ModelProto, arithmetic: Arithmetic, seed: int) -> None:
    """Each operator on the integers that it gets, against the real operator on the numbers that these stand for.

    What may differ is the rounding of weights (half a step of 1/127 of the largest), which grows with their
    number, and of the output; where the whole model is judged, errors of one layer hide behind those of others.
    """
    note(onnx.printer.to_text(source))
    model = prepare_model(source, "random")
    samples = generated_samples(input_specs(model), 3, seed)
    ranges = ranges_of(model, samples)
    graph = import_model(model, FLOAT_OPS)
    graph.arithmetic = arithmetic
    passes = [*FLOAT_PASSES, *integer_passes(ranges)]
    at = [item.name for item in passes].index("quantise")
    run_passes(graph, passes[:at], quiet)
    real = {node.name: node.op for node in graph.nodes}
    run_passes(graph, passes[at : at + 1], quiet)
    arrays = run_integer(graph, {name: array[0] for name, array in samples.arrays.items()})
    meant = {value.name: dequantised(arrays[value.name], value.type.required_quant) for value in graph.values()}
    for node in graph.nodes:
        op, step = real[node.name], node.output.type.required_quant.scale
        assert isinstance(op, FloatOp)
        want = op.evaluate([meant[value.name] for value in node.inputs])
        low, high = (step * (limit - node.output.type.required_quant.zero_point) for limit in (-128, 127))
        error = np.abs(np.clip(want, low, high) - meant[node.output.name]).max()
        assert error <= TOLERANCE * step, f"{node.name} ({node.op.name}): {error / step:.2f} steps"


def dequantised(array: Array, quant: Quant) -> FloatArray:
    return ((array.astype(np.float32) - quant.zero_point) * np.float32(quant.scale)).astype(np.float32)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_emulated_cortex_m4_gives_the_same_bytes(arithmetic: Arithmetic, tmp_path: Path) -> None:
    """A few random models, in the schedules and ways in turn."""
    drawn: list[ModelProto] = []

    @settings(max_examples=10, phases=[Phase.generate], database=None, suppress_health_check=SLOW)
    @given(models(12))
    def collect(source: ModelProto) -> None:
        drawn.append(source)

    collect()
    largest = sorted(drawn, key=lambda source: len(source.graph.node))[-3:]
    for number, (source, mode) in enumerate(zip(largest, MODES, strict=True)):
        model = prepare_model(source, "random")
        graph = compiled(model, ranges_of(model, generated_samples(input_specs(model), 3, 0)), arithmetic)
        inputs = device_inputs(graph, number)
        folder = tmp_path / str(number)
        folder.mkdir()
        way = ways(graph)[-1 - number % len(ways(graph))]
        outputs = execute(bundle_of(graph, mode, way, folder), inputs, "qemu").outputs
        for run in range(2):
            expected = interpreted(graph, {name: array[run] for name, array in inputs.items()})
            assert_equal(expected, {name: array[run] for name, array in outputs.items()}, onnx.printer.to_text(source))
