"""Integer graphs in text form, scheduled, as the golden files have them."""

from __future__ import annotations

from pathlib import Path

from rnnc.codegen.lower import lower
from rnnc.codegen.program import CProgram
from rnnc.ir.graph import Graph
from rnnc.ir.ops import OPS
from rnnc.ir.text import parse_graph
from rnnc.ir.verify import verify
from rnnc.scheduler.auto import Mode, schedule
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.target import load_target

GOLDEN = Path(__file__).parent / "golden"

RESIDUAL = """
graph "residual" arithmetic=fast macs=96 {
  input "x" %x: int8[4,3,2] q(0.5, 3) as float32(2, 4, 3) axes=(1, 2, 0) batched
  %a: int8[4,3,2] q(0.5, 3) = max_pool2d(%x) "pool" {kernel_shape=(3, 1), strides=(1, 1), pads=(1, 0, 1, 0)}
  %y: int8[4,3,4] q(0.5, 3) = concat_rows(%a, %x) "join" {axis=2}
  output "y" %y as float32(4, 4, 3) axes=(1, 2, 0) batched
}
"""
TWO_OUTPUTS = """
graph "two outputs" arithmetic=tflite macs=0 {
  input "left" %l: int8[2,2,3] q(0.25, 0) as int8(2, 2, 3) axes=() batched
  input "right" %r: int8[2,2,1] q(0.25, 0) as uint8(2, 2, 1) axes=() batched
  %j: int8[2,2,4] q(0.25, 0) = concat_rows(%l, %r) "join */ ??/ \\u00fc" {axis=2}
  %s: int8[2,2,2] q(0.25, 0) = slice_rows(%j) "cut" {axis=2, start=1, stop=3}
  output "joined" %j as int8(2, 2, 4) axes=() batched
  output "9 cut!" %s as uint8(2, 2, 2) axes=() batched
}
"""
GRAPHS: dict[str, tuple[str, Mode, InputMode, OutputMode]] = {
    "residual": (RESIDUAL, "rows", "stream", "buffer"),
    "two_outputs": (TWO_OUTPUTS, "layer", "buffer", "buffer"),
    "two_outputs_streamed": (TWO_OUTPUTS, "rows", "buffer", "stream"),
    "residual_lent": (RESIDUAL, "rows", "lent", "buffer"),
}


def graph_of(name: str) -> Graph:
    graph = parse_graph(GRAPHS[name][0], OPS)
    verify(graph)
    return graph


def plan_of(name: str, graph: Graph) -> Plan:
    return schedule(graph, load_target(), *GRAPHS[name][1:])


def program_of(name: str) -> CProgram:
    graph = graph_of(name)
    return lower(graph, plan_of(name, graph), name)
