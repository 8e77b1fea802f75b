"""The engine's threads use their share of the processors; all others what they used before."""

import threading
from collections.abc import Callable

import pytest
import torch

from omnibind.engine.threads import use_processors

SIDE_BY_SIDE, TIMES = 6, 40


def test_threads_that_start_at_once_leave_the_default_as_it_was() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # tests run with one: a default of one would show nothing
    try:
        assert [_default_after_some() for _ in range(TIMES)] == [3] * TIMES
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_threads_that_begin_as_the_program_ends_do_without_executors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("concurrent.futures.thread._shutdown", True)  # as Python does then
    found: list[int] = []

    def ask() -> None:
        use_processors(1)
        found.append(torch.get_num_threads())

    _run([ask])
    assert found == [1]


def _default_after_some() -> int:
    """What a new thread uses after several have asked for one processor at the same moment."""
    together, found = threading.Barrier(SIDE_BY_SIDE), list[int]()

    def ask() -> None:
        together.wait()
        use_processors(1)
        assert torch.get_num_threads() == 1

    _run([ask] * SIDE_BY_SIDE)
    _run([lambda: found.append(torch.get_num_threads())])
    return found[0]


def _run(targets: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
