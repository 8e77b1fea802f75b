"""Media longer than a clip: `long` says what becomes of them, and rows of two ways never mix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import omnibind
from omnibind.embedder import Embedder
from omnibind.engine import Engine, Item, RowCache, recognise
from omnibind.errors import ItemError, MediaError, PluginError, RecipeError, SetupError
from omnibind.media.audio import Audio
from omnibind.plugins import Registry, load_registry
from omnibind.specs import EncoderSpec
from omnibind.testing import ToySpace, toy_recipe, toy_registry

MODALITIES = load_registry().modalities


class Levels(nn.Module):
    """How loud each of four stretches is; the authors' way hears the first second alone."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.long = "windows"

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        sound = media.mono(1000)
        heard = sound[:1000] if self.long == "official" else sound
        return {"level": torch.stack([part.abs().mean() for part in heard.tensor_split(4)]) + 0.1}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return nn.functional.normalize(batch["level"], dim=-1)


class OneWay(Levels):
    """Knows no `long`, whatever its card says."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__(size, assets)
        del self.long


LEVELS = EncoderSpec(
    key="levels",
    modality="audio",
    dim=4,
    params=0,
    flops_per_item=1.0,
    build=f"{__name__}:Levels",
    weights=(),
    long=True,
)
SWELL = (np.linspace(0, 1, 8000, dtype=np.float32), 1000)


def item() -> list[Item]:
    return [recognise(0, SWELL, MODALITIES, "audio")]


def engine(**settings: object) -> Engine:
    return Engine(device="cpu", size="tiny", workers=1, **settings)


def test_rows_of_two_ways_never_mix(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows.sqlite")
    rows: list[Tensor] = []
    for long in ("windows", "official", "windows", "official"):
        made = engine(long=long, cache=cache)
        rows.append(made.encode(item(), {"audio": [LEVELS]}).rows["levels"])
        made.close()
    cache.close()
    assert not torch.allclose(rows[0], rows[1], atol=1e-3)
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[1], rows[3])


def test_only_encoders_that_have_the_setting_depend_on_it() -> None:
    ours, theirs = engine().networks, engine(long="official").networks
    plain = replace(LEVELS, key="plain", long=False)
    assert ours.identity(LEVELS) != theirs.identity(LEVELS)
    assert ours.identity(plain) == theirs.identity(plain)


def test_a_card_that_promises_what_the_network_lacks_is_named() -> None:
    with pytest.raises(PluginError, match="'one-way'"):
        engine().networks.preparing(replace(LEVELS, key="one-way", build=f"{__name__}:OneWay"))


@pytest.fixture(scope="module")
def known() -> Registry:
    heard = replace(ToySpace("heard", dim=4, modalities=["text"]))
    heard = replace(heard, encoders={**heard.encoders, "audio": LEVELS})
    toy = ToySpace("toy", dim=4, modalities=["text", "image"])
    return toy_registry(heard, toy, toy_recipe("heard", [heard]), toy_recipe("toys", [toy]))


@pytest.fixture
def model(known: Registry) -> Iterator[Embedder]:
    made = engine()
    yield omnibind.load("heard", engine=made, known=known)
    made.close()


def test_load_takes_the_way_and_its_rows_differ(known: Registry, tmp_path: Path) -> None:
    ways = [
        omnibind.load("heard", engine=engine(long=long), long=long, known=known)
        for long in ("windows", "official")
    ]
    ours, theirs = (way.embed([SWELL]).rows for way in ways)
    assert not torch.allclose(ours, theirs, atol=1e-3)


def test_an_engine_of_another_way_is_refused(known: Registry) -> None:
    with pytest.raises(SetupError, match="an engine with long='windows'"):
        omnibind.load("heard", engine=engine(), long="official", known=known)


def test_a_way_that_changes_nothing_is_said(known: Registry) -> None:
    with pytest.warns(UserWarning, match="changes nothing: toy know one way"):
        omnibind.load("toys", engine=engine(long="official"), long="official", known=known)


def test_windows_of_an_item_are_rows_with_their_starts(model: Embedder) -> None:
    found = model.windows(SWELL, seconds=2)
    assert found.starts == (0, 2, 4, 6)
    parts = [(SWELL[0][2000 * k : 2000 * (k + 1)], 1000) for k in range(4)]
    assert torch.equal(found.rows, model.embed(parts).rows)
    assert (len(found.weights), found.degraded) == (4, ())


def test_a_window_longer_than_the_item_is_the_item(model: Embedder) -> None:
    found = model.windows(SWELL)
    assert found.starts == (0,)
    assert torch.equal(found.rows, model.embed([SWELL]).rows)


def test_what_has_no_windows_is_refused_with_a_reason(model: Embedder, known: Registry) -> None:
    with pytest.raises(MediaError, match="'text', that has no length in time"):
        model.windows("a cat")
    with pytest.raises(RecipeError, match="'audio'"):
        omnibind.load("toys", engine=engine(), known=known).windows(SWELL)
    with pytest.raises(MediaError, match="no such file"):
        model.windows("missing.wav")


def test_a_window_that_fails_is_named(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model.engine.networks.preparing(LEVELS)
    monkeypatch.setattr(made, "preprocess", None)
    with pytest.raises(ItemError, match="item 3"):
        model.windows(SWELL, seconds=2)
