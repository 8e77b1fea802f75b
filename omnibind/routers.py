"""How much each slot counts for an item: one small network a modality."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Router"]


class Router(nn.Module):
    r"""Weighs the slots of one modality item by item.

    $$ w = \mathrm{softmax}(\tau \, \sigma(f(x))) $$

    with `f` = Linear(in, 512), BN, ReLU, Linear(512, 100), BN, tanh, Linear(100, slots). The
    sigmoid bounds the weights: with tau = 1 no slot weighs more than e times another.

    Shape:
        concatenated rows of the recipe's router inputs `[item, dim]` -> `[item, slot]`,
        positive, each row sums to 1.
    Source:
        arXiv:2407.11895 and its released code (tau = 10 for text, 1 elsewhere).
    """

    def __init__(self, dim: int, slots: Sequence[str], *, temperature: float = 1.0) -> None:
        super().__init__()
        self.dim, self.slots, self.temperature = dim, tuple(slots), temperature
        self.net = nn.Sequential(
            nn.Linear(dim, 512),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Linear(512, 100),
            nn.BatchNorm1d(100),
            nn.Tanh(),
            nn.Linear(100, len(self.slots)),
        )

    def forward(self, x: Float[Tensor, "item dim"]) -> Float[Tensor, "item slot"]:
        """Slot weights of each item."""
        return torch.softmax(self.temperature * torch.sigmoid(self.net(x)), dim=-1)
