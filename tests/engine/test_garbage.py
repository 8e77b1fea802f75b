"""Python's full pass for garbage is made by the call that loads networks."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from omnibind.engine.garbage import Garbage


@pytest.fixture
def garbage() -> Iterator[Garbage]:
    gc.disable()
    _loaded_before = [[] for _ in range(100_000)]
    yield Garbage()
    gc.enable()


def passes() -> int:
    return gc.get_stats()[2]["collections"]


def many() -> list[list[int]]:
    return [[] for _ in range(25_000)]


def test_a_call_that_has_loaded_much_makes_one_pass(garbage: Garbage) -> None:
    before, _kept = passes(), many()
    garbage.loaded()
    garbage.settle()
    garbage.settle()
    assert passes() == before + 1


def test_tuples_that_other_threads_are_at_are_left_alone() -> None:
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            Garbage().loaded()

    looking = threading.Thread(target=load)
    looking.start()
    try:
        for _ in range(3):
            assert len(tuple(time.sleep(0) for _ in range(30))) == 30
    finally:
        over.set()
        looking.join()


def test_a_call_that_has_loaded_little_makes_none(garbage: Garbage) -> None:
    before = passes()
    garbage.loaded()
    garbage.settle()
    assert passes() == before


def test_a_call_that_has_loaded_nothing_makes_none(garbage: Garbage) -> None:
    before, _kept = passes(), many()
    garbage.settle()
    assert passes() == before
