"""Leakage: a benchmark's items and their near-duplicates stay out, and overlaps are seen later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from omnibind.errors import CheckpointError
from omnibind.seen import Seen, content_id, overlap, read_seen, write_seen
from omnibind.training import project, route
from omnibind.training.leakage import near_duplicates
from omnibind.training.neighbours import Side
from omnibind.training.tuples import RowsInMemory

SEEN = [content_id("text", f"text {n}") for n in range(50)]


def side(rows: torch.Tensor) -> Side:
    source = RowsInMemory({"text": {"toy": rows}})
    return Side(rows=source, space="toy", modality="text", items=torch.arange(len(rows)))


@pytest.fixture
def seen() -> Seen:
    digests = np.frombuffer(bytes.fromhex("".join(SEEN)), dtype="S16")
    return Seen.of({"text": digests})


def test_near_duplicates_are_those_within_the_cosine():
    pool = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.97, 0.2431]])
    found = near_duplicates(side(pool), side(torch.tensor([[1.0, 0.0]])), 0.95)
    assert found.tolist() == [True, False, True]


def test_without_a_benchmark_nothing_is_near():
    assert not near_duplicates(side(torch.randn(4, 2)), side(torch.empty(0, 2))).any()


def test_an_evaluation_sees_what_training_has_seen(seen, tmp_path):
    write_seen(seen, tmp_path / "seen.safetensors")
    again = read_seen(tmp_path / "seen.safetensors")
    asked = [content_id("text", "text 7 "), content_id("text", "never seen")]
    found = overlap(again, "text", asked)
    assert (found.positions, found.share) == ((0,), 0.5)
    assert overlap(again, "image", asked).positions == ()


def test_nothing_asked_overlaps_nothing(seen):
    assert overlap(seen, "text", []).share == 0


def test_a_file_that_is_damaged_is_said(tmp_path):
    (tmp_path / "seen.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="what training has seen"):
        read_seen(tmp_path / "seen.safetensors")


@pytest.mark.parametrize("aggregate", [0, 50])
def test_items_outside_the_tuples_are_never_trained_on(
    aggregate, world, tuples, recipe, heads, routers, tmp_path
):
    spoilt = {m: dict(world._pool(m, 300, f"pool:{m}")) for m in world.modalities}
    for spaces in spoilt.values():
        for rows in spaces.values():
            rows[280:] = rows[:5] = torch.nan
    kept = torch.stack([(one >= 5) & (one < 280) for one in tuples.items.values()]).all(0)
    given = {"recipe": recipe, "rows": RowsInMemory(spoilt), "tuples": tuples.only(kept)}
    project.run(tmp_path, settings=replace(heads, aggregate=aggregate), **given)
    route.run(tmp_path, settings=routers, **given)
    priors = route.bound(tmp_path, recipe).priors
    assert sum(priors["text"].values()) == pytest.approx(1)
