"""The order of jobs, against orders worked out by hand from the rules of the row engine."""

from __future__ import annotations

from rnnc.scheduler.execution import NEVER, Network, Piece, events, execute
from tests.scheduler.builders import Builder, Mix, Sum, Total


def order(network: Network, pieces: list[Piece], streamed: bool = False) -> list[tuple[int, int]]:
    execution = execute(network, pieces, range(network.n_inputs) if streamed else ())
    return list(zip(execution.task.tolist(), execution.job.tolist(), strict=True))


def test_layers_run_one_after_the_other() -> None:
    b = Builder((3, 1, 1))
    network = Network(b.done(b.add(Mix(), b.add(Mix(), b.inputs[0]))))
    assert order(network, [network.piece([0]), network.piece([1])]) == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip


def test_a_sink_pulls_just_the_rows_its_window_needs() -> None:
    b = Builder((4, 1, 1))
    network = Network(b.done(b.add(Mix(), b.add(Mix(), b.inputs[0]))))
    assert order(network, [network.piece([0, 1])]) == [
        (0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (0, 3), (1, 2), (1, 3),
    ]  # fmt: skip


def test_stride_and_unneeded_last_row() -> None:
    b = Builder((4, 1, 1))
    network = Network(b.done(b.add(Mix(1, 2, 0), b.add(Mix(1, 1, 0), b.inputs[0]))))
    assert order(network, [network.piece([0, 1])]) == [(0, 0), (1, 0), (0, 1), (0, 2), (1, 1)]


def test_every_sink_uses_a_row_when_it_is_made() -> None:
    b = Builder((4, 1, 1))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    half, full = b.add(Mix(1, 2, 0), x), b.add(Mix(1, 1, 0), x)
    network = Network(b.done(half, full))
    piece = network.piece([0, 1, 2])
    assert (piece.sinks, piece.ticks) == ((1, 2), 4)
    # one input row after the other, and of the sinks that can run the last one first
    assert order(network, [piece]) == [
        (0, 0), (2, 0), (1, 0), (0, 1), (2, 1), (0, 2), (2, 2), (1, 1), (0, 3), (2, 3),
    ]  # fmt: skip


def test_a_sink_with_a_narrow_view_does_not_wait_for_the_others() -> None:
    b = Builder((4, 1, 1))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    near, far = b.add(Mix(1, 1, 0), x), b.add(Mix(), b.add(Mix(), x))
    network = Network(b.done(near, far))
    assert order(network, [network.piece([0, 1, 2, 3])]) == [
        (0, 0), (1, 0),
        (0, 1), (2, 0), (1, 1),
        (0, 2), (2, 1), (3, 0), (1, 2),
        (0, 3), (2, 2), (3, 1), (2, 3), (3, 2), (3, 3), (1, 3),
    ]  # fmt: skip


def test_an_accumulating_operator_delivers_with_its_last_job() -> None:
    b = Builder((2, 1, 1))
    network = Network(b.done(b.add(Mix(1, 1, 0), b.add(Total(), b.inputs[0]))))
    assert order(network, [network.piece([0, 1])]) == [(0, 0), (0, 1), (1, 0)]


def test_streamed_rows_come_when_they_are_asked_for() -> None:
    b = Builder((4, 1, 1))
    network = Network(b.done(b.add(Mix(2, 2, 0), b.inputs[0])))
    execution = execute(network, [network.piece([0])], [0])
    assert execution.pushed[0].tolist() == [0, 0, 1, 1]
    assert [(step, kind, number) for step, kind, _, number in events(execution)] == [
        (0, "push", 0), (0, "push", 1), (0, "job", 0), (1, "push", 2), (1, "push", 3), (1, "job", 1),
    ]  # fmt: skip


def test_rows_that_nobody_asks_for_are_never_pushed() -> None:
    b = Builder((4, 1, 1))
    network = Network(b.done(b.add(Mix(1, 2, 0), b.inputs[0])))
    assert execute(network, [network.piece([0])], [0]).pushed[0].tolist() == [0, 1, 1, NEVER]


def test_a_residual_waits_for_the_longer_path() -> None:
    b = Builder((3, 1, 1))
    x = b.add(Mix(1, 1, 0), b.inputs[0])
    network = Network(b.done(b.add(Sum(), x, b.add(Mix(), x))))
    assert order(network, [network.piece([0, 1, 2])]) == [
        (0, 0), (0, 1), (1, 0), (2, 0), (0, 2), (1, 1), (2, 1), (1, 2), (2, 2),
    ]  # fmt: skip
