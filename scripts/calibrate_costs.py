"""Fits the times in rnnc/ir/costs.json to profiles of random networks on the emulated Cortex-M4.

usage: python scripts/calibrate_costs.py           after kernels were changed: measure, fit, write the table (minutes)
       python scripts/calibrate_costs.py --check   the table against profiles of the zoo, which takes no part in the fit

A sample is one operator of a network: the steps that `IntOp.work` counts, and the cycles that the profiler found. Every
operator is there in each of the variants that the scheduler can choose. The fit is of least squares of relative errors,
no time being negative, over all kernels at once, for operators that call other kernels share their times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto
from scipy.optimize import nnls

from rnnc.bundle import bundle_files, read_bundle, write_bundle
from rnnc.codegen.lower import int_op, lower
from rnnc.codegen.render import render, runtime_files
from rnnc.codegen.report import build_report
from rnnc.frontend.calibrate import calibrate
from rnnc.frontend.importer import import_model
from rnnc.frontend.load import load_model
from rnnc.frontend.samples import generated_samples, input_specs
from rnnc.frontend.sparsify import sparsify
from rnnc.ir.costs import ANY, TABLE, summed
from rnnc.ir.fixedpoint import Arithmetic
from rnnc.ir.graph import Graph, Node
from rnnc.ir.op import IntOp
from rnnc.ir.ops import FLOAT_OPS, INT_OPS
from rnnc.ir.ops.conv import Conv2D
from rnnc.passes import FLOAT_PASSES, integer_passes, run_passes
from rnnc.profiler.profile import profile_bundle
from rnnc.scheduler.bounds import memory_bounds
from rnnc.scheduler.choose import Scheduled, Wish
from rnnc.scheduler.execution import Network as Jobs
from rnnc.scheduler.segments import Options as Modes
from rnnc.scheduler.variants import Variants
from rnnc.target import load_target
from rnnc.zoo import build as build_network
from rnnc.zoo.layers import Network, Tensor, Window, centred, same

ROOMY = "host"
"""A target without limits: what is measured need not fit a chip."""

WORKERS = 2

LEVELS = 12
"""Steps from every operator's fastest option to its leanest."""

SPARSITY = {"W": 0.5, "R": 0.3}
"""What is left of RNNPool's weights in some networks, as in the paper."""

INPUTS = 2
"""Generated ones, for calibration."""

SMALL = 1000
"""Cycles: errors of layers that take about as long or less weigh less than in proportion."""

SHARE = 0.01
"""Layers that take a smaller part of a network are not judged."""

CHECKED = (
    "ds-cnn",
    "resnet-8",
    "mobilenetv1-0.25-96",
    "mobilenetv2-0.35-96",
    "mobilenetv2-0.35-144",
    "rnnpool-vww",
    "rnnpool-face-m4",
)

GATES = tuple((gate, update) for gate in ("Sigmoid", "QuantSigmoid") for update in ("Tanh", "QuantTanh"))

Columns = tuple[str, str]
"""Kernel and step."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One operator of a network, ``measured`` in cycles; ``share`` is its part of the network's."""

    network: str
    node: Node
    measured: int
    share: float

    @property
    def counts(self) -> dict[Columns, int]:
        """What its loops do."""
        return dict(summed(int_op(self.node).work(self.node.input_types, self.node.output.type)))

    @property
    def general(self) -> dict[Columns, int]:
        """Its work as that of an operator that knows nothing of its kernel."""
        (work,) = IntOp.work(int_op(self.node), self.node.input_types, self.node.output.type)
        return {(ANY, step): count for step, count in work.counts.items()}

    @property
    def predicted(self) -> int:
        """By the table as it is."""
        return int_op(self.node).cycles(self.node.input_types, self.node.output.type)

    @property
    def error(self) -> float:
        """Of the prediction, relative."""
        return self.predicted / self.measured - 1


# --- networks to measure ---


