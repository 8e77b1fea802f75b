"""Retrieval from one set of rows to another: R@k, median rank, mAP, with chance and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from omnibind.errors import ShapeError
from omnibind.evaluation.bootstrap import Figure, figure, mean, median
from omnibind.evaluation.ranking import Rankings, rank

__all__ = ["Retrieval", "retrieval"]

AT_ONCE = 2**22
"""Scores held at once: 32 MB each of the dozen tables that ranking needs."""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What queries of one kind found among candidates of another.

    Attributes:
        queries: how many were asked: those with at least one relevant candidate.
        candidates: how many were there to be found.
        unanswerable: queries without any relevant candidate; they are left out.
        recall: by k: the share of queries with a relevant candidate among the first k.
        median_rank: of the first relevant candidate, from 1.
        mean_average_precision: mean over queries of their average precision.
        values: by metric (`R@1`, ..., `mAP`), one number for each query that was asked.
        resamples, seed: of the bootstrap.
    """

    queries: int
    candidates: int
    unanswerable: int
    recall: Mapping[int, Figure]
    median_rank: Figure
    mean_average_precision: Figure
    values: Mapping[str, NDArray[np.float64]] = field(repr=False, compare=False)
    resamples: int
    seed: int

    @property
    def figures(self) -> dict[str, Figure]:
        """By metric, those that are means over `values`."""
        recalls = {f"R@{k}": one for k, one in self.recall.items()}
        return {**recalls, "mAP": self.mean_average_precision}

    def minus(self, other: Retrieval, metric: str) -> Figure:
        """How much better this is than another model on the same queries, by paired bootstrap.

        Raises:
            ShapeError: the other was asked other queries.
        """
        mine, theirs = self.values[metric], other.values[metric]
        if mine.shape != theirs.shape:
            raise ShapeError(
                "the difference of two models on the same queries",
                found=f"{len(mine)} and {len(theirs)} queries",
                next_step="measure both on the same items with the same labels",
            )
        return figure(mine - theirs, mean, chance=0.0, resamples=self.resamples, seed=self.seed)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON; recalls are named `R@1`, ..."""
        return {
            "queries": self.queries,
            "candidates": self.candidates,
            "unanswerable": self.unanswerable,
            **{f"R@{k}": one.to_json() for k, one in self.recall.items()},
            "median_rank": self.median_rank.to_json(),
            "mAP": self.mean_average_precision.to_json(),
        }


def retrieval(
    queries: Tensor,
    candidates: Tensor,
    relevant: Tensor,
    *,
    excluded: Tensor | None = None,
    ks: Sequence[int] = (1, 5, 10),
    resamples: int = 2000,
    seed: int = 0,
) -> Retrieval:
    """Ranks candidates by cosine for each query, and counts.

    Chance is exact for this very pattern of relevance: the expectation (of the median rank: the
    median) over all orders of the candidates, each as likely as the others.

    Args:
        queries: `[query, dim]`, of any norm.
        candidates: `[candidate, dim]`, of any norm.
        relevant: bool `[query, candidate]`: what answers what; see `relevance` for labels.
        excluded: bool, likewise: what a query must not be offered, such as itself.
        ks: cut-offs of the recall.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ShapeError: the shapes do not fit, rows are not finite, or no query has a relevant
            candidate.
    """
    _check(queries, candidates, relevant)
    if excluded is None:
        excluded = torch.zeros_like(relevant)
    relevant = relevant & ~excluded
    kept = relevant.any(1)
    if not kept.any():
        raise ShapeError(
            f"retrieval of {len(candidates)} candidates by {len(queries)} queries",
            found="no query has a relevant candidate",
            next_step="check the labels of both sides",
        )
    relevant, excluded = relevant[kept], excluded[kept]
    found = _ranked(_unit(queries[kept]), _unit(candidates), relevant, excluded, ks)
    offered, good = (~excluded).sum(1), relevant.sum(1)
    guessed = rank(torch.where(excluded, -torch.inf, 0.0), relevant, ks)
    of = partial(figure, resamples=resamples, seed=seed)
    return Retrieval(
        queries=len(relevant),
        candidates=len(candidates),
        unanswerable=int((~kept).sum()),
        recall={
            k: of(hits.numpy(), mean, chance=float(guessed.hits[k].mean()))
            for k, hits in found.hits.items()
        },
        median_rank=of(found.first.numpy(), median, chance=_chance_of_median(offered, good)),
        mean_average_precision=of(
            found.average_precision.numpy(), mean, chance=float(guessed.average_precision.mean())
        ),
        values={f"R@{k}": hits.numpy() for k, hits in found.hits.items()}
        | {"mAP": found.average_precision.numpy()},
        resamples=resamples,
        seed=seed,
    )


def _check(queries: Tensor, candidates: Tensor, relevant: Tensor) -> None:
    if relevant.shape != (len(queries), len(candidates)) or queries.shape[1] != candidates.shape[1]:
        raise ShapeError(
            "rows of one width, and their relevance [query, candidate]",
            found=f"{list(queries.shape)}, {list(candidates.shape)}, {list(relevant.shape)}",
            next_step="embed both sides with one model, and give one label an item",
        )
    if not (queries.isfinite().all() and candidates.isfinite().all()):
        raise ShapeError(
            "rows to rank by cosine",
            found="NaN or infinite numbers in them",
            next_step="find the encoder that wrote them",
        )


def _unit(rows: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
    return F.normalize(rows.detach().float(), dim=-1).cpu()


def _ranked(
    queries: Float[Tensor, "query dim"],
    candidates: Float[Tensor, "candidate dim"],
    relevant: Bool[Tensor, "query candidate"],
    excluded: Bool[Tensor, "query candidate"],
    ks: Sequence[int],
) -> Rankings:
    """Ranks a block of queries at a time, so that memory does not grow with their number."""
    block = max(1, AT_ONCE // len(candidates))
    parts: list[Rankings] = []
    for start in range(0, len(queries), block):
        at = slice(start, start + block)
        scores = (queries[at] @ candidates.T).masked_fill(excluded[at], -torch.inf)
        parts.append(rank(scores, relevant[at], ks))
    return Rankings(
        hits={k: torch.cat([part.hits[k] for part in parts]) for k in ks},
        first=torch.cat([part.first for part in parts]),
        average_precision=torch.cat([part.average_precision for part in parts]),
    )


def _chance_of_median(offered: Tensor, good: Tensor) -> float:
    r"""The smallest rank by which half of the queries have found something by guessing.

    $$ P(\mathrm{first} > k) = \prod_{j=0}^{k-1} \frac{n-r-j}{n-j} $$
    """
    pairs, counts = torch.stack([offered, good], 1).unique(dim=0, return_counts=True)
    n, r = pairs.double().T[:, :, None]
    step = torch.arange(int(n.max()), dtype=torch.float64)
    missed = ((n - r - step).clamp(min=0) / (n - step).clamp(min=1)).cumprod(1)
    still_missing = (missed * counts[:, None]).sum(0) / counts.sum()
    return float((still_missing > 0.5).sum() + 1)
