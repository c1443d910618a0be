"""A stage executed once, and what it needs with other operators that read the same rows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rnnc.scheduler.assembly import draft
from rnnc.scheduler.execution import Network
from rnnc.scheduler.segments import Costs, Footprints, Options
from rnnc.scheduler.variants import Variants
from tests.scheduler.test_search import network

VARIANTS = Variants(network(width=40))
MEMOS: dict[bool, Footprints] = {False: {}, True: {}}


@settings(max_examples=40, deadline=None)
@given(st.data(), st.booleans())
def test_costs_from_memory_are_those_of_the_whole_stage(data: st.DataObject, sliding: bool) -> None:
    choice = {name: data.draw(st.integers(0, len(found) - 1)) for name, found in VARIANTS.options.items()}
    options = Options("stream", "stream", sliding)
    whole = Network(VARIANTS.apply(choice))
    first = data.draw(st.integers(0, len(whole.tasks) - 1))
    tasks = range(len(whole.tasks))
    cost = Costs(whole, options, memo=MEMOS[sliding]).of(tasks, 0)
    assert cost == draft(whole, "rows", [tuple(tasks)], options).live_peak
    part, finished = tasks[first:], (1 << first) - 1
    again = Costs(whole, options, memo=MEMOS[sliding]).of(part, finished)
    assert again == Costs(whole, options).of(part, finished)


def test_operators_that_read_alike_are_executed_once() -> None:
    memo: Footprints = {}
    options = VARIANTS.options["n3"]
    kept = [index for index, option in enumerate(options) if option.op.name == "inverted_bottleneck" and index]
    kept = [index for index in kept if options[index].extra_macs == 0]
    costs = set()
    for index in kept:
        whole = Network(VARIANTS.apply({"n3": index}))
        costs.add(Costs(whole, Options("stream", "stream"), memo=memo).of(range(len(whole.tasks)), 0))
    assert len(kept) > 1 and len(memo) == 1
    assert len(costs) > 1
