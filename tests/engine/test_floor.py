"""Who computes in Python: forwards side by side, many small things alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock

import pytest

from omnibind.engine.floor import Floor
from omnibind.engine.requests import Priority
from omnibind.engine.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(4, floor=Floor())
    yield made
    made.close()


def test_forwards_share_the_floor() -> None:
    floor, both = Floor(), Barrier(2)

    def forward() -> None:
        with floor.shared():
            both.wait(timeout=60)

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(forward) for _ in range(2)]:
            one.result()


def test_a_forward_waits_for_who_has_the_floor_alone() -> None:
    floor, told = Floor(), list[str]()

    def forward() -> None:
        with floor.shared():
            told.append("forward")

    with ThreadPoolExecutor(1) as pool:
        with floor.alone():
            begun = pool.submit(forward)
            told.append("alone")
        begun.result()
    assert told == ["alone", "forward"]


def test_a_forward_that_takes_long_holds_nobody_up() -> None:
    floor = Floor()
    with floor.shared(), floor.alone():
        pass


def test_who_has_the_floor_alone_for_long_holds_nobody_up() -> None:
    floor, done = Floor(), list[str]()

    def forward() -> None:
        with floor.shared():
            done.append("forward")

    def turn() -> None:
        with floor.alone():
            done.append("turn")

    with floor.alone():
        for one in (forward, turn):
            thread = threading.Thread(target=one, daemon=True)
            thread.start()
            thread.join(20)
    assert done == ["forward", "turn"]


def test_an_error_gives_the_floor_back() -> None:
    floor = Floor()
    with pytest.raises(ValueError, match="bad"), floor.alone():
        raise ValueError("bad")
    with floor.shared():
        pass


def test_quick_tasks_are_done_by_one_thread_at_a_time(workers: Workers) -> None:
    alone, overlaps, left, done = Lock(), list[int](), [200], Event()

    def task() -> None:
        if not alone.acquire(blocking=False):
            overlaps.append(left[0])
            return
        left[0] -= 1
        alone.release()
        if not left[0]:
            done.set()

    _learn(workers, "text")
    for _ in range(200):
        workers.submit(Priority.BULK, task, "text")
    assert done.wait(timeout=60)
    assert not overlaps


def test_slow_tasks_are_done_side_by_side(workers: Workers) -> None:
    all_there = Barrier(5)
    _learn(workers, "text")
    for _ in range(4):
        workers.submit(Priority.BULK, lambda: all_there.wait(timeout=60), "image")
    all_there.wait(timeout=60)


def test_quick_tasks_of_interactive_callers_go_first(workers: Workers) -> None:
    order, go, done = list[str](), Event(), Event()
    _learn(workers, "text")
    for _ in range(workers.count):  # all threads are busy until everything is queued
        workers.submit(Priority.INTERACTIVE, lambda: go.wait(timeout=60), "image")
    for name, priority in (("bulk", Priority.BULK), ("small", Priority.INTERACTIVE)):
        workers.submit(priority, lambda name=name: order.append(name), "text")
    workers.submit(Priority.BULK, done.set, "text")
    go.set()
    assert done.wait(timeout=60)
    assert order == ["small", "bulk"]


def _learn(workers: Workers, kind: str) -> None:
    """Has the workers see that tasks of a kind are quick."""
    for _ in range(20):
        done = Event()
        workers.submit(Priority.INTERACTIVE, done.set, kind)
        assert done.wait(timeout=60)