def bottlenecks(rng: np.random.Generator) -> ModelProto:
    """MobileNet's layers: first layer, inverted residuals, wide head."""
    size, channels = int(rng.integers(30, 75)), int(rng.choice([1, 3, 4]))
    net = Network("bottlenecks", (channels, size, int(rng.integers(30, 75))), int(rng.integers(2**31)))
    x = net.conv_bn(net.input, int(rng.integers(2, 6)) * 4, centred(3, 2), activation="Relu6")
    for _ in range(5):
        out = x.channels if rng.random() < 0.4 else int(rng.integers(4, 28)) * int(rng.choice([1, 2, 4]))
        stride = int(rng.choice([1, 1, 2])) if min(x.size) > 6 else 1
        kernel = int(rng.choice([3, 3, 3, 5, 7]))
        hidden = x.channels * int(rng.choice([1, 3, 6]))
        y = net.conv_bn(x, hidden, centred(1), activation="Relu6") if hidden != x.channels else x
        y = net.conv_bn(y, hidden, centred(kernel, stride), groups=hidden, activation="Relu6")
        y = net.conv_bn(y, out, centred(1), activation="")
        x = net.node("Add", [x, y], x.shape) if x.shape == y.shape else y
    return classified(net, net.conv_bn(x, int(rng.integers(30, 90)) * 4, centred(1), activation="Relu6"), rng)


def convolutions(rng: np.random.Generator) -> ModelProto:
    """Convolutions of all shapes, pooling, additions."""
    shape = (int(rng.choice([1, 2, 3, 5])), int(rng.integers(20, 50)), int(rng.integers(10, 50)))
    net = Network("convolutions", shape, int(rng.integers(2**31)))
    kernel = (int(rng.choice([3, 5, 7, 10])), int(rng.choice([1, 3, 4, 5])))
    stride = int(rng.choice([1, 2]))
    x = net.conv_bn(net.input, int(rng.integers(4, 36)), same(shape[1:], kernel, (stride, stride)))
    for _ in range(6):
        kind = int(rng.integers(8))
        out = int(rng.integers(2, 16)) * int(rng.choice([1, 2, 4, 4]))
        if kind == 0:
            window = Window((2, 2), (2, 2)) if rng.random() < 0.5 else Window((3, 3), (1, 1))
            if min(x.size) > 4:
                pooling = str(rng.choice(["MaxPool", "AveragePool"]))
                shape = (x.channels, *window.output_size(x.size))
                x = net.node(pooling, [x], shape, kernel_shape=window.kernel, strides=window.strides)
        elif kind == 1:
            y = net.conv_bn(x, x.channels, centred(3))
            x = net.node("Relu", [net.node("Add", [x, y], x.shape)], x.shape)
        elif kind == 2:
            width = int(rng.choice([1, 3, 5]))
            x = net.conv_bn(x, x.channels, same(x.size, (3, width)), groups=x.channels)
        elif kind == 3:
            x = net.conv_bn(x, out, centred(1, int(rng.choice([1, 2]))))
        elif kind == 4:
            groups = int(rng.choice([n for n in (2, 3, 4, 5) if x.channels % n == 0] or [1]))
            x = net.conv_bn(x, groups * int(rng.integers(2, 9)), centred(3), groups=groups)
        else:
            kernel = (int(rng.choice([3, 3, 5])), int(rng.choice([1, 3, 3, 5])))
            stride = int(rng.choice([1, 1, 2]))
            x = net.conv_bn(x, out, same(x.size, kernel, (stride, stride)))
    return classified(net, x, rng)


def three_taps(rng: np.random.Generator) -> ModelProto:
    """Convolutions of three taps in a row at stride 1, over whole words of channels but for the last."""
    net = Network("three_taps", (4, int(rng.integers(6, 24)), int(rng.integers(5, 36))), int(rng.integers(2**31)))
    x = net.input
    for last in (False, False, False, True):
        out = int(rng.integers(1, 18)) * 4 + (int(rng.integers(4)) if last else 0)
        x = net.conv_bn(x, out, same(x.size, (int(rng.choice([1, 2, 3, 3, 5])), 3), (1, 1)))
    return classified(net, x, rng)


