"""A recipe of toy spaces, two of which share a network, and a few real files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omnibind.bench.media import Media, derive, example_media
from omnibind.bench.setting import Setting
from omnibind.plugins import LoadedPlugin, Registry, builtin
from omnibind.testing import ToySpace, toy_recipe

COUNTS = {"image": 5, "audio": 3, "points": 3, "text": 5}
LOADED: list[object] = []


def load_picture(source: object) -> object:
    """Decodes as the built-in does, and says so."""
    from omnibind.media.image import load

    LOADED.append(source)
    return load(source)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    modalities = {card.name: card for card in builtin.provide_modalities()}
    return derive(example_media(), tmp_path_factory.mktemp("media"), modalities, COUNTS)


@pytest.fixture(scope="session")
def known() -> Registry:
    """Pictures count how often they are decoded."""
    spaces = [
        ToySpace("back"),
        ToySpace("side", modalities=("image", "text"), keys={"image": "back-image"}),
        ToySpace("ears", dim=6, modalities=("audio", "text", "points")),
    ]
    modalities = [
        replace(card, load=f"{__name__}:load_picture") if card.name == "image" else card
        for card in builtin.provide_modalities()
    ]
    recipe = toy_recipe("toys", spaces, routed=("text",))
    cards = (*modalities, *spaces, recipe)
    named: dict[str, tuple[str, ...]] = {}
    for card in cards:
        kind = type(card).__name__
        named[kind] = (*named.get(kind, ()), card.name)
    known = Registry()
    known.add(LoadedPlugin(name="toys", distribution="toys", version="0", provides=named), cards)
    return known


@pytest.fixture
def setting() -> Setting:
    return Setting(recipe="toys", size="tiny", device="cpu", batch=2, workers=2)


@pytest.fixture
def loaded() -> list[object]:
    LOADED.clear()
    return LOADED
