"""Python's full pass for garbage is made by the call that loads networks."""

from __future__ import annotations

import gc
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
    return [[] for _ in range(len(gc.get_objects()) // 10)]


def test_a_call_that_has_loaded_much_makes_one_pass(garbage: Garbage) -> None:
    before, _kept = passes(), many()
    garbage.loaded()
    garbage.settle()
    garbage.settle()
    assert passes() == before + 1


def test_a_call_that_has_loaded_little_makes_none(garbage: Garbage) -> None:
    before = passes()
    garbage.loaded()
    garbage.settle()
    assert passes() == before


def test_a_call_that_has_loaded_nothing_makes_none(garbage: Garbage) -> None:
    before, _kept = passes(), many()
    garbage.settle()
    assert passes() == before
