"""Many callers, one engine: common batches, counts, and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from omnibind.engine import Cancel, Cancelled, Engine, Interrupted, Item, RowCache, recognise
from omnibind.engine.requests import Limits
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.testing.length import Length, length_card, texts

MODALITIES = load_registry().modalities
GATE = threading.Event()
BATCHES: list[int] = []


class Gated(Length):
    """As soon as the gate is open."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert GATE.wait(30)
        BATCHES.append(len(batch["length"]))
        return super().forward(batch)


class Large(Length):
    """Samples that are a full batch each, of which no row can be made."""

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"length": torch.zeros(1 << 20)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        raise ValueError("too large")


LENGTH = length_card(build=f"{__name__}:Gated")
LARGE = length_card("large", f"{__name__}:Large")


@pytest.fixture
def engine() -> Iterator[Engine]:
    GATE.set()
    BATCHES.clear()
    made = Engine(device="cpu", size="tiny", workers=2, batch_size=8)
    yield made
    GATE.set()
    made.close()


def test_items_of_many_threads_run_in_common_batches(engine: Engine) -> None:
    GATE.clear()
    found: dict[int, Tensor] = {}

    def call(number: int) -> None:
        found[number] = engine.encode([texts(24)[number]], {"text": [LENGTH]}).rows["length"]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    while engine.stats().waiting.get("length", 0) < 24 - 2 * 8:  # two batches are under way
        time.sleep(0.002)
    GATE.set()
    for thread in threads:
        thread.join()
    assert {number: float(rows[0, 0]) for number, rows in found.items()} == {
        number: number + 1.0 for number in range(24)
    }
    assert len(BATCHES) < 24


def test_samples_of_bulk_callers_hold_no_small_call_back(engine: Engine) -> None:
    GATE.clear()
    engine._batcher.limits = Limits(items=8, waiting=32)  # 8 samples of 4 bytes
    small = length_card("small", f"{__name__}:Gated")
    threads: list[threading.Thread] = []
    for count, card, key in ((100, LENGTH, "length"), (8, small, "small")):
        items = (texts(count), {"text": [card]})
        threads.append(threading.Thread(target=engine.encode, args=items, daemon=True))
        threads[-1].start()
        deadline = time.monotonic() + 20
        while engine.stats().waiting.get(key, 0) < 8:  # of the first, as many as may
            assert time.monotonic() < deadline
            time.sleep(0.002)
    GATE.set()
    for thread in threads:
        thread.join(20)


def test_it_counts_what_it_does(engine: Engine) -> None:
    engine.encode([*texts(9), recognise(9, " ", MODALITIES, "text")], {"text": [LENGTH]})
    stats = engine.stats()
    assert (stats.items, stats.failed, stats.decoded) == ({"text": 10}, 1, 10)
    assert stats.done == {"text": 9}
    assert stats.encoders["length"].items == 9
    assert stats.lanes[0].resident == ("length",)
    assert stats.waiting_bytes == 0


def test_known_rows_are_counted_apart(engine: Engine) -> None:
    engine.close()
    engine = Engine(device="cpu", size="tiny", workers=1, cache=RowCache())
    for _ in range(2):
        engine.encode(texts(3), {"text": [LENGTH]})
    assert engine.stats().encoders["length"].cached == 3
    assert engine.stats().encoders["length"].items == 3
    engine.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """As at a terminal: a background job is started with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_call_and_gives_the_rows_so_far(engine: Engine) -> None:
    def press(item: Item) -> None:
        if item.index == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted) as stopped:
        engine.encode(texts(200), {"text": [LENGTH]}, press)
    done = stopped.value.done
    assert 20 < len(done.indices["text"]) < 200
    assert done.rows["length"][:, 0].tolist() == [i + 1.0 for i in done.indices["text"]]
    assert len(engine.encode(texts(5), {"text": [LENGTH]}).rows["length"]) == 5


def test_another_thread_can_end_a_call(engine: Engine) -> None:
    cancel = Cancel()

    def stop(item: Item) -> None:
        if item.index == 20:
            thread = threading.Thread(target=cancel)
            thread.start()
            thread.join()

    with pytest.raises(Cancelled) as ended:
        engine.encode(texts(200), {"text": [LENGTH]}, stop, cancel=cancel)
    assert 20 < len(ended.value.done.indices["text"]) < 200
    with pytest.raises(Cancelled):
        engine.encode(texts(1), {"text": [LENGTH]}, cancel=cancel)


def test_an_error_in_a_callers_list_leaves_the_engine_in_order(engine: Engine) -> None:
    def broken() -> Iterator[Item]:
        yield from texts(20)
        raise OSError("the list ends here")

    with pytest.raises(OSError, match="ends here"):
        engine.encode(broken(), {"text": [LENGTH]})
    assert len(engine.encode(texts(5), {"text": [LENGTH]}).rows["length"]) == 5


def test_a_call_whose_last_item_failed_keeps_nobody_waiting(engine: Engine) -> None:
    deadline = time.monotonic() + 10

    def until(waiting: int, failed: int) -> None:
        while (s := engine.stats()).waiting.get("length") != waiting or s.failed != failed:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def first() -> Iterator[Item]:
        yield from texts(1)
        until(waiting=2, failed=1)

    def second() -> Iterator[Item]:
        until(waiting=1, failed=1)
        yield from texts(1)

    calls = [(first(), [LENGTH, LARGE]), (second(), [LENGTH])]
    threads = [
        threading.Thread(target=engine.encode, args=(items, {"text": specs}), daemon=True)
        for items, specs in calls
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")  # others use it
def test_a_forked_process_is_told_to_make_its_own(engine: Engine) -> None:
    engine.encode(texts(2), {"text": [LENGTH]})
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            engine.encode(texts(1), {"text": [LENGTH]})
            os.write(write, b"rows")
        except SetupError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"before the fork" in os.read(read, 4096)


def test_an_engine_that_is_dropped_ends_its_threads() -> None:
    before = threading.active_count()
    engine = Engine(device="cpu", size="tiny", workers=2)
    engine.encode(texts(2), {"text": [LENGTH]})
    assert threading.active_count() > before
    del engine
    assert threading.active_count() == before
