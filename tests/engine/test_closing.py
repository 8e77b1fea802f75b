"""An engine that is closed says so to everybody, and whoever asks again has a new one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from omnibind.engine import Cancel, Closed, Engine, Item, recognise, shared_engine
from omnibind.engine.engine import _end_all
from omnibind.engine.shared import forget_engines
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.testing.length import Length, length_card, texts

MODALITIES = load_registry().modalities
GATE = threading.Event()


class Gated(Length):
    """Of long texts as soon as the gate is open."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert batch["length"].max() <= 8 or GATE.wait(30)
        return super().forward(batch)


LENGTH = length_card(build=f"{__name__}:Gated")


@pytest.fixture
def engine() -> Iterator[Engine]:
    GATE.clear()
    made = Engine(device="cpu", size="tiny", workers=1, batch_size=4)
    yield made
    GATE.set()
    made.close()


def ended(call: Callable[[], object]) -> tuple[threading.Thread, list[Exception]]:
    """A thread that calls, and the error that it ends with."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Closed as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def test_a_closed_engine_says_what_to_do(engine: Engine) -> None:
    engine.encode(texts(1), {"text": [LENGTH]})
    engine.close()
    assert engine.closed
    with pytest.raises(SetupError) as refused:
        engine.encode(texts(1), {"text": [LENGTH]})
    assert "an engine that is closed" in str(refused.value)
    assert "omnibind.load" in refused.value.next_step


def test_callers_at_work_are_told_before_the_forward_ends_and_have_their_rows(
    engine: Engine,
) -> None:
    through = threading.Event()

    def told(item: Item) -> None:
        if item.index == 7:
            through.set()

    thread, errors = ended(lambda: engine.encode(texts(40), {"text": [LENGTH]}, told))
    assert through.wait(20)
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    thread.join(20)
    assert not thread.is_alive()
    assert closing.is_alive()  # it waits for the forward, the caller did not
    (error,) = errors
    assert isinstance(error, Closed)
    done: Any = error.done
    assert done.indices["text"] == tuple(range(8))
    assert done.rows["length"][:, 0].tolist() == [k + 1.0 for k in range(8)]


def test_a_caller_that_closes_its_own_engine_is_told(engine: Engine) -> None:
    short = [recognise(k, "x", MODALITIES, "text") for k in range(40)]
    with pytest.raises(Closed):
        engine.encode(short, {"text": [LENGTH]}, lambda item: engine.close())


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_ctrl_c_at_the_end_of_the_program_waits_for_no_forward(engine: Engine) -> None:
    ended(lambda: engine.encode(texts(40), {"text": [LENGTH]}))
    while sum(one.batched for one in engine.stats().encoders.values()) < 12:
        time.sleep(0.001)
    main = threading.main_thread().ident or 0
    again = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT))
    again.start()
    _end_all()
    again.join()
    assert engine.stats().encoders["length"].items == 8  # of twelve that were begun


def test_a_cancel_forgets_calls_that_have_ended(engine: Engine) -> None:
    cancel = Cancel()
    engine.encode(texts(1), {"text": [LENGTH]}, cancel=cancel)
    assert not cancel._calls


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Engine]]:
    monkeypatch.setenv("OMNIBIND_CACHE", str(tmp_path))
    forget_engines()
    made: list[Engine] = []

    def get() -> Engine:
        made.append(shared_engine(device="cpu", size="tiny"))
        return made[-1]

    yield get
    for one in made:
        one.close()
    forget_engines()


def test_a_shared_engine_that_is_closed_is_replaced(shared: Callable[[], Engine]) -> None:
    first = shared()
    assert shared() is first
    first.close()
    assert shared() is not first
    assert len(shared().encode(texts(1), {"text": [LENGTH]}).rows["length"]) == 1


@pytest.mark.parametrize(
    ("number", "found"),
    [
        ({"batch_size": 0}, "0 is not in the range x>=1"),
        ({"batch_size": -3}, "-3 is not in the range x>=1"),
        ({"workers": 0}, "0 is not in the range x>=1"),
        ({"workers": -1}, "-1 is not in the range x>=1"),
        ({"latency": -0.1}, "-0.1 is not in the range x>=0"),
        ({"latency": float("nan")}, "nan is not in the range x>=0"),
        ({"spool": -1}, "-1 is not in the range x>=0"),
    ],
)
def test_impossible_numbers_are_refused_as_by_the_command_line(
    number: dict[str, Any], found: str
) -> None:
    with pytest.raises(SetupError, match=f"with {next(iter(number))}=(.|\n)*{found}"):
        Engine(device="cpu", size="tiny", **number)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:lance is not fork-safe:UserWarning")  # others use it
def test_a_forked_process_has_a_shared_engine_of_its_own_and_closes_none_of_before(
    shared: Callable[[], Engine],
) -> None:
    before = shared()
    before.encode(texts(1), {"text": [LENGTH]})
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            own = shared()
            before._end()  # as at its exit
            rows = own.encode(texts(1), {"text": [LENGTH]}).rows["length"]
            os.write(write, f"{own is before} {before._batcher._closed} {len(rows)}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"False False 1"
    os.close(read)
    assert not before.closed
