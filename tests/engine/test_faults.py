"""What goes wrong on a device is named, and costs nobody else a row."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from omnibind.engine import Engine, Item, recognise
from omnibind.engine.devices import claim, pick, release
from omnibind.engine.faults import lost, touch
from omnibind.engine.forward import same_device
from omnibind.errors import PluginError, SetupError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec

MODALITIES = load_registry().modalities
BATCHES: list[int] = []


class Narrow(nn.Module):
    """Has memory for three items, and not for a large one."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        return {"large": torch.tensor(float(media == "large"))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        BATCHES.append(len(batch["large"]))
        if len(batch["large"]) > 3 or batch["large"].any():
            raise torch.OutOfMemoryError("out of memory")
        return torch.ones(len(batch["large"]), 1) * self.scale


class Activations:
    """A forward's, of so many items: what lies in memory as long as somebody has it."""

    def __init__(self, items: int) -> None:
        self.items = items
        ALIVE.add(self)


ALIVE: weakref.WeakSet[Activations] = weakref.WeakSet()


class Holding(Narrow):
    """Has memory for the activations of ten items."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        BATCHES.append(len(batch["large"]))
        made = Activations(len(batch["large"]))
        if sum(one.items for one in ALIVE) > 10:
            raise torch.OutOfMemoryError("out of memory")
        return torch.ones(made.items, 1) * self.scale


class Retelling(Holding):
    """Gives another error in the place of its own, and keeps that."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        try:
            return super().forward(batch)
        except torch.OutOfMemoryError as error:
            kept = error
            raise RuntimeError(f"this network is out of memory: {kept}") from kept


class Astray(Narrow):
    """Puts its rows on a device of its own choice."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["large"][:, None].expand(-1, 2).to("meta")


class Leaving(Narrow):
    """Moves itself, and computes then."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        self.to("meta")  # stands for .cuda()
        return nn.functional.linear(batch["large"][:, None], self.scale[:, None])


class Listing(Narrow):
    """Gives lists where tensors are due."""

    def forward(self, batch: dict[str, Tensor]) -> list[list[float]]:
        return [[0.0, 0.0] for _ in batch["large"]]


class Raw(Narrow):
    """Gives numbers where a tensor is due."""

    def preprocess(self, media: str) -> dict[str, list[int]]:
        return {"large": [1, 2]}


class Bare(Narrow):
    """Gives a tensor where named ones are due."""

    def preprocess(self, media: str) -> Tensor:
        return torch.tensor(0.0)


class Greedy(Narrow):
    """Needs all of the memory for a large item, which is not through before another was tried."""

    busy, tried = threading.Event(), threading.Event()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        if batch["large"].any():
            self.busy.set()
            assert self.tried.wait(20)
            time.sleep(0.05)
            self.busy.clear()
        elif self.busy.is_set():
            self.tried.set()
            raise torch.OutOfMemoryError("out of memory")
        return torch.ones(len(batch["large"]), 1) * self.scale


class Unbuilt(Narrow):
    """Cannot be built."""

    def __init__(self, size: str, assets: object) -> None:
        raise RuntimeError("no words at hand")


class Leaver(Narrow):
    """Ends the program, as it thinks, at a large item."""

    def preprocess(self, media: str) -> dict[str, Tensor]:
        if media == "large":
            sys.exit(0)
        return super().preprocess(media)


class LateLeaver(Narrow):
    """The same, once it computes."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        if batch["large"].any():
            sys.exit(0)
        return super().forward(batch)


class Absent(Narrow):
    """Ends the program instead of being built."""

    def __init__(self, size: str, assets: object) -> None:
        sys.exit(0)


class Slow(Narrow):
    """Cannot be built either, and nobody knows for a while."""

    tried, known = threading.Event(), threading.Event()

    def __init__(self, size: str, assets: object) -> None:
        self.tried.set()
        assert self.known.wait(30)
        raise RuntimeError("no words at hand")


class Deaf(Narrow):
    """Fails whatever it is given."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        raise RuntimeError("CUDA error: invalid configuration argument")


class Breaking(Narrow):
    """Breaks its device by one item; from then on nothing succeeds there."""

    broken = False

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        BATCHES.append(len(batch["large"]))
        if Breaking.broken or batch["large"].any():
            Breaking.broken = True
            raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might")
        return torch.ones(len(batch["large"]), 1) * self.scale


