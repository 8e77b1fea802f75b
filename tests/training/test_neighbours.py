"""Neighbours: exact by blocks, nearly exact through the inverted file, honest about margins."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor

from omnibind.errors import TrainingError
from omnibind.training import neighbours
from omnibind.training.neighbours import Side, nearest
from omnibind.training.tuples import RowsInMemory


def clustered(count: int, seed: int, *, dim: int = 32, centres: int = 40) -> Tensor:
    """Rows as encoders make them: around centres, not evenly on the sphere."""
    shared = torch.randn(centres, dim, generator=torch.Generator().manual_seed(7))
    random = torch.Generator().manual_seed(seed)
    which = torch.randint(centres, (count,), generator=random)
    return shared[which] + 0.7 * torch.randn(count, dim, generator=random)


def sides(queries: Tensor, targets: Tensor, among: Tensor | None = None) -> tuple[Side, Side]:
    rows = RowsInMemory({"text": {"toy": queries}, "image": {"toy": targets}})
    among = torch.arange(len(targets)) if among is None else among
    return (
        Side(rows=rows, space="toy", modality="text", items=torch.arange(len(queries))),
        Side(rows=rows, space="toy", modality="image", items=among),
    )


def test_blocks_give_what_one_product_gives(monkeypatch):
    monkeypatch.setattr(neighbours, "TILE", 16)
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 40 * 32 * 4)
    queries, targets = sides(clustered(100, 1), clustered(130, 2))
    found = nearest(queries, targets)
    best = (queries.take(0, 100) @ targets.take(0, 130).T).topk(2)
    assert torch.equal(found.item, best.indices[:, 0])
    assert torch.allclose(found.similarity, best.values[:, 0], atol=1e-6)
    assert torch.allclose(found.margin, best.values[:, 0] - best.values[:, 1], atol=1e-6)


def test_only_items_that_take_part_are_found():
    among = torch.tensor([3, 50, 70])
    found = nearest(*sides(clustered(20, 1), clustered(130, 2), among))
    assert set(found.item.tolist()) <= {3, 50, 70}


@pytest.mark.parametrize("codes", ["one byte a dimension", "products"])
def test_the_inverted_file_finds_at_least_95_of_100(monkeypatch, codes):
    if codes == "products":
        monkeypatch.setattr(neighbours, "CODE_BYTES", 0)
    queries, targets = sides(clustered(1000, 1), clustered(4000, 2))
    exact = nearest(queries, targets)
    found = nearest(queries, targets, exact_below=1000)
    same = found.item == exact.item
    assert same.float().mean() >= 0.95
    assert torch.allclose(found.similarity[same], exact.similarity[same], atol=1e-5)
    assert (found.similarity <= exact.similarity + 1e-5).all()


def test_a_pool_of_one_is_found_with_nothing_second():
    found = nearest(*sides(clustered(5, 1), clustered(1, 2)))
    assert found.item.tolist() == [0] * 5
    assert torch.allclose(found.margin, found.similarity + 1)


def test_equal_targets_leave_no_margin():
    found = nearest(*sides(clustered(5, 1), clustered(1, 2).repeat(6, 1)))
    assert torch.allclose(found.margin, torch.zeros(5), atol=1e-6)


def test_no_targets_are_said():
    with pytest.raises(TrainingError, match="no image item"):
        nearest(*sides(clustered(5, 1), clustered(5, 2), torch.tensor([], dtype=torch.int64)))


def test_without_faiss_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(TrainingError, match=r"pip install 'omnibind\[train\]'"):
        nearest(*sides(clustered(5, 1), clustered(5, 2)), exact_below=2)
