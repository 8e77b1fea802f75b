"""Pseudo tuples: the right items, their similarities, and an honest report of their noise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnibind.errors import PoolError
from omnibind.testing import ToySpace, toy_recipe
from omnibind.training.links import plan_links
from omnibind.training.noise import refuse_too_few
from omnibind.training.pairs import Pairing, make_tuples
from omnibind.training.tuples import RowsInMemory, read_tuples, write_tuples

COUNT, DIM = 120, 16
CLIP = ToySpace("clip", dim=DIM, modalities=["image", "text"])
CLAP = ToySpace("clap", dim=DIM, modalities=["audio", "text"])
CLAP2 = ToySpace("clap-2", dim=DIM, modalities=["audio", "text"])
MODALITIES = ("audio", "image", "text")


def near(rows: Tensor, seed: int, noise: float = 0.05) -> Tensor:
    return rows + noise * torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def rows() -> RowsInMemory:
    """Item n of each pool says the same, except that sounds come in the opposite order."""
    says = torch.randn(COUNT, DIM, generator=torch.Generator().manual_seed(0))
    noisy = near(says.flip(0), 5, 1.5)
    return RowsInMemory(
        {
            "audio": {"clap": near(says.flip(0), 1), "clap-2": noisy},
            "image": {"clip": near(says, 2)},
            "text": {"clip": says, "clap": near(says, 3), "clap-2": says},
        }
    )


def pairing(rows: RowsInMemory, *, kept_in: Path | None = None, **items: Tensor) -> Pairing:
    spaces = [CLIP, CLAP, CLAP2]
    links = plan_links(toy_recipe("toys", spaces), {s.name: s for s in spaces}, MODALITIES)
    every = {m: torch.arange(rows.count(m)) for m in MODALITIES}
    return Pairing(rows=rows, links=links, items={**every, **items}, kept_in=kept_in)


def test_every_item_of_every_modality_seeds_a_tuple_of_what_is_nearest(rows):
    asked = pairing(rows)
    tuples = make_tuples(asked.find(), asked.items)
    number = torch.arange(COUNT)
    assert len(tuples) == 3 * COUNT
    for modality in ("image", "text"):
        seeded = tuples.seeded_by(modality)
        assert torch.equal(tuples.items["image"][seeded], number)
        assert torch.equal(tuples.items["text"][seeded], number)
        assert torch.equal(tuples.items["audio"][seeded], number.flip(0))


def test_the_query_itself_has_similarity_and_margin_one(rows):
    asked = pairing(rows)
    tuples = make_tuples(asked.find(), asked.items)
    seeded = tuples.seeded_by("text")
    assert (tuples.similarity["text"][seeded] == 1).all()
    assert (tuples.margin["text"][seeded] == 1).all()
    assert (tuples.similarity["image"][seeded] < 1).all()


def test_a_chain_multiplies_similarities_and_keeps_the_smallest_margin(rows):
    found = pairing(rows).find()
    audio, text = found["audio", "text"], found["text", "image"]
    chained = found["audio", "image"]
    assert torch.equal(chained.item, text.item[audio.item])
    assert torch.allclose(chained.similarity, audio.similarity * text.similarity[audio.item])
    assert torch.equal(chained.margin, torch.minimum(audio.margin, text.margin[audio.item]))


def test_items_that_do_not_take_part_are_in_no_tuple(rows):
    asked = pairing(rows, text=torch.arange(10, COUNT), audio=torch.arange(0, COUNT, 2))
    tuples = make_tuples(asked.find(), asked.items)
    assert tuples.items["text"].min() == 10
    assert (tuples.items["audio"] % 2 == 0).all()
    assert len(tuples) == COUNT + (COUNT - 10) + COUNT // 2


def test_tuples_are_read_back_from_parquet(rows, tmp_path):
    asked = pairing(rows)
    tuples = make_tuples(asked.find(), asked.items)
    write_tuples(tuples, tmp_path / "tuples.parquet")
    again = read_tuples(tmp_path / "tuples.parquet")
    assert torch.equal(again.items["audio"], tuples.items["audio"])
    assert torch.equal(again.query, tuples.query)


def test_the_report_knows_how_far_pairs_can_be_trusted(rows):
    asked = pairing(rows)
    report = {(one["query"], one["target"]): one for one in asked.report(asked.find())}
    clean = report["image", "text"]
    assert clean["by"] == ["clip"]
    assert clean["reciprocal"] == 1.0
    assert clean["distinct_targets"] == COUNT
    assert sum(clean["histogram"]) == COUNT
    assert sum(clean["histogram"][18:]) == COUNT  # all cosines are above 0.8
    assert report["audio", "image"]["by"] == ["audio", "text", "image"]


def test_a_second_space_that_disagrees_shows_in_the_report(rows):
    asked = pairing(rows)
    report = {(one["query"], one["target"]): one for one in asked.report(asked.find())}
    second = report["audio", "text"]["agreement"]["clap-2"]
    assert second["queries"] == COUNT
    assert second["same"] < 0.9
    assert report["image", "text"]["agreement"] == {}


def test_pairs_that_were_found_before_are_not_looked_for_again(rows, tmp_path):
    first = pairing(rows, kept_in=tmp_path).find()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(kept) == 4  # two links, both ways; chains are composed
    again = pairing(rows, kept_in=tmp_path).find()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept
    assert torch.equal(again["audio", "image"].item, first["audio", "image"].item)


def test_other_items_are_looked_for_anew(rows, tmp_path):
    pairing(rows, kept_in=tmp_path).find()
    found = pairing(rows, kept_in=tmp_path, text=torch.arange(5, COUNT)).find()
    assert found["image", "text"].item.min() == 5


@pytest.mark.parametrize(
    ("left", "pairs"),
    [(torch.arange(COUNT), COUNT), (torch.arange(1), 1), (torch.arange(40), 40)],
)
def test_pairs_are_distinct_when_both_sides_differ(rows, left, pairs):
    asked = pairing(rows, image=left)
    assert refuse_too_few(asked.find(), asked.items, 1)["image-text"] == pairs


def test_a_pool_that_says_one_thing_gives_hardly_a_pair(rows):
    same = rows.take("clip", "image", torch.zeros(COUNT, dtype=torch.int64))
    own = {m: {s: rows.take(s, m, torch.arange(COUNT)) for s in rows.spaces(m)} for m in MODALITIES}
    asked = pairing(RowsInMemory({**own, "image": {"clip": same}}))
    assert refuse_too_few(asked.find(), asked.items, 1)["image-text"] == 2


def test_too_few_distinct_pairs_are_refused_with_their_number(rows):
    asked = pairing(rows, image=torch.arange(40))
    with pytest.raises(PoolError, match="image-text: 40"):
        refuse_too_few(asked.find(), asked.items)