NARROW = EncoderSpec(
    key="narrow",
    modality="text",
    dim=2,
    params=2,
    flops_per_item=1.0,
    build=f"{__name__}:Narrow",
    weights=(),
)


def texts(*words: str) -> list[Item]:
    return [recognise(k, word, MODALITIES, "text") for k, word in enumerate(words)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    BATCHES.clear()
    Breaking.broken = False
    made = Engine(device="cpu", size="tiny", workers=1, batch_size=8, latency=5.0)
    yield made
    made.close()


def test_a_batch_that_does_not_fit_is_halved_and_that_is_remembered(engine: Engine) -> None:
    for _ in range(2):
        assert len(engine.encode(texts(*"abcdefgh"), {"text": [NARROW]}).rows["narrow"]) == 8
    assert BATCHES == [8, 2, 2, 2, 2, 2, 2, 2, 2] or BATCHES[:2] == [8, 4]
    assert max(BATCHES[-4:]) == 2


@pytest.mark.parametrize("name", ["Holding", "Retelling"])
def test_the_memory_of_a_batch_that_did_not_fit_is_free_for_its_halves(name: str) -> None:
    BATCHES.clear()
    spec = replace(NARROW, key=name, build=f"{__name__}:{name}")
    wide = Engine(device="cpu", size="tiny", workers=1, batch_size=16, latency=5.0)
    found = wide.encode(texts(*"abcdefghijklmnop"), {"text": [spec]})
    assert len(found.rows[name]) == 16
    wide.encode(texts(*"abcdefgh"), {"text": [spec]})
    wide.close()
    assert BATCHES == [16, 8, 8, 8]


def test_an_item_that_does_not_fit_alone_is_named(engine: Engine) -> None:
    found = engine.encode(texts("a", "large", "b"), {"text": [NARROW]})
    assert found.indices["text"] == (0, 2)
    assert "out of memory" in found.failures[0].reason


def test_an_item_that_does_not_fit_beside_another_callers_is_tried_alone(engine: Engine) -> None:
    greedy = replace(NARROW, key="greedy", build=f"{__name__}:Greedy")
    large = threading.Thread(target=lambda: engine.encode(texts("large"), {"text": [greedy]}))
    large.start()
    assert Greedy.busy.wait(20)
    assert engine.encode(texts("a"), {"text": [greedy]}).failures == ()
    large.join()


def test_a_device_error_is_reported_with_encoder_and_shapes(engine: Engine) -> None:
    deaf = replace(NARROW, key="deaf", build=f"{__name__}:Deaf")
    failure = engine.encode(texts("a"), {"text": [deaf]}).failures[0]
    assert failure.stage == "encode by deaf"
    assert "invalid configuration argument" in failure.reason
    assert "large []" in failure.reason
    assert len(engine.encode(texts("a"), {"text": [NARROW]}).rows["narrow"]) == 1


def test_a_lost_device_ends_the_call_after_one_batch(engine: Engine) -> None:
    breaking = replace(NARROW, key="breaking", build=f"{__name__}:Breaking")
    words = ["a"] * 8 + ["large"] + ["b"] * 200
    with pytest.raises(SetupError) as error:
        engine.encode(iter(texts(*words)), {"text": [breaking]})
    assert "the encoder 'breaking', a batch of 8, the first of them large [], on cpu" in str(
        error.value
    )
    assert "RuntimeError: CUDA error: device-side assert triggered: after" in str(error.value)
    assert "start the process anew" in error.value.next_step
    assert len(BATCHES) <= 4
    assert len(engine.encode(texts("a"), {"text": [NARROW]}).rows["narrow"]) == 1


def works() -> None:
    """A device that does."""


def does_not() -> None:
    raise RuntimeError("CUDA error: whatever was wrong before")


def is_full() -> None:
    raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize(
    ("text", "then", "is_lost"),
    [
        ("CUDA error: an illegal memory access was encountered", works, True),
        ("cuBLAS: CUBLAS_STATUS_EXECUTION_FAILED", works, False),
        ("cuBLAS: CUBLAS_STATUS_EXECUTION_FAILED", does_not, True),
        ("CUDA error: out of memory", does_not, False),
        ("the mask does not fit", is_full, False),
    ],
)
def test_a_device_is_lost_where_cuda_says_so_or_nothing_works_there(
    text: str, then: Callable[[], None], is_lost: bool
) -> None:
    assert lost(RuntimeError(text), then) is is_lost


def test_a_device_is_touched_by_an_operation_on_it() -> None:
    touch(torch.device("cpu"))
    with pytest.raises(RuntimeError):
        touch(torch.device("meta"))  # which computes nothing


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Astray", "the encoder 'Astray' on cpu(.|\n)*rows on meta: it moves itself"),
        ("Leaving", "the encoder 'Leaving' on cpu(.|\n)*scale on meta: it moves itself"),
        ("Listing", r"rows \[2, 2\] of the encoder 'Listing'(.|\n)*no tensor: <class 'list'>"),
        ("Raw", "a sample of the encoder 'Raw'(.|\n)*its preprocess gave 'large': list"),
        ("Bare", "a sample of the encoder 'Bare'(.|\n)*its preprocess gave something .* Tensor"),
        ("Absent", "Absent' of the encoder 'Absent'(.|\n)*SystemExit: 0"),
        ("Unbuilt", "Unbuilt' of the encoder 'Unbuilt'(.|\n)*RuntimeError: no words at hand"),
    ],
)
def test_a_faulty_encoder_is_named_and_ends_the_call_and_no_other(
    name: str, said: str, engine: Engine
) -> None:
    faulty = replace(NARROW, key=name, build=f"{__name__}:{name}")
    for _ in range(2):
        with pytest.raises(PluginError, match=said):
            engine.encode(texts("a", "b"), {"text": [faulty]})
    assert len(engine.encode(texts("a"), {"text": [NARROW]}).rows["narrow"]) == 1


