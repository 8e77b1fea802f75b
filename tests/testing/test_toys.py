"""Toy spaces and sample media: real, small, the same every time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import omnibind
from omnibind.engine import Engine
from omnibind.errors import PluginError, UnknownNameError
from omnibind.media.audio import Audio
from omnibind.media.points import Points
from omnibind.specs import resolve
from omnibind.testing import ToySpace, samples, toy_recipe, toy_registry, with_files

KINDS = {"text": str, "image": Image.Image, "audio": Audio, "points": Points}


@pytest.fixture
def engine():
    made = Engine(device="cpu", size="tiny", workers=2)
    yield made
    made.close()


@pytest.mark.parametrize("modality", KINDS)
def test_samples_are_what_preprocess_receives(modality: str) -> None:
    media = samples.media(modality)
    assert len(media) == 5
    assert all(isinstance(one, KINDS[modality]) for one in media)


@pytest.mark.parametrize("modality", KINDS)
def test_samples_are_the_same_every_time_and_differ_from_one_another(modality: str) -> None:
    digest = resolve(f"omnibind.media.{modality}:digest")
    first = [digest(one) for one in samples.media(modality)]
    assert first == [digest(one) for one in samples.media(modality)]
    assert len(set(first)) == len(first)


def test_samples_of_another_modality_ask_for_the_authors_own() -> None:
    with pytest.raises(UnknownNameError, match=r"define `items\(self, modality\)`"):
        samples.media("smell")


def test_written_samples_are_read_as_their_modality(tmp_path: Path, engine: Engine) -> None:
    files = samples.write_samples(tmp_path / "media")
    space = ToySpace("a")
    known = toy_registry(space, toy_recipe("toys", [space]))
    model = omnibind.load("toys", engine=engine, known=known)
    found = model.embed([path for paths in files.values() for path in paths])
    assert found.errors == ()
    assert found.modalities == tuple(m for m, paths in files.items() for _ in paths)
    assert {path.suffix for path in files["audio"]} == {".wav", ".flac", ".ogg", ".mp3"}


def test_toy_spaces_of_different_widths_are_bound_by_their_projectors(
    tmp_path: Path, engine: Engine
) -> None:
    a = ToySpace("a", modalities=["text", "image"])
    b = ToySpace("b", dim=5, modalities=["text", "audio"])
    b = with_files(b, tmp_path, backbone="a", joint=8)
    known = toy_registry(a, b, toy_recipe("toys", [a, b]))
    model = omnibind.load("toys", engine=engine, known=known)
    found = model.embed(["a trumpet", *samples.media("audio"), *samples.media("image")])
    assert found.errors == ()
    assert found.rows.shape == (11, 8)
    assert found.weights[0] == {"a": 0.5, "b": 0.5}
    assert set(found.weights[1]) == {"b"}


def test_toy_rows_tell_items_apart(engine: Engine) -> None:
    space = ToySpace("a")
    known = toy_registry(space, toy_recipe("toys", [space]))
    model = omnibind.load("toys", engine=engine, known=known)
    for modality in KINDS:
        rows = model.embed(samples.media(modality), modality).rows
        assert (rows @ rows.T - torch.eye(5)).max() < 0.9999


def test_toy_spaces_load_the_weights_they_wrote(tmp_path: Path) -> None:
    space = with_files(ToySpace("a"), tmp_path)
    known = toy_registry(space, toy_recipe("toys", [space]))
    engine = Engine(device="cpu", size="full", weights="official")
    assert omnibind.load("toys", engine=engine, known=known).embed(["a bell"]).rows.shape == (1, 8)
    engine.close()


def test_toy_spaces_may_share_a_network() -> None:
    a, b = (ToySpace(name, keys={"text": "shared"}) for name in "ab")
    assert len(toy_registry(a, b).encoders()) == 7


def test_a_routed_toy_recipe_reads_the_rows_of_all_its_spaces() -> None:
    recipe = toy_recipe("r", [ToySpace("a"), ToySpace("b", dim=4)], routed=["text"])
    assert recipe.router_inputs == {"text": ("a", "b")}


def test_a_toy_registry_refuses_what_a_real_one_refuses() -> None:
    with pytest.raises(PluginError, match="another card with this key"):
        toy_registry(ToySpace("a"), ToySpace("b", dim=4, keys={"text": "a-text"}))


def test_a_toy_of_another_modality_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="smell"):
        ToySpace("a", modalities=["smell"])
