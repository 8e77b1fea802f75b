"""The nearest target of every query: exactly, or through an inverted file when there are many.

Neither holds a pool: rows are taken block by block, and the inverted file keeps codes of one byte a
dimension or less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from omnibind.errors import TrainingError
from omnibind.training.tuples import RowSource

__all__ = ["EXACT_BELOW", "Nearest", "Side", "nearest"]

EXACT_BELOW = 1_000_000
"""Targets from which on the search is approximate (ours)."""
BLOCK_BYTES = 128 * 1024**2
"""Rows held of the queries, and as many of the targets, where every cosine is computed (ours)."""
STREAM_ITEMS = 32_768
"""Rows held where an inverted file is filled or asked (ours)."""
TILE = 4096
"""Queries and targets of one product: 64 MiB of cosines (ours)."""
CANDIDATES = 16
"""Targets that the inverted file proposes, for exact cosines to choose from (ours)."""
PROBES = 32
"""Lists that are looked through, of about 4 sqrt(targets) (ours)."""
CODE_BYTES = 4 * 1024**3
"""What codes of one byte a dimension may take before products of 64 bytes are kept (ours)."""
SAMPLE_BYTES = 512 * 1024**2
"""What the rows that the lists are learned from may take (ours)."""
LEARNED_FROM = 40
"""Rows a list is learned from; faiss asks for 39."""
Advance = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a search.

    Attributes:
        rows: where they are taken from.
        space, modality: whose rows.
        items: which of the pool's items take part, ascending.
    """

    rows: RowSource
    space: str
    modality: str
    items: Int64[Tensor, " item"]

    def take(self, start: int, stop: int) -> Float[Tensor, "item dim"]:
        """Rows of some of the items that take part."""
        return self.rows.take(self.space, self.modality, self.items[start:stop])

    def chosen(self, places: Int64[Tensor, " item"]) -> Float[Tensor, "item dim"]:
        """Rows by place in `items`."""
        return self.rows.take(self.space, self.modality, self.items[places])

    def blocks(self, length: int) -> Iterator[tuple[int, Tensor]]:
        """All rows, some at a time, each block with its first place."""
        for start in range(0, len(self), length):
            yield start, self.take(start, start + length)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """What was found for each query.

    Attributes:
        item: the nearest target, as a number of its pool.
        similarity: cosine with it.
        margin: that minus the cosine of the second nearest; the similarity plus 1 where there is
            no second.
    """

    item: Int64[Tensor, " query"]
    similarity: Float[Tensor, " query"]
    margin: Float[Tensor, " query"]


def nearest(
    queries: Side,
    targets: Side,
    *,
    exact_below: int = EXACT_BELOW,
    device: torch.device | str = "cpu",
    advance: Advance | None = None,
) -> Nearest:
    """Finds the nearest target of each query by cosine; of equal ones, one of them.

    Args:
        queries, targets: rows of one space.
        exact_below: number of targets from which on the search is approximate.
        device: where exact products are computed.
        advance: called with a number of queries when so many more are done.

    Raises:
        TrainingError: there are no targets, or the library for the approximate search is missing.
    """
    if not len(targets):
        raise TrainingError(
            f"the nearest {targets.modality} of {len(queries)} {queries.modality} items",
            found=f"no {targets.modality} item with rows of {targets.space!r}",
            next_step="give a larger pool, or exclude less",
        )
    exact = len(targets) < exact_below
    find = _exactly(targets, device) if exact else _approximately(targets)
    places = torch.empty(len(queries), dtype=torch.int64)
    best = torch.empty(len(queries), 2)
    for start, rows in queries.blocks(_block(targets) if exact else STREAM_ITEMS):
        block = slice(start, start + len(rows))
        best[block], places[block] = find(rows)
        if advance:
            advance(len(rows))
    return Nearest(
        item=targets.items[places], similarity=best[:, 0], margin=best[:, 0] - best[:, 1]
    )


