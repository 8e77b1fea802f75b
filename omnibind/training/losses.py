r"""What is minimised: InfoNCE between two sides, and two terms for the text router."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnibind.training.ranks import ALONE, Ranks

__all__ = ["info_nce", "repeats", "spread", "steer"]


def info_nce(
    a: Float[Tensor, "*pair item dim"],
    b: Float[Tensor, "*pair item dim"],
    repeated: Tensor | None = None,
    *,
    scale: Tensor | float,
    ranks: Ranks = ALONE,
) -> Float[Tensor, "*pair"]:
    r"""Symmetric InfoNCE of two sides; this rank's share of the mean over the global batch.

    $$ -\frac{1}{2n} \sum_i \Bigl( \log \frac{e^{\alpha a_i b_i}}{\sum_j e^{\alpha a_i b_j}}
       + \log \frac{e^{\alpha a_i b_i}}{\sum_j e^{\alpha a_j b_i}} \Bigr) $$

    Args:
        a: unit rows of this rank's part of the batch.
        b: likewise; what stands in the same place belongs to the same tuple.
        repeated: bool `[..., item, global item]`: see `repeats`.
        scale: the inverse temperature; a tensor has the axes `*pair 1 1`.
        ranks: where the other negatives are.
    Source:
        van den Oord et al. 2018, arXiv:1807.03748; symmetric as in CLIP, arXiv:2103.00020.
    """
    items, first = a.shape[-2], ranks.rank * a.shape[-2]
    there = _logits(a, ranks.gather(b, b.ndim - 2), repeated, scale)
    if ranks.world == 1:  # one table serves both directions
        both = _surprise(there, -1, first) + _surprise(there, -2, first)
    else:
        back = _logits(b, ranks.gather(a, a.ndim - 2), repeated, scale)
        both = _surprise(there, -1, first) + _surprise(back, -1, first)
    return both / (2 * items * ranks.world)


def _logits(a: Tensor, b: Tensor, repeated: Tensor | None, scale: Tensor | float) -> Tensor:
    logits = (a @ b.mT) * scale
    return logits if repeated is None else logits.masked_fill(repeated, -torch.inf)


def _surprise(logits: Tensor, dim: int, first: int) -> Tensor:
    """Summed cross-entropy of the own places; row 0's own is column `first`."""
    return -logits.log_softmax(dim).diagonal(first, -2, -1).sum(-1)


def repeats(*items: Tensor, ranks: Ranks = ALONE) -> Bool[Tensor, "*pair item everywhere"]:
    """Which other places of the batch hold the same item in one of the modalities.

    In small pools many queries retrieve the same item; as a negative of itself it would teach
    the opposite of what is meant. Ours.

    Args:
        items: item numbers `[..., item]` of this rank's part, one tensor a modality.
        ranks: where the other items are.
    """
    found = torch.zeros((), dtype=torch.bool, device=items[0].device)
    for mine in items:
        found = found | (mine.unsqueeze(-1) == ranks.gather(mine, mine.ndim - 1).unsqueeze(-2))
    count = items[0].shape[-1]
    own = torch.eye(count, dtype=torch.bool, device=found.device)
    found[..., ranks.rank * count : (ranks.rank + 1) * count] &= ~own
    return found


def steer(
    weights: Float[Tensor, "item slot"],
    knows: Bool[Tensor, "item slot"],
    *,
    ranks: Ranks = ALONE,
) -> Float[Tensor, ""]:
    r"""Sends a text to the slots whose spaces know the modality that it was found for. Ours.

    $$ -\frac1n \sum_i \log \sum_{k \text{ knows } m(i)} w_{ik} $$

    It is 0 where every slot knows the modality, and for queries that are texts.
    """
    known = (weights * knows).sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)
    return -known.log().sum() / (len(weights) * ranks.world)


def spread(
    rows: Float[Tensor, "item joint"],
    repeated: Tensor,
    *,
    sharpness: float = 2.0,
    ranks: Ranks = ALONE,
) -> Float[Tensor, ""]:
    r"""Keeps texts apart from one another: high where joint rows crowd together.

    $$ \log \frac{1}{|P|} \sum_{(i,j) \in P} e^{-t \lVert z_i - z_j \rVert^2},
       \qquad P = \{(i, j): \text{not the same item}\} $$

    Source:
        Wang and Isola 2020, arXiv:2005.10242 (uniformity, t = 2). Ours: for the text router.
    """
    every = ranks.gather(rows, 0)
    others = ~repeated
    start = ranks.rank * len(rows)
    others[:, start : start + len(rows)] &= ~torch.eye(len(rows), dtype=torch.bool).to(others)
    closeness = torch.exp(2 * sharpness * (rows @ every.T - 1)) * others
    total, pairs = ranks.total(closeness.sum()), ranks.total(others.sum())
    return (total / pairs.clamp(min=1)).clamp(min=torch.finfo(rows.dtype).tiny).log() / ranks.world
