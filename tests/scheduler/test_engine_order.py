"""The order of jobs and the ring slots of the C row engine are those that the planner assumes; rows of streamed
outputs are delivered right after the job that made them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rnnc.ir.graph import Graph
from rnnc.ir.ops.pad import PadRows
from rnnc.scheduler.assembly import assemble, draft
from rnnc.scheduler.execution import Network, events, execute
from rnnc.scheduler.plan import OutputMode, Plan
from rnnc.scheduler.segments import Options
from tests.scheduler.builders import Builder, Join, Mix, Negate, Sum, Total

RUNTIME = Path(__file__).parents[2] / "runtime" / "c"

MAIN = """
#include <stdio.h>
#include "rnnc.h"
static _Alignas(8) unsigned char arena[{arena}];
static uint16_t counters[64];
static void log_job(const void *params, const rnnc_job *job) {{
    int n = *(const int *)params;
    printf("job %d %d", n >> 8, (int)job->job);
    for (int i = 0; i < (n & 255); ++i)
        printf(" %d", job->rows[i] ? (int)((const unsigned char *)job->rows[i] - arena) : -1);
    printf("\\n");
}}
static void log_row(void *context, unsigned output, unsigned row, const void *data, size_t bytes) {{
    printf("%s %u %u %d %d\\n", (char *)context, output, row, (int)((const unsigned char *)data - arena), (int)bytes);
}}
static const int params[] = {{{params}}};
static const rnnc_tensor tensors[] = {{{tensors}}};
static const rnnc_window windows[] = {{{windows}}};
static const rnnc_op ops[] = {{{ops}}};
static const rnnc_stage stages[] = {{{stages}}};
static const uint16_t sinks[] = {{{sinks}}};
static const uint32_t bank_size[] = {{{arena}}};
static const rnnc_port outputs[] = {{{outputs}}};
static const rnnc_model model = {{.tensors = tensors, .windows = windows, .ops = ops, .stages = stages,
    .sinks = sinks, .bank_size = bank_size, .n_tensors = {n_tensors}, .n_ops = {n_ops}, .n_stages = {n_stages},
    .n_inputs = 1, .n_banks = 1, .outputs = outputs, .n_outputs = {n_outputs}, .stream_output = {stream_output}}};
