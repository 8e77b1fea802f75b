"""What is prepared next: interactive callers' items first, and nobody's never."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event

import pytest

from omnibind.engine.floor import Floor
from omnibind.engine.requests import PATIENCE, Priority
from omnibind.engine.workers import Workers

BULK, INTERACTIVE = Priority.BULK, Priority.INTERACTIVE


def held(workers: Workers) -> Event:
    """Keeps the one thread until the event is set."""
    begun, go = Event(), Event()

    def hold() -> None:
        begun.set()
        go.wait(timeout=60)

    workers.submit(INTERACTIVE, hold, "hold")
    assert begun.wait(timeout=60)
    return go


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(1, floor=Floor())
    yield made
    made.close()


def learn(workers: Workers, kind: str) -> None:
    """Has the workers see that tasks of a kind are quick."""
    for _ in range(20):
        done = Event()
        workers.submit(INTERACTIVE, done.set, kind)
        assert done.wait(timeout=60)


def test_bulk_tasks_that_have_waited_long_take_turns_with_interactive_ones(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PATIENCE, BULK, 0.0)
    order, go, done = list[str](), held(workers), Event()
    for _ in range(4):
        workers.submit(INTERACTIVE, lambda: order.append("small"))
    for _ in range(2):
        workers.submit(BULK, lambda: order.append("bulk"))
    workers.submit(INTERACTIVE, done.set)
    go.set()
    assert done.wait(timeout=60)
    assert order == ["bulk", "small", "bulk", "small", "small", "small"]


def test_quick_bulk_tasks_do_not_go_on_with_the_priority_of_those_before_them(
    workers: Workers,
) -> None:
    order, done = list[str](), Event()

    def picture() -> None:
        workers.submit(INTERACTIVE, lambda: order.append("sound"), "audio")

    learn(workers, "text")
    go = held(workers)
    workers.submit(INTERACTIVE, lambda: time.sleep(0.02), "text")  # longer than a turn
    workers.submit(BULK, lambda: order.append("text"), "text")
    workers.submit(BULK, done.set, "text")
    workers.submit(INTERACTIVE, picture, "image")
    go.set()
    assert done.wait(timeout=60)
    assert order == ["sound", "text"]


def test_quick_bulk_tasks_that_have_waited_long_do_so_in_their_next_turn_too(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, done = list[str](), Event()

    def text() -> None:
        order.append("text")
        time.sleep(0.02)  # longer than a turn

    learn(workers, "text")
    monkeypatch.setitem(PATIENCE, BULK, 0.2)
    go = held(workers)
    for _ in range(2):
        workers.submit(BULK, text, "text")
    for _ in range(4):
        workers.submit(INTERACTIVE, lambda: order.append("sound"), "audio")
    workers.submit(INTERACTIVE, done.set, "audio")
    time.sleep(0.2)
    go.set()
    assert done.wait(timeout=60)
    assert order == ["text", "sound", "text", "sound", "sound", "sound"]
