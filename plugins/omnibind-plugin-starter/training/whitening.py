"""How texts are spread: half of a whitening, fitted to captions without what they caption."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["half_whitening"]

POWER, FLOOR = -0.25, 0.3
"""-0.5 would be the whole of it; the floor is a share of the mean variance."""


def half_whitening(captions: Sequence[Tensor]) -> Tensor:
    r"""A matrix that evens out how much captions vary in each direction.

    $$ M = (C + \epsilon \bar\lambda I)^{-1/4}, \qquad
       C = \frac{1}{m} \sum_{k=1}^{m} \frac{1}{n_k} X_k^{\top} X_k $$

    with the mean eigenvalue of C. What all captions have in common counts less, what tells two of
    them apart counts more. Every modality counts the same.

    Args:
        captions: `[item, dim]` a modality: centred unit rows of its training items' captions.

    Returns:
        `[dim, dim]`, symmetric.

    Source:
        Whitening of sentence embeddings: Su et al. 2021, arXiv:2103.15316. Ours: half of it, the
        floor, the mean over modalities (docs/numbers.md says how they were chosen).
    """
    second = torch.stack([(x.T @ x / len(x)).double() for x in captions]).mean(0)
    variance, directions = torch.linalg.eigh(second)
    scale = (variance.clamp(min=0) + FLOOR * variance.mean()) ** POWER
    return ((directions * scale) @ directions.T).float()