int main(void) {{
    rnnc_row_engine streaming;
    rnnc_engine *e = &streaming.engine;
    void *banks[] = {{arena}};
    size_t sizes[] = {{sizeof arena}};
    if (rnnc_engine_init(e, &model, counters, banks, sizes) != RNNC_OK) return 1;
    streaming.sink = log_row;
    streaming.context = "row";
    for (;;) {{
        int result = rnnc_engine_step(e, 3);
        if (result == RNNC_OK) return 0;
        if (result == RNNC_NEED_INPUT) printf("push %d\\n", e->given[0]++);
    }}
}}
"""


def row(values: list[object]) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"


def program(network: Network, plan: Plan) -> str:
    """C tables as the code generator lays them out: inputs first among the tensors, operators by stage."""
    tasks = [network.task_of[name] for stage in plan.stages for name in stage.nodes]
    number = {task: index for index, task in enumerate(tasks)}
    tensors, windows, ops, stages, params = [], [], [], [], []
    for value in network.values:
        place, producer = plan.place_of(value.name), network.producer(network.number[value])
        maker = "RNNC_NONE" if producer is None else number[producer]
        tensors.append(row([place.offset, place.row_bytes, value.type.height, place.rows, maker, 0, "RNNC_NONE"]))
    for index, task_number in enumerate(tasks):
        task = network.tasks[task_number]
        first = len(windows)
        windows += [
            row([task.inputs[w.input], w.rows, w.stride, w.dilation, w.pad, int(w.edge), w.last(0) + 1])
            for w in task.windows
        ]
        params.append(str(task_number << 8 | sum(w.rows for w in task.windows)))
        where = [first, len(task.windows), task.output, task.jobs]
        stage = next(stage for stage in plan.stages if task.node.name in stage.nodes)
        readers = [r for r in network.readers[task.output] if network.tasks[r].node.name in stage.nodes]
        alone = len(readers) == 1 and task.node.name not in stage.sinks
        ops.append(
            row(["log_job", f"&params[{index}]", 0, 0, 0, 0, *where, number[readers[0]] if alone else "RNNC_NONE"])
        )
    sinks: list[str] = []
    for stage in plan.stages:
        first_op = number[network.task_of[stage.nodes[0]]]
        stages.append(row([first_op, len(stage.nodes), len(sinks), len(stage.sinks), stage.ticks]))
        sinks += [str(number[network.task_of[name]]) for name in stage.sinks]
    return MAIN.format(
        arena=plan.arena, params=", ".join(params), tensors=", ".join(tensors), windows=", ".join(windows),
        ops=", ".join(ops), stages=", ".join(stages), sinks=", ".join(sinks), n_tensors=len(tensors),
        n_ops=len(ops), n_stages=len(stages),
        outputs=", ".join(f"{{.tensor = {tensor}}}" for tensor in shown(network)), n_outputs=len(shown(network)),
        stream_output=int(plan.output_mode == "stream"),
    )  # fmt: skip


def shown(network: Network) -> list[int]:
    """Tensors by output; the first one is two outputs."""
    outputs = sorted(network.outputs)
    return [*outputs, outputs[0]]


def delivered(network: Network, plan: Plan, value: int, line: int) -> list[str]:
    place = plan.place_of(network.values[value].name)
    address = place.offset + line % place.rows * place.row_bytes
    ports = [port for port, tensor in enumerate(shown(network)) if tensor == value]
    return [f"row {port} {line} {address} {place.row_bytes}" for port in ports]


def expected(network: Network, plan: Plan) -> list[str]:
    lines = []
    pieces = [network.piece_of(stage) for stage in plan.stages]
    for _, kind, index, job in events(execute(network, pieces, [0])):
        if kind == "push":
            lines.append(f"push {job}")
            continue
        addresses = []
        task = network.tasks[index]
        for window in task.windows:
            value = network.values[task.inputs[window.input]]
            place = plan.place_of(value.name)
            for tap in range(window.rows):
                line = window.first(job) + tap * window.dilation
                if window.edge:
                    line = sorted((0, line, value.type.height - 1))[1]
                inside = 0 <= line < value.type.height
                addresses.append(place.offset + line % place.rows * place.row_bytes if inside else -1)
        lines.append(" ".join(str(part) for part in ("job", index, job, *addresses)))
        if plan.output_mode == "stream" and job >= task.warm_up:
            lines += delivered(network, plan, task.output, job - task.warm_up)
    return lines


def branches() -> Graph:
    b = Builder((17, 4, 2))
    x = b.add(Mix(3, 2, 1), b.add(PadRows((3, 0, 2, 0), (0, 0), 0, edge=1), b.inputs[0]))
    y = b.add(Sum(), x, b.add(Mix(5, 1, 4, dilation=2), x))
    half = b.add(Mix(2, 2, 0), y)
    joined = b.add(Join(), y, b.add(Negate(), y))
    total = b.add(Total(), joined)
    return b.done(half, b.add(Mix(1, 1, 0), total), joined, total)


@pytest.mark.parametrize("stages", [[tuple(range(9))], [(n,) for n in range(9)], [(0, 1, 2), (3, 4, 5, 6), (7, 8)]])
@pytest.mark.parametrize("output_mode", ["buffer", "stream"])
def test_order_and_addresses(tmp_path: Path, stages: list[tuple[int, ...]], output_mode: OutputMode) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "a C compiler is needed"
    network = Network(branches())
    plan = assemble(draft(network, "rows", stages, Options("stream", output_mode)), [None])
    main = tmp_path / "main.c"
    main.write_text(program(network, plan), encoding="utf-8")
    binary = tmp_path / "main"
    flags = ["-std=c11", "-Wall", "-Werror", "-fsanitize=undefined", f"-I{RUNTIME / 'include'}"]
    subprocess.run([compiler, *flags, str(main), str(RUNTIME / "src" / "engine.c"), "-o", str(binary)], check=True)
    done = subprocess.run([str(binary)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == expected(network, plan)
