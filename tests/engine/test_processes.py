"""Items prepared in processes: one that dies is replaced, and no item is lost or comes twice."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from omnibind.engine import Engine, Item, recognise
from omnibind.plugins import registry
from omnibind.testing.toyspace import ToySpace

KNOWN = registry()
ENCODERS = {"text": [ToySpace("a", dim=8, modalities=["text"]).encoders["text"]]}


def texts(count: int) -> list[Item]:
    said = ("" if k % 100 == 7 else f"text {k}" for k in range(count))
    return [recognise(k, text, KNOWN.modalities, "text") for k, text in enumerate(said)]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine(device="cpu", size="tiny", workers=2, batch_size=64, processes=True)
    yield made
    made.close()


def test_processes_give_the_rows_that_threads_give(engine: Engine) -> None:
    plain = Engine(device="cpu", size="tiny", workers=1)
    found, there = (one.encode(texts(30), ENCODERS) for one in (engine, plain))
    torch.testing.assert_close(found.rows["a-text"], there.rows["a-text"])
    assert found.failures == there.failures
    plain.close()


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_of_many_items_and_five_kills_every_item_comes_back_once(
    count: int, engine: Engine
) -> None:
    due, chance = [count * k // 20 for k in (1, 5, 9, 13, 17)], random.Random(0)

    def kill(item: Item) -> None:
        if due and item.index >= due[0] and engine.processes and engine.processes.pids:
            os.kill(chance.choice(engine.processes.pids), signal.SIGKILL)
            due.pop(0)

    found = engine.encode(texts(count), ENCODERS, kill)
    failed = [failure.index for failure in found.failures]
    assert failed == [k for k in range(count) if k % 100 == 7]
    assert sorted([*failed, *found.indices["text"]]) == list(range(count))
    assert len(found.rows["a-text"]) == count - len(failed)
    assert not due
    assert engine.stats().replaced >= 1


def test_an_item_that_kills_its_process_twice_is_a_bad_item(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.processes
    found: list[str] = []

    def hunt() -> None:
        while not found:
            for pid in engine.processes.pids if engine.processes else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        (failure,) = engine.encode(texts(1), ENCODERS).failures
    finally:
        found.append("done")
        hunter.join()
    assert "died 2 times" in failure.reason
    assert len(engine.encode(texts(1), ENCODERS).rows["a-text"]) == 1
