"""Items prepared in processes: one that dies is replaced, and no item is lost or comes twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from omnibind.engine import Closed, Engine, Item, RowCache, recognise
from omnibind.engine.networks import Networks
from omnibind.engine.processes import Processes
from omnibind.errors import SetupError
from omnibind.plugins import registry
from omnibind.testing.length import Length, length_card
from omnibind.testing.length import texts as lengths
from omnibind.testing.toyspace import ToySpace

KNOWN = registry()
STUCK = (letter for letter in "a generator")
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


@pytest.mark.parametrize(
    ("count", "kills"), [(200, 3), pytest.param(10_000, 5, marks=pytest.mark.slow)]
)
def test_of_many_items_and_some_kills_every_item_comes_back_once(
    count: int, kills: int, engine: Engine
) -> None:
    due, chance = [count * k // 20 for k in (1, 5, 9, 13, 17)[:kills]], random.Random(0)

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
            time.sleep(0.001)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        (failure,) = engine.encode(texts(1), ENCODERS).failures
    finally:
        found.append("done")
        hunter.join()
    assert "died 2 times" in failure.reason
    assert len(engine.encode(texts(1), ENCODERS).rows["a-text"]) == 1


def test_ctrl_c_is_nothing_to_processes(engine: Engine) -> None:
    engine.encode(texts(50), ENCODERS)
    assert engine.processes
    before = engine.processes.pids
    for pid in before:
        os.kill(pid, signal.SIGINT)
    assert len(engine.encode(texts(50), ENCODERS).indices["text"]) == 49
    assert engine.processes.pids == before


@pytest.mark.parametrize("place", ["memory", "a file"])
def test_processes_know_the_rows_of_a_cache(place: str, tmp_path: Path) -> None:
    """One that is empty at first, as any is."""
    cache = RowCache(tmp_path / "rows.sqlite" if place == "a file" else None)
    engine = Engine(device="cpu", size="tiny", workers=1, processes=True, cache=cache)
    first, second = (engine.encode(texts(5), ENCODERS).rows["a-text"] for _ in range(2))
    assert len(cache) == 5
    assert engine.stats().encoders["a-text"].cached == 5
    assert torch.equal(first, second)
    engine.close()
    cache.close()


class Sticky(Length):
    """Never comes back from a text of three letters; its samples are parts of one another."""

    def preprocess(self, media: str) -> dict[str, Tensor]:
        if len(media) == 3:
            time.sleep(1000)
        length = torch.full((2,), float(len(media)))
        return {"length": length[0], "both": length}


STICKY = {"text": [length_card(build=f"{__name__}:Sticky")]}


def test_samples_may_share_their_memory(engine: Engine) -> None:
    assert engine.encode(lengths(2), STICKY).rows["length"][:, 0].tolist() == [1, 2]


def test_an_item_that_cannot_travel_to_a_process_is_a_bad_item(engine: Engine) -> None:
    items = [recognise(0, "a cat", KNOWN.modalities), recognise(1, STUCK, KNOWN.modalities, "text")]
    (failure,) = engine.encode(items, ENCODERS).failures
    assert failure.index == 1
    assert "on the way to its process" in failure.reason


def test_closing_waits_for_no_process_that_never_comes_back() -> None:
    engine = Engine(device="cpu", size="tiny", workers=1, processes=True)

    def call() -> None:
        with suppress(Closed):
            engine.encode(lengths(9), STICKY)

    threading.Thread(target=call, daemon=True).start()
    while engine.stats().decoded < 2:
        time.sleep(0.01)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    assert engine.processes
    assert engine.processes.pids == ()
    assert engine.stats().replaced == 0


ABANDONED = """
from omnibind.engine.networks import Networks
from omnibind.engine.processes import Processes
from omnibind.testing.length import texts
from tests_of_processes import STICKY

if __name__ == "__main__":
    processes = Processes(Networks("tiny"), None, lambda: None)
    processes(texts(1)[0], STICKY["text"])
    print(processes.pids[0], flush=True)
    processes(texts(3)[2], STICKY["text"])
"""


@pytest.mark.slow  # two programs import torch
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    shutil.copy(__file__, tmp_path / "tests_of_processes.py")
    script = tmp_path / "script.py"
    script.write_text(ABANDONED)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    child.wait(20)


SCRIPT = """
from omnibind.engine import Engine, recognise
from omnibind.errors import SetupError
from omnibind.plugins import registry
from omnibind.testing.toyspace import ToySpace

encoders = {"text": [ToySpace("a", dim=8, modalities=["text"]).encoders["text"]]}
engine = Engine(device="cpu", size="tiny", workers=1, processes=True)
engine.encode([recognise(0, "a cat", registry().modalities, "text")], encoders)
"""


def test_a_script_that_its_processes_run_again_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 1
    said = ran.stderr[ran.stderr.rindex("SetupError: ") :]
    assert "a process that ended, with code 1, before it was ready" in said
    assert 'if __name__ == "__main__":' in said


def test_processes_that_are_killed_before_they_are_ready_are_no_items_fault() -> None:
    deaths: list[str] = []
    processes = Processes(Networks("tiny"), None, lambda: deaths.append("one"))
    over, others = threading.Event(), multiprocessing.active_children()

    def hunt() -> None:
        while not over.wait(0.01):
            for process in multiprocessing.active_children():
                if process not in others:
                    process.kill()

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        with pytest.raises(SetupError, match="with code -9, before it was ready"):
            processes(texts(1)[0], ENCODERS["text"])
    finally:
        over.set()
        hunter.join()
    assert deaths == ["one", "one"]