Find = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Query rows -> cosines of the best two `[query, 2]`, place of the best `[query]`."""


def _exactly(targets: Side, device: torch.device | str) -> Find:
    """Every query with every target, two blocks at a time."""

    def find(queries: Tensor) -> tuple[Tensor, Tensor]:
        asked = queries.to(device)
        best = torch.full((len(queries), 2), -1.0, device=device)
        place = torch.zeros(len(queries), dtype=torch.int64, device=device)
        for first, block in targets.blocks(_block(targets)):
            for start in range(0, len(block), TILE):
                tile = block[start : start + TILE].to(device)
                for at in range(0, len(asked), TILE):
                    _improve(
                        best[at : at + TILE],
                        place[at : at + TILE],
                        asked[at : at + TILE] @ tile.T,
                        first + start,
                    )
        return best.cpu(), place.cpu()

    return find


def _improve(best: Tensor, place: Tensor, cosines: Tensor, first: int) -> None:
    """Merges the cosines of a tile into the best two so far, in place."""
    found, at = cosines.topk(min(2, cosines.shape[1]), dim=1)
    every = torch.cat([best, found], dim=1)
    better = found[:, 0] > best[:, 0]
    place.copy_(torch.where(better, at[:, 0] + first, place))
    best.copy_(every.topk(2, dim=1).values)


def _approximately(targets: Side) -> Find:
    """An inverted file proposes, exact cosines choose."""
    index = _inverted_file(targets)

    def find(queries: Tensor) -> tuple[Tensor, Tensor]:
        best, place = [torch.empty(0, 2)], [torch.empty(0, dtype=torch.int64)]
        for rows in queries.split(TILE):
            _, found = index.search(rows.numpy(), CANDIDATES)
            chosen, at = _choose(rows, torch.from_numpy(found), targets)
            best.append(chosen)
            place.append(at)
        return torch.cat(best), torch.cat(place)

    return find


def _choose(rows: Tensor, proposed: Tensor, targets: Side) -> tuple[Tensor, Tensor]:
    """The best two of the proposed targets `[query, candidate]` by exact cosine; -1 is none."""
    unique, where = proposed.clamp(min=0).unique(return_inverse=True)
    taken = targets.chosen(unique)
    cosines = torch.full(proposed.shape, -1.0)
    for at in range(proposed.shape[1]):  # one candidate at a time: the rows of all are many
        cosines[:, at] = (rows * taken[where[:, at]]).sum(1)
    cosines.masked_fill_(proposed < 0, -1.0)
    best, order = cosines.topk(min(2, cosines.shape[1]), dim=1)
    return best, proposed.clamp(min=0).gather(1, order[:, :1]).squeeze(1)


def _inverted_file(targets: Side) -> Any:
    faiss = _faiss()
    dim = targets.take(0, 1).shape[1]
    most = min(len(targets), SAMPLE_BYTES // (4 * dim)) // LEARNED_FROM
    lists = max(1, min(int(4 * len(targets) ** 0.5), most))
    parts = max(m for m in range(1, min(64, max(1, dim // 2)) + 1) if dim % m == 0)
    codes = "SQ8" if len(targets) * dim <= CODE_BYTES else f"PQ{parts}np"
    index = faiss.index_factory(dim, f"IVF{lists},{codes}", faiss.METRIC_INNER_PRODUCT)
    random = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(targets), generator=random)[: lists * LEARNED_FROM].sort().values
    index.train(targets.chosen(drawn).numpy())
    for _, rows in targets.blocks(STREAM_ITEMS):
        index.add(rows.numpy())
    index.nprobe = min(PROBES, lists)
    return index


def _faiss() -> Any:
    try:
        return import_module("faiss")
    except ImportError as error:
        raise TrainingError(
            f"the approximate search, which is used from {EXACT_BELOW:,} items on",
            found=f"{type(error).__name__}: {error}",
            next_step="pip install 'omnibind[train]', or raise --exact-below",
        ) from error


def _block(side: Side) -> int:
    return max(TILE, BLOCK_BYTES // (4 * side.take(0, 1).shape[1]))
