"""Overlap: items that training has seen are found by content, named, and said in every report."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from omnibind.evaluation import LabelledItem, seen_items, seen_of
from omnibind.seen import Seen, content_id, write_seen
from omnibind.testing import toy_registry


@pytest.fixture
def items(tmp_path):
    Image.new("RGB", (8, 8), (220, 20, 20)).save(tmp_path / "a.png")
    listed = [LabelledItem(item=text, labels=("x",), modality="text") for text in ("red", "blue")]
    pictures = (tmp_path / "a.png", tmp_path / "gone.png", Image.new("RGB", (8, 8)))
    return [*listed, *(LabelledItem(item=one, labels=("x",)) for one in pictures)]


def of(**given):
    ids = {m: bytes.fromhex(content_id(m, one)) for m, one in given.items()}
    return Seen.of({m: np.frombuffer(one, dtype="S16") for m, one in ids.items()})


def test_what_was_seen_is_named_by_modality(items):
    seen = of(text=" blue ", image=items[2].item)
    found = seen_items(items, toy_registry(), seen).to_json()
    assert found["modalities"]["text"] == {"items": 2, "seen": 1, "unknown": 0}
    assert found["modalities"]["image"] == {"items": 2, "seen": 1, "unknown": 1}
    assert found["names"] == {"text": ["blue"], "image": [str(items[2].item)]}


def test_a_sentence_says_how_much(items):
    found = seen_items(items, toy_registry(), of(text="blue"))
    assert found.said().startswith("training has seen 1 of 2 text items (blue)")
    none = seen_items(items, toy_registry(), of(text="green"))
    assert (none.count, "none of the items" in none.said()) == (0, True)
    assert "1 in memory were not compared" in none.said()


def test_a_model_that_does_not_say_what_it_saw_leaves_it_unknown(items, tmp_path):
    found = seen_items(items, toy_registry(), seen_of("starter"))
    assert (found.to_json(), "unknown" in found.said()) == ({"known": False}, True)
    write_seen(of(text="red"), tmp_path / "seen.safetensors")
    assert seen_items(items, toy_registry(), seen_of(tmp_path)).count == 1
