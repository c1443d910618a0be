"""The scheduler's front door: choose stages, place them, check the plan and hold it against the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rnnc.diagnostics import BudgetError, CompileError
from rnnc.ir.graph import Graph
from rnnc.scheduler.assembly import assemble, node_at
from rnnc.scheduler.execution import Network
from rnnc.scheduler.layer import layer_order
from rnnc.scheduler.plan import InputMode, OutputMode, Plan
from rnnc.scheduler.rows import cut_rows
from rnnc.scheduler.segments import Options
from rnnc.scheduler.validate import validate
from rnnc.target import Target

Mode = Literal["auto", "layer", "rows", "patches"]
Stages = Sequence[tuple[int, ...]]


def schedule(
    graph: Graph,
    target: Target,
    mode: Mode = "auto",
    input_mode: InputMode = "buffer",
    output_mode: OutputMode = "buffer",
    *,
    ram: int | None = None,
    reserved: int = 0,
) -> Plan:
    """The smallest plan that ``mode`` finds for a graph of integer operators, checked by the validator.

    ``ram`` limits the arena, in bytes, over all banks together; ``reserved`` bytes of the first bank are kept for
    the stack and static data. Raises BudgetError if the arena does not fit, CompileError for a mode or a graph
    that cannot be scheduled.
    """
    options = Options(input_mode, output_mode)
    network = Network(graph)
    _check(network, mode, options)
    banks = target.banks
    capacities = [max(0, bank.size - (reserved if index == 0 else 0)) for index, bank in enumerate(banks)]
    input_bank = next((index for index, bank in enumerate(banks) if bank.dma), 0)
    plans = [
        assemble(network, name, stages, options, capacities, input_bank)
        for name, stages in _candidates(network, mode, options)
    ]
    plan = min(plans, key=lambda plan: (not _fits(plan, capacities), plan.arena))
    if not _fits(plan, capacities) or (ram is not None and plan.arena > ram):
        raise _over_budget(network, plan, mode, target, capacities, ram)
    validate(graph, plan, capacities)
    return plan


def _check(network: Network, mode: Mode, options: Options) -> None:
    if mode == "patches":
        raise CompileError(
            "the schedule 'patches' cannot be made from this graph",
            why="vertical strips need operators that can make part of a row",
            remedy="--schedule rows or auto",
        )
    if options.input_mode == "stream":
        for value in sorted(network.outputs):
            if value < network.n_inputs:
                raise CompileError(
                    f"the input '{network.values[value].name}' is also an output, so it cannot be streamed",
                    why="a streamed input is held only as long as an operator needs its rows",
                    remedy="--input-mode buffer",
                )


def _candidates(network: Network, mode: Mode, options: Options) -> Iterator[tuple[str, Stages]]:
    order = layer_order(network, options)
    if mode in ("auto", "layer"):
        yield "layer", [(task,) for task in order]
    if mode in ("auto", "rows"):
        # a different order of the branches allows different stages
        for choice in dict.fromkeys((tuple(order), tuple(range(len(network.tasks))))):
            yield "rows", cut_rows(network, choice, options)


def _fits(plan: Plan, capacities: Sequence[int]) -> bool:
    return all(size <= capacity for size, capacity in zip(plan.bank_sizes, capacities, strict=True))


def _over_budget(
    network: Network, plan: Plan, mode: Mode, target: Target, capacities: Sequence[int], ram: int | None
) -> BudgetError:
    """What needs how much, at which node, and which options would lower it."""
    sizes = {buffer.name: buffer.size for buffer in plan.buffers}
    largest = ", ".join(f"{name} {sizes[name]}" for name in plan.peak_buffers[:5])
    room = " + ".join(
        f"{capacity} in {bank.name}" for bank, capacity in zip(target.banks, capacities, strict=True)
    )
    limit = f"{ram} bytes were asked for" if ram is not None and plan.arena > ram else f"there are {room}"
    remedies = []
    if mode == "layer":
        remedies.append("--schedule auto or rows")
    if plan.input_mode == "buffer":
        remedies.append("--input-mode stream")
    if plan.output_mode == "buffer":
        remedies.append("--output-mode stream")
    remedies.append("a smaller input or fewer channels where the peak is")
    return BudgetError(
        f"the activations need {plan.arena} bytes, but {limit}",
        where=node_at(network, plan, plan.peak_step),
        why=f"most is in use at step {plan.peak_step} of {plan.jobs}: {plan.live_peak} bytes, in {largest}",
        remedy=", ".join(remedies),
    )
