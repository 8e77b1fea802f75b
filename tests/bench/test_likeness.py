"""`omnibind bench precision`: what narrower numbers cost, said only where it can be told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch.nn import functional

from omnibind.bench.precision import Likeness, encoders, measure
from omnibind.errors import SetupError, UnknownNameError
from omnibind.testing.length import length_card

ONE = Likeness(
    encoder="one",
    numbers="bfloat16",
    against="float32",
    items=2,
    least=0.9995,
    median=0.9999,
    others=0.3,
    seconds=1.0,
    ratio=1.0,
    bytes=0.5,
    on_card="float32",
)


@pytest.mark.usefixtures("float8_products")
def test_each_kind_of_number_is_compared_with_the_next_wider_one(media, known):
    (card,) = [card for card in encoders(known) if card.modality == "text"][:1]
    half, eighth = measure(card, media, known, size="tiny", weights="random")
    assert (half.numbers, half.against) == ("bfloat16", "float32")
    assert (eighth.numbers, eighth.against) == ("float8", "bfloat16")
    assert 0.999 < half.least <= half.median <= 1.0 + 1e-9
    assert half.others < half.least
    assert half.bytes < 0.6


def test_encoders_are_named_by_recipe_space_or_key_and_come_once(known):
    every = {card.key for card in encoders(known)}
    assert {card.key for card in encoders(known, ["toys", *every])} == every
    with pytest.raises(UnknownNameError, match="recipe, space or encoder"):
        encoders(known, ["nowhere"])


def test_without_media_nothing_is_measured(known):
    with pytest.raises(SetupError, match="no media of"):
        list(measure(encoders(known)[0], {}, known))


def test_where_float8_is_refused_bfloat16_is_told(media, known, monkeypatch):
    monkeypatch.delattr(functional, "scaled_mm")  # as in an older torch
    card = next(card for card in encoders(known) if card.modality == "text")
    found: list[Likeness] = []
    with pytest.raises(SetupError, match="float8"):
        found.extend(measure(card, media, known, size="tiny", weights="random"))
    assert [one.numbers for one in found] == ["bfloat16"]


def test_a_cosine_does_not_depend_on_how_long_rows_are(known):
    found = measure(
        length_card(), {"text": ["one", "three", "seven"]}, known, numbers=["bfloat16"], size="tiny"
    )
    assert next(found).others == pytest.approx(1.0)


def test_where_all_rows_are_alike_nothing_can_be_told():
    assert ONE.verdict == "yes"
    assert replace(ONE, least=0.998).verdict == "no"
    assert replace(ONE, others=0.995).verdict == "cannot tell"
