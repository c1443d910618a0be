"""The pipeline: which passes run, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rnnc.ir.graph import Graph
from rnnc.ir.op import FloatOp
from rnnc.ir.types import Array
from rnnc.ir.verify import verify
from rnnc.passes.assign_quant import AssignQuant, Range
from rnnc.passes.base import Calibration, Pass
from rnnc.passes.batchnorm import FoldAffine
from rnnc.passes.clamp import FuseClamp
from rnnc.passes.constant_channels import ConstantChannels
from rnnc.passes.correct_bias import CorrectBias
from rnnc.passes.dead import RemoveDead
from rnnc.passes.layout import ChannelsLast
from rnnc.passes.padding import FusePad
from rnnc.passes.qdq import AbsorbQdq
from rnnc.passes.quantise import Quantise
from rnnc.passes.round_weights import RoundWeights

FLOAT_PASSES: tuple[Pass, ...] = (
    AbsorbQdq(),
    ChannelsLast(),
    FoldAffine(),
    FusePad(),
    FuseClamp(),
    RemoveDead(),
)


def integer_passes(ranges: Mapping[str, Range], samples: Sequence[Mapping[str, Array]] = ()) -> tuple[Pass, ...]:
    """The rest of the pipeline; ``ranges`` by value name and calibration ``samples`` for what the model has not
    quantised itself."""
    calibration = Calibration(samples)
    return (
        RoundWeights(calibration),
        AssignQuant(ranges),
        Quantise(),
        CorrectBias(calibration),
        ConstantChannels(),
        RemoveDead("remove-dead-channels"),
    )


PASS_NAMES: tuple[str, ...] = tuple(item.name for item in (*FLOAT_PASSES, *integer_passes({})))


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    note: Callable[[str, str], None],
    after: Callable[[str, Graph], None] = lambda name, graph: None,
) -> None:
    """Run ``passes`` on ``graph``, verifying it before and after each.

    ``note`` gets (pass name, sentence), ``after`` the graph as each pass left it. Raises CompileError.
    """
    verify(graph)
    for item in passes:
        item.run(graph, lambda text, name=item.name: note(name, text))  # type: ignore[misc]
        verify(graph)
        after(item.name, graph)


def needs_ranges(graph: Graph) -> bool:
    """Whether some value of a float graph has no quantisation of its own yet."""
    values = [port.value for port in graph.inputs]
    values += [
        node.output
        for node in graph.nodes
        if isinstance(node.op, FloatOp) and not node.op.keeps_quant and node.op.output_range() is None
    ]
    return any(value.type.quant is None for value in values)
