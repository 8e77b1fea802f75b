"""From a classifier to a text encoder's coordinates: ConSE, and a linear adapter beside it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

__all__ = ["Concepts"]

KEPT = 20


class Concepts(nn.Module):
    r"""A point among the class names that the network believes in, moved by what it has seen.

    $$ c = \sum_{k \in \mathrm{top}\,20} \frac{p_k}{\sum_j p_j} a_k - \bar a, \qquad
       x = \mathrm{normalize}\Bigl(t \, p_1 \frac{c}{\lVert c \rVert} + W f + b\Bigr), \quad
       \mathrm{row} = \mathrm{normalize}(x - m) $$

    with the class posterior p (its largest p_1), the trust t in it, the text rows a of the class
    names and the pooled features f: a network that is sure is believed, one that is not leaves the
    word to the adapter. The mean m of x over the training items is where its rows crowd, which
    makes some of them near to every text.

    Shape:
        features `[item, width]`, posterior `[item, class]` -> `[item, dim]`, unit rows.
    Source:
        ConSE: Norouzi et al. 2014, arXiv:1312.5650. Ours: centring, the trust in p_1, and the
        adapter: fitted to captioned items by ridge regression and contrast (see
        `training/adapters.py`).
    """

    def __init__(self, classes: int, width: int, dim: int) -> None:
        super().__init__()
        self.anchors = nn.Parameter(torch.randn(classes, dim))
        self.centre = nn.Parameter(torch.zeros(dim))
        self.trust = nn.Parameter(torch.ones(1))
        self.adapter = nn.Linear(width, dim)
        self.middle = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Tensor, posterior: Tensor) -> Tensor:
        """Unit rows in the text encoder's coordinates."""
        x = normalize(self.named(posterior) + self.adapter(features), dim=-1)
        return normalize(x - self.middle, dim=-1)

    def named(self, posterior: Tensor) -> Tensor:
        """What the classes say, as long as they are trusted: `[item, dim]`."""
        belief, which = posterior.topk(min(KEPT, posterior.shape[-1]), dim=-1)
        share = belief / belief.sum(-1, keepdim=True)
        named = (share.unsqueeze(-1) * self.anchors[which]).sum(-2) - self.centre
        return self.trust * belief[:, :1] * normalize(named, dim=-1)
