"""How far pseudo pairs can be trusted: reciprocity, similarities, targets, a second opinion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from omnibind.errors import PoolError
from omnibind.training.neighbours import Nearest

__all__ = ["MIN_PAIRS", "LinkNoise", "distinct_pairs", "link_noise", "refuse_too_few"]

MIN_PAIRS = 64
"""Fewest distinct pairs to learn from (ours): one small batch of a contrastive loss without an item
that is its own negative."""
BINS = 20
"""Bins of the similarity histogram, from -1 to 1."""
Found = Mapping[tuple[str, str], Nearest]
"""(query, target) -> what was found, in the order of the query's items."""


@dataclass(frozen=True, kw_only=True)
class LinkNoise:
    """One direction of a link.

    Attributes:
        query, target: modalities.
        by: the linking space, or the way that leads over other modalities.
        queries: how many were asked.
        distinct_targets: how many different targets were found.
        reciprocal: share of queries that are the nearest of their target in turn.
        similarity: mean cosine; of a chain, mean product of cosines.
        histogram: queries by similarity, 20 bins from -1 to 1.
        margin: median of best minus second best.
        agreement: further space -> share of queries for which it finds the same target, and how
            many were asked.
    """

    query: str
    target: str
    by: tuple[str, ...]
    queries: int
    distinct_targets: int
    reciprocal: float
    similarity: float
    histogram: tuple[int, ...]
    margin: float
    agreement: Mapping[str, Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        return {**vars(self), "by": list(self.by), "histogram": list(self.histogram)}


def link_noise(
    query: str,
    target: str,
    by: Sequence[str],
    found: Found,
    items: Mapping[str, Int64[Tensor, " item"]],
    agreement: Mapping[str, Mapping[str, float]],
) -> LinkNoise:
    """Measures one direction.

    Args:
        query, target: modalities.
        by: the linking space, or the way.
        found: both directions are in it.
        items: modality -> the items that took part, ascending.
        agreement: see `LinkNoise`.
    """
    one = found[query, target]
    back = found[target, query]
    answer = back.item[torch.searchsorted(items[target], one.item)]
    counts = torch.histc(one.similarity.clamp(-1, 1), BINS, -1, 1)
    return LinkNoise(
        query=query,
        target=target,
        by=tuple(by),
        queries=len(one.item),
        distinct_targets=len(one.item.unique()),
        reciprocal=round(float((answer == items[query]).float().mean()), 4),
        similarity=round(float(one.similarity.mean()), 4),
        histogram=tuple(int(count) for count in counts),
        margin=round(float(one.margin.median()), 4),
        agreement=agreement,
    )


def distinct_pairs(
    query: str, target: str, found: Found, items: Mapping[str, Int64[Tensor, " item"]]
) -> int:
    """Pairs of two modalities, from both directions, that differ from each other on both sides.

    A quick bound from above, by König's theorem: every pair has a target that was found, so there
    are no more of them than different targets in both directions, nor than items on either side.
    """
    targets = sum(len(found[pair].item.unique()) for pair in ((query, target), (target, query)))
    return min(targets, len(items[query]), len(items[target]))


def refuse_too_few(
    found: Found, items: Mapping[str, Int64[Tensor, " item"]], least: int = MIN_PAIRS
) -> dict[str, int]:
    """Counts the distinct pairs of every two modalities.

    Raises:
        PoolError: two modalities have fewer than `least`: nothing good can be learned from them.
    """
    counts = {f"{a}-{b}": distinct_pairs(a, b, found, items) for a, b in sorted(found) if a < b}
    few = {pair: count for pair, count in counts.items() if count < least}
    if few:
        raise PoolError(
            f"at least {least} distinct pairs of every two modalities",
            found=[f"{pair}: {count}" for pair, count in few.items()],
            next_step="give larger or more varied pools, exclude less, or, knowing that nothing "
            "general can be learned, lower --min-pairs",
        )
    return counts
