"""The scheduler's front door: choose stages, place them, check the plan and hold it against the budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from rnnc.diagnostics import BudgetError, CompileError
from rnnc.ir.graph import Graph
from rnnc.scheduler.assembly import Draft, assemble, draft, node_at
from rnnc.scheduler.execution import Network
from rnnc.scheduler.layer import layer_order
from rnnc.scheduler.plan import InputMode, OutputMode, Plan, Schedule
from rnnc.scheduler.rows import cut_rows
from rnnc.scheduler.segments import Costs, Options
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
    sliding: bool = False,
) -> Plan:
    """The smallest plan that ``mode`` finds for a graph of integer operators, checked by the validator.

    ``ram`` is a limit, in bytes, over all banks together; ``reserved`` bytes of it, in the first bank, are kept for
    the stack and static data. ``sliding``: rings may slide where that saves memory. Raises BudgetError if the arena
    does not fit, CompileError for a mode or a graph that cannot be scheduled.
    """
    options = Options(input_mode, output_mode)
    network = Network(graph)
    _check(network, mode, options)
    banks = target.banks
    capacities = [max(0, bank.size - (reserved if index == 0 else 0)) for index, bank in enumerate(banks)]
    input_bank = next((index for index, bank in enumerate(banks) if bank.dma), 0)
    drafts = _drafts(network, mode, options)
    if sliding:
        drafts += _drafts(network, mode, replace(options, sliding=True))
    plan = _smallest(drafts, capacities, input_bank)
    plan = replace(plan, least_live=min(draft.live_peak for draft in drafts))
    if not _fits(plan, capacities) or (ram is not None and plan.arena > ram - reserved):
        raise _over_budget(network, plan, mode, target, capacities, ram, reserved)
    validate(graph, plan, capacities)
    return plan


def _check(network: Network, mode: Mode, options: Options) -> None:
    if mode == "patches":
        raise CompileError(
            "the schedule 'patches' cannot be made from this graph",
            why="vertical strips need operators that can make part of a row",
            remedy="--schedule rows or auto",
        )
    if options.input_mode == "stream" and network.n_inputs > 1:
        raise CompileError(
            f"a model with {network.n_inputs} inputs cannot be streamed",
            why="rows are pushed to one input only",
            remedy="--input-mode buffer or lent",
        )
    if options.input_mode != "buffer":
        lent = options.input_mode == "lent"
        for value in sorted(network.outputs):
            if value < network.n_inputs:
                raise CompileError(
                    f"the input '{network.values[value].name}' is also an output, so it cannot be "
                    + ("lent" if lent else "streamed"),
                    why="the model would have to keep memory that is not its own"
                    if lent
                    else "a streamed input is held only as long as an operator needs its rows",
                    remedy="--input-mode buffer",
                )
    if options.output_mode == "stream":
        for value in sorted(network.outputs):
            if value < network.n_inputs:
                raise CompileError(
                    f"the output '{network.values[value].name}' is an input as it came, so it cannot be streamed",
                    why="rows are delivered as operators make them, and no operator makes these",
                    remedy="--output-mode buffer",
                )


def _drafts(network: Network, mode: Mode, options: Options) -> list[Draft]:
    stages: dict[tuple[tuple[int, ...], ...], Schedule] = {}
    for name, candidate in _candidates(network, mode, options):
        stages.setdefault(tuple(candidate), name)
    return [draft(network, name, candidate, options) for candidate, name in stages.items()]


def _smallest(drafts: Sequence[Draft], capacities: Sequence[int], input_bank: int) -> Plan:
    """The smallest plan that fits, or the smallest; drafts that cannot become smaller are not placed."""
    best: Plan | None = None
    for candidate in sorted(drafts, key=lambda draft: draft.live_peak):
        if best is not None and _fits(best, capacities) and candidate.live_peak >= best.arena:
            break
        plan = assemble(candidate, capacities, input_bank)
        if best is None or (not _fits(plan, capacities), plan.arena) < (not _fits(best, capacities), best.arena):
            best = plan
    if best is None:
        raise ValueError("there is nothing to choose from")
    return best


def _candidates(network: Network, mode: Mode, options: Options) -> Iterator[tuple[Schedule, Stages]]:
    order = layer_order(network, options)
    if mode in ("auto", "layer"):
        yield "layer", [(task,) for task in order]
    if mode in ("auto", "rows"):
        # another order of the branches, or another view of the rings, gives other stages: placing them decides
        orders = dict.fromkeys((tuple(order), tuple(range(len(network.tasks)))))
        for costs in (Costs(network, options), Costs(network, options, full_rings=True)):
            for choice in orders:
                yield "rows", cut_rows(network, choice, costs)


def _fits(plan: Plan, capacities: Sequence[int]) -> bool:
    return all(size <= capacity for size, capacity in zip(plan.bank_sizes, capacities, strict=True))


def _over_budget(
    network: Network,
    plan: Plan,
    mode: Mode,
    target: Target,
    capacities: Sequence[int],
    ram: int | None,
    reserved: int,
) -> BudgetError:
    """What needs how much, at which node, and which options would lower it."""
    sizes = {buffer.name: buffer.size for buffer in plan.buffers}
    largest = ", ".join(f"{name} {sizes[name]}" for name in plan.peak_buffers[:5])
    room = " + ".join(f"{capacity} in {bank.name}" for bank, capacity in zip(target.banks, capacities, strict=True))
    limit = f"there are {room}"
    if ram is not None and plan.arena > ram - reserved:
        limit = f"{ram} bytes were asked for"
        if reserved:
            limit += f", with {reserved} of them for stack and static data"
    why = f"most is in use at step {plan.peak_step} of {plan.jobs}: {plan.live_peak} bytes, in {largest}"
    if not _fits(plan, capacities) and plan.arena <= sum(capacities):
        why += "; no division of the buffers over the banks was found, as none may lie in two"
    remedies = []
    if mode == "layer":
        remedies.append("--schedule auto or rows")
    if plan.input_mode == "buffer":
        remedies.append("--input-mode stream or lent")
    if plan.output_mode == "buffer" and any(b.kind == "output" and b.name in plan.peak_buffers for b in plan.buffers):
        remedies.append("--output-mode stream")
    remedies.append("a smaller input or fewer channels where the peak is")
    return BudgetError(
        f"the activations need {plan.arena} bytes, but {limit}",
        where=node_at(network, plan, plan.peak_step),
        why=why,
        remedy=", ".join(remedies),
    )
