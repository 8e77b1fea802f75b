"""Encoders that carry the same sample on their cards preprocess alike."""

from __future__ import annotations

from collections import defaultdict

import pytest

from omnibind.plugins import registry
from omnibind.specs import EncoderSpec
from omnibind.weights.build import skeleton

TEXTS = (
    "a photo of a dog",
    "A  Café &amp; <b>tea</b>\n",
    "a &lt; b < c",
    "",
    "<|startoftext|> <end_of_text> <start_of_text>",
    "naïve 東京 🎹 " * 60,
)


def together() -> dict[str, list[EncoderSpec]]:
    """The installed text encoders that share a sample, by its name."""
    found: dict[str, dict[str, EncoderSpec]] = defaultdict(dict)
    for space in registry().spaces.values():
        card = space.encoders.get("text")
        if card and card.sample:
            found[card.sample][card.key] = card
    return {name: list(cards.values()) for name, cards in found.items() if len(cards) > 1}


@pytest.mark.parametrize("name", sorted(together()))
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts_of_one_sample_are_preprocessed_alike(name: str, text: str) -> None:
    first, *others = (skeleton(card, size="tiny").preprocess(text) for card in together()[name])
    for other in others:
        assert other.keys() == first.keys()
        assert all(other[part].equal(tensor) for part, tensor in first.items())
