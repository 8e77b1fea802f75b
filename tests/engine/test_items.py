"""Which modality an item is read as, and what is refused before it is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.engine import recognise
from omnibind.engine.items import short_name
from omnibind.errors import MediaError
from omnibind.plugins import load_registry

MODALITIES = load_registry().modalities


def _modality(source: object) -> str:
    return recognise(0, source, MODALITIES).modality.name


@pytest.mark.parametrize(
    ("source", "modality"),
    [
        ("a cat on a mat", "text"),
        ("a/b testing", "text"),
        ("What is a .wav file?", "text"),
        (Path("cat.jpg"), "image"),
        (Path("MEOW.WAV"), "audio"),
        (Path("cat.obj"), "points"),
        (Path("notes.txt"), "text"),
        (Image.new("RGB", (4, 4)), "image"),
        (np.zeros((4, 4, 3), np.uint8), "image"),
        ((np.zeros(800, np.float32), 8000), "audio"),
        (np.random.default_rng(0).normal(size=(100, 3)), "points"),
        ((np.zeros((10, 3), np.float32), np.ones((10, 3), np.float32)), "points"),
    ],
)
def test_an_item_is_read_as(source: object, modality: str) -> None:
    assert _modality(source) == modality


def test_a_string_that_names_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "cat.png").touch()
    item = recognise(3, str(tmp_path / "cat.png"), MODALITIES)
    assert (item.index, item.modality.name, item.source) == (3, "image", tmp_path / "cat.png")


def test_the_caller_has_the_last_word() -> None:
    assert recognise(0, "cat.png", MODALITIES, "text").modality.name == "text"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("https://example.org/cat.png", "a URL"),
        ("cat.png", "no such file"),
        ("./some/folder", "no such file"),
        (Path("no/such/folder"), "no such file"),
        (b"\x89PNG", "no modality claims it"),
        (object(), "no modality claims it"),
        (3, "no modality claims it"),
        (None, "no modality claims it"),
    ],
)
def test_what_cannot_be_recognised_is_refused_with_the_next_step(source, found: str) -> None:
    with pytest.raises(MediaError, match=found) as caught:
        recognise(0, source, MODALITIES)
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["", "file", "file.xyzzy"])
def test_folders_and_unknown_endings_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name:
        path.touch()
    with pytest.raises(MediaError, match=r"a directory|ending"):
        recognise(0, path, MODALITIES)


def test_a_very_long_text_is_a_text() -> None:
    assert _modality("word " * 10_000) == "text"
    assert _modality("x" * 5_000) == "text"


def test_items_have_short_names() -> None:
    assert short_name("word " * 100).endswith("…")
    assert short_name(b"abc") == "3 bytes"
    assert short_name(np.zeros((2, 3))) == "ndarray (2, 3)"
    assert short_name(object()) == "object"
