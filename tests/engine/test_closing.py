"""An engine that is closed says so to everybody."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine import Cancel, Closed, Engine, Item, recognise
from omnibind.errors import SetupError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec

MODALITIES = load_registry().modalities
GATE = threading.Event()


class Length(nn.Module):
    """The length of a text, of long ones as soon as the gate is open."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"length": torch.tensor(float(len(media)))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        assert batch["length"].max() <= 8 or GATE.wait(30)
        return batch["length"][:, None] * self.scale


LENGTH = EncoderSpec(
    key="length",
    modality="text",
    dim=2,
    params=2,
    flops_per_item=1.0,
    build=f"{__name__}:Length",
    weights=(),
)


def texts(count: int) -> list[Item]:
    return [recognise(k, "x" * (k + 1), MODALITIES, "text") for k in range(count)]


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


def test_a_cancel_forgets_calls_that_have_ended(engine: Engine) -> None:
    cancel = Cancel()
    engine.encode(texts(1), {"text": [LENGTH]}, cancel=cancel)
    assert not cancel._calls
