"""Draws: the right subset, the same every time, and refused where there is too little."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnibind.errors import TrainingError
from omnibind.training.draws import drawn, eligible, sample, subset
from omnibind.training.tuples import MISSING

POOLS = ("audio", "image", "points", "text")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("mix", POOLS),
        ("A", ("audio",)),
        ("AT", ("audio", "text")),
        ("V", ("image", "points")),
        ("TV", ("image", "points", "text")),
        ("P", ("points",)),
    ],
)
def test_points_join_mix_and_every_subset_with_pictures(head, expected):
    assert subset(head, POOLS) == expected


def test_points_can_be_kept_out_or_join_another_letter():
    assert subset("V", POOLS, points_with="") == ("image",)
    assert subset("A", POOLS, points_with="A") == ("audio", "points")


def test_a_letter_that_stands_for_nothing_is_refused():
    with pytest.raises(TrainingError, match="Q is none of mix"):
        subset("AQ", POOLS)


def test_only_tuples_of_the_query_that_have_the_needed_items_are_eligible(tuples):
    gone = tuples.items["audio"].clone()
    gone[::2] = MISSING
    holed = replace(tuples, items={**tuples.items, "audio": gone})
    found = eligible(holed, ["text"], ["audio", "image"], whom="a head")
    assert len(found) == 150
    assert tuples.seeded_by("text")[found].all()
    assert (holed.items["audio"][found] != MISSING).all()


def test_too_few_tuples_are_refused_with_their_number(tuples):
    gone = torch.full_like(tuples.items["audio"], MISSING)
    gone[:7] = 0
    holed = replace(tuples, items={**tuples.items, "audio": gone})
    with pytest.raises(TrainingError, match="7 of 900 seeded by text"):
        eligible(holed, ["text"], ["audio"], whom="a head")


def test_a_subset_without_any_pool_is_trained_on_everything_and_says_so(tuples):
    with pytest.warns(UserWarning, match="no pool for the queries of head 'P'"):
        assert len(eligible(tuples, (), ["text"], whom="head 'P'")) == len(tuples)


def test_a_draw_depends_on_seed_step_and_name_alone():
    among = torch.arange(100)
    first = drawn(among, 20, seed=1, step=5, name="mix")
    drawn(among, 3, seed=1, step=4, name="mix")
    assert torch.equal(first, drawn(among, 20, seed=1, step=5, name="mix"))
    for other in ({"seed": 2}, {"step": 6}, {"name": "A"}):
        again = drawn(among, 20, **{"seed": 1, "step": 5, "name": "mix", **other})
        assert not torch.equal(first, again)


def test_a_sample_has_each_item_at_most_once():
    assert len(sample(100, 30, seed=0, name="x").unique()) == 30
    assert torch.equal(sample(10, 30, seed=0, name="x"), torch.arange(10))