@pytest.mark.parametrize(
    ("name", "stage"), [("Leaver", "preprocess for Leaver"), ("LateLeaver", "encode by LateLeaver")]
)
def test_an_item_that_a_plugin_would_end_the_program_for_is_a_bad_item(
    name: str, stage: str, engine: Engine
) -> None:
    leaver = replace(NARROW, key=name, build=f"{__name__}:{name}")
    found = engine.encode(texts("a", "large", "b"), {"text": [leaver]})
    assert found.indices["text"] == (0, 2)
    (failure,) = found.failures
    assert (failure.index, failure.stage) == (1, stage)
    assert "SystemExit: 0" in failure.reason


def test_an_encoder_that_cannot_be_placed_is_nobody_elses_trouble() -> None:
    engine = Engine(device="cpu", size="tiny", workers=1, memory=16)
    slow = replace(NARROW, key="slow", build=f"{__name__}:Slow")

    def fails() -> None:
        with suppress(PluginError):
            engine.encode(texts("a"), {"text": [slow]})

    failing = threading.Thread(target=fails)
    failing.start()
    assert Slow.tried.wait(20)
    other = threading.Thread(target=lambda: engine.encode(texts("a"), {"text": [NARROW]}))
    other.start()
    other.join(20)
    done = not other.is_alive()
    Slow.known.set()
    failing.join()
    other.join()
    engine.close()
    assert done


def test_devices_are_told_apart_by_their_numbers() -> None:
    first, second = torch.device("cuda:0"), torch.device("cuda:1")
    assert same_device(first, torch.device("cuda:0"))
    assert same_device(first, torch.device("cuda"))  # the first is in use
    assert not same_device(first, second)
    assert not same_device(torch.device("cpu"), first)
    assert same_device(torch.device("cpu"), torch.device("cpu:0"))


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "cpu,nonsense"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(SetupError, match="the device"):
        pick(name)


def test_an_accelerator_belongs_to_one_engine_at_a_time() -> None:
    class Owner: ...

    first, second, device = Owner(), Owner(), [torch.device("cuda:0")]
    claim(first, device)
    with pytest.raises(SetupError, match="another engine's"):
        claim(second, device)
    release(first)
    claim(second, device)
    release(second)


def test_an_engine_that_was_refused_has_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda:0")
    monkeypatch.setattr("omnibind.engine.engine.pick", lambda name: (device,))
    with pytest.raises(SetupError, match="plenty") as kept:  # as an interactive Python keeps it
        Engine(device="cuda", dtype="float32", memory="plenty")

    class Owner: ...

    owner = Owner()
    claim(owner, [device])
    release(owner)
    assert kept.tb


def test_memory_that_says_nothing_is_refused() -> None:
    with pytest.raises(SetupError, match="plenty"):
        Engine(device="cpu", size="tiny", memory="plenty")
