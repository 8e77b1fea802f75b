r"""One ranking a query: where the relevant candidates stand, ties broken at random on average.

Candidates with equal scores have no order. Every number here is its expectation over all orders of
the tied ones, each as likely as the others, in closed form. So a tie neither flatters nor punishes:
rows that are all the same score exactly what guessing does, and that is how chance is computed.
Scores count as equal when they agree at six decimals: the order of float32 cosines below that is
decided by how the items happened to be batched.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Labels", "Rankings", "rank", "relevance", "several"]

Labels = Sequence[Hashable | Collection[Hashable]]
DECIMALS = 6


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """Numbers of each query, in float64.

    Attributes:
        hits: by k, the chance that a relevant candidate is among the first k.
        first: rank of the first relevant candidate, from 1.
        average_precision: mean, over the relevant candidates, of the precision at their ranks.
    """

    hits: dict[int, Float[Tensor, " query"]]
    first: Float[Tensor, " query"]
    average_precision: Float[Tensor, " query"]


def relevance(queries: Labels, candidates: Labels) -> Bool[Tensor, "query candidate"]:
    """Which candidate answers which query: those that share a label with it.

    Args:
        queries: a label each, or a set, tuple or list of labels each.
        candidates: likewise.
    """
    answering = _holders(candidates)
    shared = torch.zeros(len(queries), len(candidates), dtype=torch.bool)
    for label, asking in _holders(queries).items():
        if label in answering:
            shared[torch.tensor(asking)[:, None], torch.tensor(answering[label])] = True
    return shared


def rank(
    scores: Float[Tensor, "query candidate"],
    relevant: Bool[Tensor, "query candidate"],
    ks: Sequence[int],
) -> Rankings:
    r"""Ranks the candidates of each query; each query has at least one relevant candidate.

    With $g$ candidates above the best relevant one and $t$ level with it, $r$ of them relevant:

    $$ \mathrm{hit@}k = 1 - \prod_{j=0}^{\min(k-g,\,t)-1} \frac{\max(t-r-j, 0)}{t-j}, \qquad
       \mathrm{first} = g + \frac{t+1}{r+1} $$

    With $R$ relevant in all, and for each place $i$ its tie group ($g$ before it, $t$ in it, $r$
    relevant in it, $b$ relevant before it):

    $$ \mathrm{AP} = \frac1R \sum_i \frac{r}{t} \cdot
       \frac{1}{i}\Bigl(b + 1 + (i-g-1)\frac{r-1}{t-1}\Bigr) $$

    Excluded candidates carry the score `-inf` and are not relevant: they stand last, which
    changes nothing for the ranks before them.

    Source:
        McSherry and Najork 2008, "Computing information retrieval performance measures
        efficiently in the presence of tied scores", ECIR.
    """
    ties = _Ties.of(scores, relevant)
    best = (ties.relevant > 0).to(torch.uint8).argmax(1, keepdim=True)
    above, level, good = (
        values.gather(1, best)[:, 0] for values in (ties.above, ties.size, ties.relevant)
    )
    return Rankings(
        hits={k: 1 - _all_miss(level, good, (k - above).clamp(min=0), k) for k in ks},
        first=above + (level + 1) / (good + 1),
        average_precision=_average_precision(ties),
    )


@dataclass(frozen=True, kw_only=True)
class _Ties:
    """For each place in the sorted list: the facts of the group of ties it belongs to."""

    above: Float[Tensor, "query place"]
    size: Float[Tensor, "query place"]
    relevant: Float[Tensor, "query place"]
    relevant_above: Float[Tensor, "query place"]

    @classmethod
    def of(
        cls, scores: Float[Tensor, "query candidate"], relevant: Bool[Tensor, "query candidate"]
    ) -> _Ties:
        ordered, order = scores.double().round(decimals=DECIMALS).sort(dim=1, descending=True)
        good = relevant.gather(1, order).double()
        starts = torch.ones_like(ordered, dtype=torch.bool)
        starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        group = starts.long().cumsum(1) - 1
        size = torch.zeros_like(good).scatter_add_(1, group, torch.ones_like(good))
        inside = torch.zeros_like(good).scatter_add_(1, group, good)
        return cls(
            above=(size.cumsum(1) - size).gather(1, group),
            size=size.gather(1, group),
            relevant=inside.gather(1, group),
            relevant_above=(inside.cumsum(1) - inside).gather(1, group),
        )


def _all_miss(
    level: Float[Tensor, " query"],
    good: Float[Tensor, " query"],
    drawn: Float[Tensor, " query"],
    most: int,
) -> Float[Tensor, " query"]:
    """The chance that `drawn` of `level` candidates, `good` of them relevant, are all not."""
    missed = torch.ones_like(level)
    for taken in range(most):
        step = (level - good - taken).clamp(min=0) / (level - taken).clamp(min=1)
        missed = torch.where((drawn > taken) & (level > taken), missed * step, missed)
    return missed


def _average_precision(ties: _Ties) -> Float[Tensor, " query"]:
    place = torch.arange(1, ties.size.shape[1] + 1, dtype=torch.float64)
    others = (ties.relevant - 1).clamp(min=0) / (ties.size - 1).clamp(min=1)
    found = ties.relevant_above + 1 + (place - ties.above - 1) * others
    terms = ties.relevant / ties.size * found / place
    total = ties.relevant / ties.size  # summed over a group's places: its relevant ones
    return terms.sum(1) / total.sum(1)


def _holders(labels: Labels) -> dict[Hashable, list[int]]:
    """By label, the positions of the items that have it."""
    found: dict[Hashable, list[int]] = {}
    for at, one in enumerate(labels):
        for label in several(one):
            found.setdefault(label, []).append(at)
    return found


def several(label: Hashable | Collection[Hashable]) -> Collection[Hashable]:
    """The labels of an item that has one or several."""
    if isinstance(label, set | frozenset | tuple | list):
        return label
    return (label,)
