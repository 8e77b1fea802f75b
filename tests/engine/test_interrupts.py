"""Ctrl-C between any two steps of a call ends that call, and no other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from torch import Tensor

import omnibind.engine
from omnibind.engine import Engine, Interrupted, Item
from omnibind.engine.interrupts import Condition
from omnibind.engine.requests import Priority
from omnibind.engine.threads import start_missing
from omnibind.engine.workers import Workers
from omnibind.plugins import load_registry
from omnibind.testing.length import length_card, texts

MODALITIES = load_registry().modalities
OURS = (str(Path(omnibind.engine.__file__).parent), threading.__file__)


def one_by_one() -> Iterator[Item]:
    """A caller of whom nobody knows how much there is to come."""
    return iter(texts(3))


def interrupted(do: Callable[[], object], at: int) -> bool:
    """Does something, with Ctrl-C at the n-th of its steps; whether it came to that one.

    Python looks for Ctrl-C where a function of Python's begins and where one of C's has returned,
    which is where it tells profilers of both. Steps are those of the engine and of `threading`.
    """
    left = at

    def step(frame: FrameType, event: str, what: Any) -> None:
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(OURS):
            left -= 1
        if left <= 0:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(step)
    try:
        do()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0


def in_time(do: Callable[[], object]) -> object:
    """Does something in a thread of its own; it must come to an end."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(do()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it waits for ever"
    return found[0]


def test_a_lock_is_free_wherever_its_holder_was_interrupted() -> None:
    def use() -> None:
        with changed:
            changed.wait(0.0001)
            changed.notify_all()

    at = 1
    changed = Condition()
    while interrupted(use, at):
        assert in_time(lambda: changed.acquire(timeout=5) and (changed.release() or True))
        at += 1
    assert at > 10


@pytest.mark.parametrize(
    ("memory", "stride"), [(None, 5), (8, 31)], ids=["one group", "two groups"]
)
def test_a_call_after_an_interrupted_one_has_its_rows(memory: int | None, stride: int) -> None:
    engine = Engine(device="cpu", size="tiny", workers=2, batch_size=4, memory=memory)
    encoders = {"text": [length_card("one"), length_card("two")]}
    in_time(lambda: engine.encode(one_by_one(), encoders))
    at, goes_on = 1, True
    while goes_on:
        goes_on = interrupted(lambda: engine.encode(one_by_one(), encoders), at)
        found = in_time(lambda: engine.encode(one_by_one(), encoders).rows["two"])
        assert isinstance(found, Tensor)
        assert found[:, 0].tolist() == [1, 2, 3]
        at += stride
    assert at > 200
    assert not engine.stats().waiting
    engine.close()


def test_an_interrupt_once_rows_are_there_gives_all_of_them() -> None:
    engine = Engine(device="cpu", size="tiny", workers=1)

    class Late(KeyboardInterrupt): ...

    def press(item: Item) -> None:
        raise Late

    with pytest.raises(Interrupted) as stopped:
        engine.encode(texts(1), {"text": [length_card("one")]}, press)
    assert stopped.value.done.indices == {"text": (0,)}
    engine.close()


def test_threads_that_an_interrupt_kept_from_starting_are_started_by_the_next_caller() -> None:
    threads: list[threading.Thread] = []
    over = threading.Event()
    assert interrupted(lambda: start_missing(threads, 2, lambda: over.wait(20), "test"), 40)
    assert len(threads) < 2
    start_missing(threads, 2, lambda: over.wait(20), "test")
    assert [thread.is_alive() for thread in threads] == [True, True]
    over.set()


def test_a_task_is_done_whatever_was_interrupted_before_it() -> None:
    workers, done = Workers(1), threading.Event()
    workers.submit(Priority.BULK, done.set)
    assert done.wait(20)
    at = 1
    while interrupted(lambda: workers.submit(Priority.BULK, lambda: None), at):
        done.clear()
        workers.submit(Priority.BULK, done.set)
        assert done.wait(20)
        at += 1
    workers.close()
