"""Retrieval figures: equal to counting by hand, exact chance, ties that flatter nobody."""

from __future__ import annotations

import json
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch

from omnibind.errors import ShapeError
from omnibind.evaluation import any_to_any, relevance, retrieval
from omnibind.evaluation.ranking import rank


def _by_hand(scores, relevant, ks):
    """Means over every order of the candidates that the scores allow, one query."""
    n = len(scores)
    orders = [
        order
        for order in permutations(range(n))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    ]
    hits, first, precision = {k: [] for k in ks}, [], []
    for order in orders:
        ranks = [place + 1 for place, at in enumerate(order) if relevant[at]]
        for k in ks:
            hits[k].append(ranks[0] <= k)
        first.append(ranks[0])
        precision.append(np.mean([(i + 1) / r for i, r in enumerate(ranks)]))
    return {k: np.mean(v) for k, v in hits.items()}, np.mean(first), np.mean(precision)


@pytest.mark.parametrize("seed", range(12))
def test_ties_count_as_the_mean_over_every_order_they_allow(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 3, size=(5, 6)) / 2
    relevant = random.random((5, 6)) < 0.4
    relevant[:, 0] |= ~relevant.any(1)
    got = rank(torch.tensor(scores), torch.tensor(relevant), (1, 3, 5))
    for q in range(5):
        hits, first, precision = _by_hand(scores[q], relevant[q], (1, 3, 5))
        assert {k: float(h[q]) for k, h in got.hits.items()} == pytest.approx(hits)
        assert float(got.first[q]) == pytest.approx(first)
        assert float(got.average_precision[q]) == pytest.approx(precision)


def test_perfect_rows_are_found_first():
    rows = torch.eye(12)
    found = retrieval(rows, rows, torch.eye(12, dtype=torch.bool))
    assert found.recall[1].value == found.mean_average_precision.value == 1
    assert found.median_rank.value == 1
    assert found.recall[1].chance == pytest.approx(1 / 12)
    assert found.recall[5].chance == pytest.approx(5 / 12)


def test_rows_that_are_all_the_same_score_exactly_chance():
    relevant = torch.rand(30, 20, generator=torch.Generator().manual_seed(0)) < 0.2
    relevant[:, 3] |= ~relevant.any(1)
    found = retrieval(torch.ones(30, 8), torch.ones(20, 8), relevant)
    for figure in (*found.recall.values(), found.mean_average_precision):
        assert figure.value == pytest.approx(figure.chance)


def test_rows_that_differ_by_rounding_noise_are_ties():
    noise = 1e-8 * torch.randn(10, 4, generator=torch.Generator().manual_seed(1))
    found = retrieval(torch.ones(10, 4), torch.ones(10, 4) + noise, torch.eye(10).bool())
    assert found.recall[1].value == pytest.approx(0.1)


def test_chance_is_what_random_rows_score_on_average():
    relevant = relevance([0, 1, 2, 2], [0, 0, 1, 2, 2, 2, 3, 4, 5])
    rows = torch.eye(9)
    chance = retrieval(rows[:4], rows, relevant)
    scores = torch.rand(8000, 9, generator=torch.Generator().manual_seed(0))
    guessed = rank(scores, relevant.repeat(2000, 1), (1, 5))
    for k in (1, 5):
        assert float(guessed.hits[k].mean()) == pytest.approx(chance.recall[k].chance, abs=0.02)
    average = float(guessed.average_precision.mean())
    assert average == pytest.approx(chance.mean_average_precision.chance, abs=0.02)


def test_the_chance_of_the_median_rank_is_the_median_of_guessing():
    found = retrieval(torch.eye(100), torch.eye(100), torch.eye(100).bool(), resamples=1)
    assert found.median_rank.chance == 50
    several = torch.zeros(10, 100, dtype=torch.bool)
    several[:, :20] = True
    assert retrieval(torch.eye(100)[:10], torch.eye(100), several).median_rank.chance == 4


def test_items_that_share_any_label_are_relevant_to_each_other():
    got = relevance(["cat", ("dog", "animal")], [{"cat", "animal"}, "dog", "car"])
    assert got.tolist() == [[True, False, False], [True, True, False]]


def test_a_query_without_an_answer_is_left_out_and_counted():
    found = retrieval(torch.eye(3), torch.eye(3), relevance("abx", "abc"))
    assert (found.queries, found.candidates, found.unanswerable) == (2, 3, 1)


def test_an_excluded_candidate_is_neither_found_nor_in_the_way():
    rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    found = any_to_any({"image": rows}, {"image": "aabb"}, within=True)
    only = found.pairs["image", "image"]
    assert only.recall[1].value == 1
    assert only.recall[1].chance == pytest.approx(1 / 3)


def test_the_interval_holds_the_value_and_depends_on_the_seed_alone():
    random = torch.Generator().manual_seed(3)
    queries, candidates = torch.randn(2, 60, 8, generator=random)
    candidates = queries + candidates
    first, again, other = (
        retrieval(queries, candidates, torch.eye(60).bool(), seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    for figure in (*first.recall.values(), first.median_rank, first.mean_average_precision):
        assert figure.low <= figure.value <= figure.high
        assert figure.low < figure.high


def test_the_interval_of_a_recall_is_that_of_a_proportion():
    queries = torch.eye(200)
    right = torch.arange(200) % 2 == 0
    candidates = torch.where(right[:, None], queries, queries.roll(2, 0))
    recall = retrieval(queries, candidates, torch.eye(200).bool()).recall[1]
    spread = 1.96 * (0.25 / 200) ** 0.5
    assert (recall.low, recall.high) == pytest.approx((0.5 - spread, 0.5 + spread), abs=0.015)


def test_many_queries_are_ranked_in_blocks_with_the_same_figures(monkeypatch):
    queries, candidates = torch.randn(2, 40, 8, generator=torch.Generator().manual_seed(0))
    whole = retrieval(queries, candidates, torch.eye(40).bool())
    monkeypatch.setattr("omnibind.evaluation.measure.AT_ONCE", 70)
    assert retrieval(queries, candidates, torch.eye(40).bool()) == whole


def test_every_directed_pair_is_asked_and_written_as_json():
    rows = {name: torch.eye(4) for name in ("text", "image", "audio", "points")}
    table = any_to_any(rows, dict.fromkeys(rows, "abcd"), resamples=10)
    assert len(table) == 12
    first = json.loads(json.dumps(table.to_json()))[0]
    assert (first["from"], first["to"], first["R@1"]["value"]) == ("text", "image", 1.0)


def test_rows_and_labels_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="one label an item"):
        retrieval(torch.eye(3), torch.eye(3), torch.eye(4).bool())
    with pytest.raises(ShapeError, match="no query has a relevant candidate"):
        retrieval(torch.eye(2), torch.eye(2), relevance("ab", "cd"))
    with pytest.raises(ShapeError, match="NaN"):
        retrieval(torch.full((2, 2), torch.nan), torch.eye(2), relevance("ab", "ab"))