def pooled_by_rnn(rng: np.random.Generator) -> ModelProto:
    """RNNPool behind a first layer, and detection heads."""
    shape = (int(rng.choice([1, 3])), int(rng.integers(36, 60)), int(rng.integers(36, 70)))
    net = Network("pooled_by_rnn", shape, int(rng.integers(2**31)))
    x = net.conv_bn(net.input, int(rng.choice([3, 4, 4, 6, 8, 16])), centred(3, int(rng.choice([1, 2]))))
    hidden = (int(rng.choice([4, 6, 8, 8, 12, 16, 16, 16])), int(rng.choice([4, 8, 8, 12, 16, 16])))
    kernel = int(rng.choice([4, 6, 8, 8]))
    stride = int(rng.choice([kernel // 2, kernel // 2, kernel]))
    gates = GATES[int(rng.integers(len(GATES)))] if rng.random() < 0.5 else GATES[0]
    x = net.rnnpool(x, hidden, Window((kernel, kernel), (stride, stride)), gates)
    return classified(net, net.conv_bn(x, int(rng.integers(4, 20)) * 4, centred(3)), rng)


def elementwise(rng: np.random.Generator) -> ModelProto:
    """What moves, joins and scales elements, and a head that reads normalised ones."""
    shape = (int(rng.integers(1, 5)), int(rng.integers(12, 30)), int(rng.integers(9, 40)))
    net = Network("elementwise", shape, int(rng.integers(2**31)))
    x = net.conv_bn(net.input, int(rng.integers(3, 40)), centred(3))
    y = net.node("Sigmoid", [net.conv(x, x.channels, centred(1))], x.shape)
    x = net.node("Mul", [x, y], x.shape)
    pixel = net.node("GlobalAveragePool", [x], (x.channels, 1, 1))
    for kind in ("Mul", "Add"):
        x = net.node(
            kind, [x, net.node("HardSigmoid", [net.conv(pixel, x.channels, centred(1))], pixel.shape)], x.shape
        )
    z = net.conv(x, int(rng.integers(2, 12)), centred(1))
    x = net.node("Concat", [x, z, y], (x.channels + y.channels + z.channels, *x.size), axis=1)
    start = int(rng.integers(0, x.channels - 5))
    end = int(rng.integers(start + 6, x.channels + 1))
    parts = [net.constant(f"slice.{key}", np.array([n])) for key, n in (("from", start), ("to", end), ("axis", 1))]
    x = net.node_with("Slice", [x.name, *parts], (end - start, *x.size))
    pads = net.constant("pads", np.array([0, 0, 1, 2, 0, 0, 0, 1]))
    size = x.size[0] + 1, x.size[1] + 3
    x = net.node_with("Pad", [x.name, pads], (x.channels, *size), mode=str(rng.choice(["edge", "constant"])))
    x = net.node("LpNormalization", [x], x.shape, axis=1, p=2)
    head = net.renamed(net.conv(x, max(1, x.channels // 5), centred(3)), "head")
    largest = net.node("ReduceMax", [x], (1, *x.size), axes=[1], keepdims=1)
    x = net.conv_bn(net.node("Concat", [x, largest], (x.channels + 1, *x.size), axis=1), 8, centred(3))
    pooled = net.node("Flatten", [net.node("GlobalMaxPool", [x], (x.channels, 1, 1))], (x.channels,), axis=1)
    return net.model([net.renamed(net.node("Softmax", [pooled], pooled.shape, axis=-1), "output"), head])


def classified(net: Network, x: Tensor, rng: np.random.Generator) -> ModelProto:
    logits = net.dense(net.average_all(x), int(rng.integers(2, 200)))
    return net.model([net.renamed(net.node("Softmax", [logits], logits.shape, axis=-1), "output")])


FAMILIES: tuple[tuple[Callable[[np.random.Generator], ModelProto], int], ...] = (
    (elementwise, 12),
    (bottlenecks, 6),
    (convolutions, 14),
    (three_taps, 10),
    (pooled_by_rnn, 48),
)
"""Networks, and how many of them."""


# --- measuring ---


def configurations(graph: Graph) -> Iterator[Graph]:
    """The graph with every node's options, from the first to the last in at most LEVELS steps. Then with operators of
    each kind that takes more flash."""
    variants = Variants(graph, beaten=True)
    levels = min(LEVELS, max((len(options) for options in variants.options.values()), default=1))
    for level in range(levels):
        part = level / max(1, levels - 1)
        yield variants.apply({name: round(part * (len(found) - 1)) for name, found in variants.options.items()})
    for kind in INT_OPS:
        others = [(node, kind.widened(int_op(node), node.input_types, node.output.type)) for node in graph.nodes]
        if any(other is not None for _, other in others):
            nodes = [replace(node, op=other or node.op) for node, other in others]
            yield replace(graph, nodes=nodes)


def measure(label: str, graph: Graph, folder: Path) -> list[Sample]:
    """Every operator of a graph of integer operators, run layer by layer."""
    target = load_target(ROOMY)
    plan = Wish(target, "layer").plan(graph)
    program = lower(graph, plan, "sample")
    bounds = memory_bounds(Jobs(graph), Modes())
    report = build_report(bounds, Scheduled(graph, plan), program, target.banks, None, (), ROOMY)
    sources = {**render(program), **runtime_files(program)}
    write_bundle(folder, bundle_files(graph, plan, report, sources))
    profile = profile_bundle(read_bundle(folder))
    measured = {layer.name: layer.figures.cycles for layer in profile.layers}
    whole = profile.total.cycles
    return [Sample(label, node, measured[node.name], measured[node.name] / whole) for node in graph.nodes]


def graph_of(built: ModelProto, arithmetic: Arithmetic, folder: Path, sparse: bool = False) -> Graph:
    """The integer graph of a float model, by ranges that are good enough to measure time; ``sparse``: RNNPool keeps a
    part of its weights."""
    path = folder / "model.onnx"
    path.write_bytes(built.SerializeToString())
    model = load_model(path)
    if sparse:
        sparsify(model, SPARSITY)
    graph = import_model(model, FLOAT_OPS)
    graph.arithmetic = arithmetic
    found = calibrate(model, generated_samples(input_specs(model), INPUTS, 0), method="minmax")
    ranges = {name: (item.low, item.high) for name, item in found.items()}
    for passes in (FLOAT_PASSES, integer_passes(ranges)):
        run_passes(graph, passes, lambda *_: None, lambda *_: None)
    return graph


def clamped(graph: Graph) -> Graph:
    """The same with narrower clamps than a byte's in all convolutions, which takes kernels another way."""
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            node.op = replace(node.op, requant=replace(node.op.requant, high=100))
    return graph


def samples_of(network: tuple[int, int, int]) -> list[Sample]:
    """A random network, given by seed, family and number, in all configurations; of these, what was there before is
    left out."""
    seed, index, number = network
    family = FAMILIES[index][0]
    arithmetic: Arithmetic = "tflite" if number % 4 == 3 else "fast"
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        sparse = family is pooled_by_rnn and number % 2 == 0
        graph = graph_of(family(np.random.default_rng(network)), arithmetic, Path(name), sparse)
        if number % 4 == 2:
            graph = clamped(graph)
        found: dict[tuple[str, frozenset[tuple[Columns, int]]], Sample] = {}
        for level, configured in enumerate(configurations(graph)):
            label = f"{family.__name__} {number}, seed {seed}, options {level}"
            print(label, file=sys.stderr)
            for sample in measure(label, configured, Path(name) / "bundle"):
                found.setdefault((sample.node.name, frozenset(sample.counts.items())), sample)
        return list(found.values())


def samples(seed: int) -> list[Sample]:
    """All networks, some at a time."""
    networks = [(seed, index, number) for index, (_, times) in enumerate(FAMILIES) for number in range(times)]
    with ProcessPoolExecutor(WORKERS) as pool:
        return [sample for found in pool.map(samples_of, networks) for sample in found]


# --- fitting ---


def fitted(found: Sequence[tuple[dict[Columns, int], int]]) -> dict[str, dict[str, float]]:
    """Times by kernel and step for pairs of counts and cycles."""
    columns = sorted({column for counts, _ in found for column in counts})
    place = {column: index for index, column in enumerate(columns)}
    matrix: npt.NDArray[np.float64] = np.zeros((len(found), len(columns)))
    for row, (counts, _) in enumerate(found):
        for column, count in counts.items():
            matrix[row, place[column]] = count
    measured = np.array([cycles for _, cycles in found], np.float64)
    weight = 1 / (measured + SMALL)
    times, _ = nnls(matrix * weight[:, None], measured * weight, maxiter=100 * len(columns))
    result: dict[str, dict[str, float]] = {}
    for (kernel, step), value in zip(columns, times, strict=True):
        result.setdefault(kernel, {})[step] = round(float(value), 3)
    return result


def unmeasured(costs: Mapping[str, Mapping[str, float]]) -> list[Columns]:
    """Steps of kernels in a table that it lacks, though the operators' samples have them."""
    rng = np.random.default_rng(0)
    cases = [sample for op in INT_OPS for sample in op.samples(rng)]
    steps = {column for case in cases for column in summed(case.op.work(case.inputs, case.output))}
    return sorted((kernel, step) for kernel, step in steps if kernel in costs and step not in costs[kernel])


def fit(seed: int) -> None:
    """Measure, fit, write the table, and say how well it fits what it was made from."""
    found = samples(seed)
    costs = fitted([(sample.counts, sample.measured) for sample in found])
    costs |= fitted([(sample.general, sample.measured) for sample in found])
    TABLE.write_text(json.dumps(costs, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for kernel, step in unmeasured(costs):
        print(f"never seen: {kernel}, {step}; the table is not complete without a network that has it")
    by_kernel: dict[str, list[float]] = {}
    for sample in found:
        predicted = sum(costs[kernel][step] * count for (kernel, step), count in sample.counts.items())
        kernels = "+".join(dict.fromkeys(kernel for kernel, _ in sample.counts))
        by_kernel.setdefault(kernels, []).append(predicted / sample.measured - 1)
    for kernels, errors in sorted(by_kernel.items()):
        typical, worst = np.median(np.abs(errors)), np.max(np.abs(errors))
        print(f"{kernels:<40} {len(errors):5} samples, error {100 * typical:5.1f} %, at most {100 * worst:5.1f} %")


def check(networks: Sequence[str]) -> None:
    """Compare the table with profiles of whole networks, in each variant of their operators."""
    with tempfile.TemporaryDirectory(prefix="rnnc-") as name:
        for network in networks:
            graph = graph_of(build_network(network), "fast", Path(name))
            for level, configured in enumerate(configurations(graph)):
                layers = measure(network, configured, Path(name) / "bundle")
                judged = sorted((x for x in layers if x.share >= SHARE), key=lambda x: -abs(x.error))
                total = sum(x.predicted for x in layers) / sum(x.measured for x in layers) - 1
                worst = ", ".join(f"{x.node.name} {100 * x.error:+.1f} %" for x in judged[:3])
                print(f"{network}, options {level}: total {100 * total:+.1f} %; {len(judged)} layers, worst {worst}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Fit the times of kernels to profiles.")
    parser.add_argument("--check", action="store_true", help="compare the table with the zoo's profiles, fit nothing")
    parser.add_argument("--seed", type=int, default=1, help="of the random networks")
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="of the zoo, to check (default: most)")
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check(chosen.networks or CHECKED)
    else:
        fit(chosen.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
