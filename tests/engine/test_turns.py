"""Budgets and several devices change how rows are made, and not what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnibind.engine import Engine, Item, recognise
from omnibind.engine.finishing import sample_of
from omnibind.engine.memory.budget import bytes_of
from omnibind.engine.outcome import Encoded
from omnibind.engine.placement import place
from omnibind.errors import SetupError
from omnibind.plugins import registry
from omnibind.specs import EncoderSpec, resolve
from omnibind.testing.length import length_card, texts
from omnibind.testing.toyspace import ToySpace

MEDIA = Path("examples/media")
KNOWN = registry()
CARDS = [ToySpace(name, dim=8, modalities=["text", "image"]) for name in ("a", "b", "c", "d")]
ENCODERS = {m: [card.encoders[m] for card in CARDS] for m in ("text", "image")}
SIZES = {e.key: bytes_of(e, "tiny") for several in ENCODERS.values() for e in several}


def items() -> list[Item]:
    given = [*(f"text {k}" for k in range(20)), *sorted(MEDIA.glob("*.png"))]
    return [recognise(k, one, KNOWN.modalities) for k, one in enumerate(given)]


@contextmanager
def made(**settings: Any) -> Iterator[Engine]:
    engine = Engine(**{"device": "cpu", "size": "tiny", "workers": 2, "batch_size": 4, **settings})
    yield engine
    engine.close()


def rows(found: Encoded) -> Mapping[str, Tensor]:
    assert not found.failures
    return found.rows


@pytest.fixture(scope="module")
def plain() -> Mapping[str, Tensor]:
    with made() as engine:
        return rows(engine.encode(items(), ENCODERS))


def same(found: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> bool:
    return all(torch.allclose(found[key], plain[key], atol=1e-6) for key in plain)


def test_half_the_memory_gives_the_same_rows_and_moves_each_encoder_once(
    plain: Mapping[str, Tensor],
) -> None:
    with made(memory=sum(SIZES.values()) // 2) as engine:
        assert same(rows(engine.encode(items(), ENCODERS)), plain)
        stats = engine.stats()
    assert set(stats.lanes[0].loads.values()) == {1}
    assert stats.lanes[0].evicted > 0
    assert stats.decoded == len(items())  # samples for later turns were kept
    assert stats.done == stats.items  # each once, though it took several turns


def test_encoders_of_modalities_that_nothing_has_stay_where_they_are(
    plain: Mapping[str, Tensor],
) -> None:
    texts = [item for item in items() if item.modality.name == "text"]
    needed = {spec.key: SIZES[spec.key] for spec in ENCODERS["text"]}
    with made(memory=sum(needed.values())) as engine:
        assert not engine.fits(ENCODERS)
        assert engine.fits({"text": ENCODERS["text"]})
        found = rows(engine.encode(texts, ENCODERS))
        loads = engine.stats().lanes[0].loads
        evicted = engine.stats().lanes[0].evicted
    assert all(torch.allclose(found[key], plain[key], atol=1e-6) for key in needed)
    assert loads == dict.fromkeys(needed, 1)
    assert evicted == 0


def test_without_room_for_samples_items_are_decoded_once_a_turn(
    plain: Mapping[str, Tensor],
) -> None:
    with made(memory=sum(SIZES.values()) // 2, spool=0) as engine:
        assert same(rows(engine.encode(items(), ENCODERS)), plain)
        stats = engine.stats()
    assert set(stats.lanes[0].loads.values()) == {1}
    assert stats.decoded > len(items())


@pytest.mark.parametrize("spool", [1 << 20, 0])
def test_batches_are_as_full_in_later_turns_as_in_the_first(spool: int) -> None:
    cards = [length_card(key) for key in ("first", "second", "third")]
    told: list[int] = []
    with made(memory=8, spool=spool) as engine:
        given = [*texts(120), recognise(120, " ", KNOWN.modalities, "text"), *texts(122)[121:]]
        found = engine.encode(given, {"text": cards}, lambda item: told.append(item.index))
        batches = {key: one.batches for key, one in engine.stats().encoders.items()}
    assert [failure.index for failure in found.failures] == [120]
    assert told == list(range(122))
    assert max(batches.values()) <= 45  # 31 if all are full


def test_an_encoder_larger_than_the_memory_goes_through_in_layers() -> None:
    spec = KNOWN.space("eva02-e14-plus").encoders["image"]
    pictures = [
        recognise(k, p, KNOWN.modalities) for k, p in enumerate(sorted(MEDIA.glob("*.jpg")))
    ]
    with made(weights="random") as engine:
        whole = rows(engine.encode(pictures, {"image": [spec]}))[spec.key]
    smaller = made(weights="random", memory=bytes_of(spec, "tiny") - 1)
    with pytest.warns(UserWarning, match="above the budget"), smaller as engine:
        found = rows(engine.encode(pictures, {"image": [spec]}))[spec.key]
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-6)


def test_memory_for_less_than_a_layer_is_refused_by_name() -> None:
    spec = KNOWN.space("eva02-e14-plus").encoders["image"]
    with made(weights="random", memory=1000) as engine, pytest.raises(SetupError, match=spec.key):
        engine.encode([recognise(0, MEDIA / "cat.jpg", KNOWN.modalities)], {"image": [spec]})


@pytest.mark.parametrize("memory", [None, max(SIZES.values()) * 2])
def test_several_devices_share_the_work(memory: int | None, plain: Mapping[str, Tensor]) -> None:
    with made(device="cpu,cpu,cpu", memory=memory) as engine:
        for _ in range(3):
            assert same(rows(engine.encode(items(), ENCODERS)), plain)
        busy = [lane for lane in engine.stats().lanes if lane.loads]
    assert len(busy) == 3


def test_the_costliest_encoder_is_copied_where_that_pays() -> None:
    placed = place({"large": 8.0, "small": 1.0}, {"large": 10, "small": 1}, [None, None])
    assert "large" in placed[0] & placed[1]


def test_encoders_are_placed_where_they_fit() -> None:
    placed = place({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 6, "b": 6, "c": 4}, [10, 10])
    assert sorted(map(sorted, placed)) in ([["a", "c"], ["b", "c"]], [["a", "c"], ["b"]])


def test_encoders_that_prepare_and_finish_alike_are_given_the_same_sample() -> None:
    spaces = {space: KNOWN.spaces[space] for space in KNOWN.spaces}
    shared: dict[str, dict[str, EncoderSpec]] = {}
    for space in spaces.values():
        for spec in space.encoders.values():
            if spec.sample:
                shared.setdefault(spec.sample, {})[spec.key] = spec
    assert shared
    files = {"audio": "cat.ogg", "image": "cat.jpg", "points": "horse.ply"}
    given = {m: MEDIA / name for m, name in files.items()} | {"text": "A horse, that sleeps."}
    with made(weights="random") as engine:
        for specs in shared.values():
            modality = next(iter(specs.values())).modality
            media = resolve(KNOWN.modalities[modality].load)(given[modality])
            for early in (False, True):
                first, *others = [
                    sample_of(engine.networks.preparing(spec), media, early=early)
                    for spec in specs.values()
                ]
                for other in others:
                    assert other.keys() == first.keys()
                    assert all(torch.equal(other[name], first[name]) for name in other)
