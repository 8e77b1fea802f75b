"""The engine: one decode an item, one forward an encoder key, a bad item harms no other."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omnibind.engine import Engine, Item, RowCache, recognise
from omnibind.errors import ItemFailure, PluginError, WeightsError
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec
from omnibind.weights import load_state

MODALITIES = load_registry().modalities
SEEN: list[str] = []


class Words(nn.Module):
    """Hashes a text onto the unit sphere; some words make it misbehave."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(64, 4))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        SEEN.append(f"preprocess {media}")
        if media == "unreadable":
            raise RuntimeError("cannot be preprocessed")
        ids = [zlib.crc32(word.encode()) % 64 for word in media.split()]
        flag = {"explode": 1, "nan": 2}.get(media, 0)
        return {"id": torch.tensor(ids[0]), "flag": torch.tensor(flag)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        SEEN.append(f"forward {len(batch['id'])}")
        if (batch["flag"] == 1).any():
            raise RuntimeError("cannot be encoded")
        rows = nn.functional.normalize(self.table[batch["id"]], dim=-1)
        return rows.masked_fill((batch["flag"] == 2)[:, None], float("nan"))


class Stored(Words):
    """Reads its table from a file."""

    def load_official(self, state: dict[str, Tensor]) -> object:
        return load_state(self, state)


class Crooked(Words):
    """Gives rows of another width than its card says."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch)[:, :3]


def _spec(key: str = "words", build: str = "Words", **changes: object) -> EncoderSpec:
    plain = {
        "key": key,
        "modality": "text",
        "dim": 4,
        "params": 256,
        "flops_per_item": 1.0,
        "build": f"{__name__}:{build}",
        "weights": (),
    }
    return EncoderSpec(**(plain | changes))


def _texts(*texts: str) -> list[Item]:
    return [recognise(i, text, MODALITIES, "text") for i, text in enumerate(texts)]


@pytest.fixture
def engine() -> Iterator[Engine]:
    SEEN.clear()
    made = Engine(device="cpu", size="tiny", workers=2, batch_size=4)
    yield made
    made.close()


def test_rows_come_back_in_the_order_of_the_items(engine: Engine) -> None:
    texts = [f"word{k}" for k in range(11)]
    together = engine.encode(_texts(*texts), {"text": [_spec()]})
    alone = [engine.encode(_texts(text), {"text": [_spec()]}).rows["words"] for text in texts]
    assert together.indices == {"text": tuple(range(11))}
    assert torch.equal(together.rows["words"], torch.cat(alone))


def test_items_are_encoded_in_batches(engine: Engine) -> None:
    engine.encode(_texts(*"abcdefghij"), {"text": [_spec()]})
    sizes = [step for step in SEEN if step.startswith("forward")]  # two may run side by side
    assert sorted(sizes, reverse=True) == ["forward 4", "forward 4", "forward 2"]


def test_an_encoder_that_two_spaces_share_runs_once(engine: Engine) -> None:
    found = engine.encode(_texts("a", "b"), {"text": [_spec(), _spec()]})
    assert list(found.rows) == ["words"]
    assert SEEN.count("preprocess a") == 1
    sizes = [int(seen.split()[1]) for seen in SEEN if seen.startswith("forward")]
    assert sum(sizes) == 2  # in one batch, or in two where a thread was slow


@pytest.mark.parametrize(
    ("bad", "stage", "reason"),
    [
        ("", "decode", "empty"),
        ("unreadable", "preprocess for words", "RuntimeError: cannot be preprocessed"),
        ("explode", "encode by words", "RuntimeError: cannot be encoded"),
        ("nan", "encode by words", "NaN"),
    ],
)
def test_a_bad_item_is_reported_and_the_others_are_unharmed(
    bad: str, stage: str, reason: str, engine: Engine
) -> None:
    good = engine.encode(_texts("a", "b", "c"), {"text": [_spec()]}).rows["words"]
    found = engine.encode(_texts("a", bad, "b", "c"), {"text": [_spec()]})
    assert found.indices == {"text": (0, 2, 3)}
    assert torch.equal(found.rows["words"], good)
    (failure,) = found.failures
    assert (failure.index, failure.stage) == (1, stage)
    assert reason in failure.reason


def test_an_item_that_fails_in_one_encoder_has_no_row_in_any(engine: Engine) -> None:
    specs = [_spec("one"), _spec("two")]
    found = engine.encode(_texts("a", "explode", "b"), {"text": specs})
    assert {key: len(rows) for key, rows in found.rows.items()} == {"one": 2, "two": 2}
    assert len(found.failures) == 1


def test_an_encoder_with_rows_of_the_wrong_width_is_named(engine: Engine) -> None:
    with pytest.raises(PluginError, match="'crooked'"):
        engine.encode(_texts("a"), {"text": [_spec("crooked", "Crooked")]})


def test_an_encoder_that_cannot_be_built_stops_the_call() -> None:
    engine = Engine(device="cpu", workers=1)
    with pytest.raises(WeightsError, match="no load_official"):
        engine.encode(_texts("a"), {"text": [_spec()]})
    engine.close()


def test_no_items_give_no_rows(engine: Engine) -> None:
    found = engine.encode([], {"text": [_spec()]})
    assert found.rows["words"].shape == (0, 4)
    assert found.failures == ()


def test_progress_is_told_once_an_item_good_or_bad(engine: Engine) -> None:
    told: list[int] = []
    engine.encode(_texts("a", "", "b"), {"text": [_spec()]}, lambda item: told.append(item.index))
    assert told == [0, 1, 2]


def test_a_thousand_items_with_some_bad_come_back_exactly_once(engine: Engine) -> None:
    texts = ["explode" if k % 100 == 7 else "" if k % 100 == 3 else f"w{k}" for k in range(1000)]
    found = engine.encode(_texts(*texts), {"text": [_spec()]})
    failed = {failure.index for failure in found.failures}
    assert failed == {k for k in range(1000) if k % 100 in (3, 7)}
    assert sorted([*failed, *found.indices["text"]]) == list(range(1000))


def test_only_a_few_batches_are_prepared_ahead(engine: Engine) -> None:
    taken = 0

    def items() -> Iterator[Item]:
        nonlocal taken
        for item in _texts(*(f"w{k}" for k in range(200))):
            taken = item.index
            yield item

    ahead: list[int] = []
    engine.encode(items(), {"text": [_spec()]}, lambda item: ahead.append(taken - item.index))
    assert max(ahead) <= 6 * engine.batch_size


def test_callers_in_many_threads_get_their_own_rows(engine: Engine) -> None:
    found: dict[int, Tensor] = {}

    def call(number: int) -> None:
        found[number] = engine.encode(_texts(f"w{number}"), {"text": [_spec()]}).rows["words"]

    threads = [threading.Thread(target=call, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, rows in found.items():
        assert torch.equal(
            rows, engine.encode(_texts(f"w{number}"), {"text": [_spec()]}).rows["words"]
        )
    assert len(found) == 16


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Engine]:
    SEEN.clear()
    made = Engine(device="cpu", size="tiny", workers=2, cache=RowCache(tmp_path / "rows.sqlite"))
    yield made
    made.close()
    made.cache.close()


def test_a_row_seen_before_is_not_computed_again(cached: Engine) -> None:
    first = cached.encode(_texts("a", "b"), {"text": [_spec()]})
    SEEN.clear()
    again = cached.encode(_texts("b", "a"), {"text": [_spec()]})
    assert SEEN == []
    assert torch.equal(again.rows["words"], first.rows["words"].flip(0))


def test_another_revision_is_computed_anew(cached: Engine) -> None:
    cached.encode(_texts("a"), {"text": [_spec()]})
    SEEN.clear()
    cached.encode(_texts("a"), {"text": [_spec(revision="2")]})
    assert "forward 1" in SEEN


def test_bad_rows_are_not_kept(cached: Engine) -> None:
    for _ in range(2):
        failures = cached.encode(_texts("nan"), {"text": [_spec()]}).failures
        assert [type(f) for f in failures] == [ItemFailure]
    assert len(cached.cache) == 0


def test_weights_that_changed_are_not_answered_from_the_cache(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows.sqlite")
    file = tmp_path / "words.safetensors"
    rows = []
    for moment, value in enumerate((1.0, -1.0)):
        save_file({"table": torch.full((64, 4), value)}, file)
        os.utime(file, ns=(moment, moment))  # the clock of some file systems is coarse
        engine = Engine(device="cpu", workers=1, cache=cache)
        spec = _spec(build="Stored", weights=(f"file:{file}",))
        rows.append(engine.encode(_texts("a"), {"text": [spec]}).rows["words"])
        engine.close()
    assert torch.equal(rows[0], -rows[1])
    cache.close()
