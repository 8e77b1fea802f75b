"""`omnibind bench precision`: what narrower numbers cost, said only where it can be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omnibind.bench.precision import Likeness, encoders, measure
from omnibind.errors import SetupError, UnknownNameError

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


def test_where_all_rows_are_alike_nothing_can_be_told():
    assert ONE.verdict == "yes"
    assert replace(ONE, least=0.998).verdict == "no"
    assert replace(ONE, others=0.995).verdict == "cannot tell"
