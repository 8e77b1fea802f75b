"""Losses: equal to their formulas, blind to repeats, and pulling where they should."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from omnibind.training.losses import info_nce, repeats, spread, steer


def _unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_info_nce_is_the_mean_of_two_cross_entropies():
    a, b = _unit(3, 8, 5), _unit(3, 8, 5, seed=1)
    own = torch.arange(8)
    for found, left, right in zip(info_nce(a, b, scale=7.0), a, b, strict=True):
        logits = 7 * left @ right.T
        both = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        assert float(found) == pytest.approx(float(both / 2), rel=1e-6)


def test_a_repeated_item_is_no_negative_of_itself():
    a, b = _unit(4, 5), _unit(4, 5, seed=1)
    a, b = a[[0, 1, 2, 3, 3]], b[[0, 1, 2, 3, 3]]
    masked = info_nce(a, b, repeats(torch.tensor([0, 1, 2, 3, 3])), scale=5.0)
    alone = F.cross_entropy(5 * a[4:] @ b[:4].T, torch.tensor([3]))
    back = F.cross_entropy(5 * b[4:] @ a[:4].T, torch.tensor([3]))
    first = 4 * info_nce(a[:4], b[:4], scale=5.0)
    expected = [first + (alone + back) / 2]
    for place in range(3):  # the repeat stays a negative of the others
        for x, y in ((a, b), (b, a)):
            row = 5 * x[place] @ y.T
            expected.append((row.logsumexp(0) - row[:4].logsumexp(0)) / 2)
    assert float(masked) == pytest.approx(float(sum(expected)) / 5, rel=1e-5)


def test_repeats_are_places_that_share_an_item_in_either_modality():
    found = repeats(torch.tensor([1, 1, 2]), torch.tensor([5, 6, 6]))
    assert found.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_steering_is_nothing_where_every_slot_knows_and_grows_with_the_weight_elsewhere():
    weights = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert float(steer(weights, torch.ones(2, 2, dtype=torch.bool))) == pytest.approx(0)
    knows = torch.tensor([[True, False], [True, False]])
    expected = -(torch.tensor([0.9, 0.2]).log().mean())
    assert float(steer(weights, knows)) == pytest.approx(float(expected), rel=1e-6)


def test_spread_is_lowest_for_rows_far_apart_and_ignores_the_same_item():
    near, far = _unit(1, 4).expand(6, 4), F.normalize(torch.eye(6) - 1 / 6, dim=-1)
    none = repeats(torch.arange(6))
    assert float(spread(near, none)) == pytest.approx(0, abs=1e-6)
    assert float(spread(far, none)) == pytest.approx(-2 * 2 * 1.2, rel=1e-4)
    pair = repeats(torch.tensor([0, 0, 1, 2, 3, 4]))
    rows = torch.cat([far[:1], far[:1], far[1:5]])
    assert float(spread(rows, pair)) == pytest.approx(-4.8, rel=1e-4)
