"""How an adapter is fitted: a ridge regression, moved a little by contrast.

The regression brings every item near to its caption. That leaves open which other captions are
near as well: a few steps of InfoNCE push those away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout, normalize

from omnibind.training.losses import info_nce, repeats

__all__ = ["Fitted", "contrasted", "ridge"]

Fitted = tuple[Tensor, Tensor]
"""Weight `[dim, width]` and bias `[dim]` of an adapter."""

STEPS, BATCH, RATE, TEMPERATURE, DROPOUT = 150, 1024, 1e-4, 0.1, 0.3
"""Of the contrast; chosen on clip art that was held out, see docs/numbers.md."""
MOST = 3.0
"""How often as likely as others the items that count most are drawn."""


def ridge(features: Tensor, rows: Tensor, penalty: float, weight: Tensor | None = None) -> Fitted:
    """Fits features to rows less their mean.

    Args:
        features: `[item, width]`; they are standardised.
        rows: `[item, dim]`.
        penalty: a share of the number of features.
        weight: how many items each counts for; 1 where nothing is said.
    """
    x, y = features.double(), rows.double()
    count = torch.ones(len(x)).double() if weight is None else weight.double()
    share = count / count.sum()
    mean, spread = share @ x, _spread(x)
    x = (x - mean) / spread
    counted = (count[:, None] * x).T
    gram = counted @ x + penalty * x.shape[1] * torch.eye(x.shape[1], dtype=x.dtype)
    fitted = torch.linalg.solve(gram, counted @ (y - share @ y)).T / spread
    return fitted.float(), (-fitted @ mean).float()


def contrasted(
    fitted: Fitted,
    features: Tensor,
    named: Tensor,
    rows: Tensor,
    captions: Sequence[str],
    weight: Tensor,
    *,
    seed: int = 0,
) -> Fitted:
    """Moves an adapter by InfoNCE between what it gives, beside the classes, and the captions.

    Args:
        fitted: where it starts.
        features: `[item, width]`; they are standardised, and a share of them is dropped.
        named: `[item, dim]`: what the classes say, see `Concepts.named`.
        rows: `[item, dim]`, unit rows of the captions.
        captions: items with the same one are no negatives of each other.
        weight: how many items each counts for.
        seed: of draws and dropout.
    """
    mean, spread = features.mean(0), _spread(features)
    seen = (features - mean) / spread
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    same = torch.tensor([numbers[caption] for caption in captions])
    w = (fitted[0] * spread).requires_grad_()
    b = (fitted[1] + fitted[0] @ mean).requires_grad_()
    optimiser = torch.optim.Adam([w, b], lr=RATE)
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / STEPS)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(STEPS):
            drawn = torch.multinomial(weight.clamp(max=MOST), min(BATCH, len(seen)))
            x = dropout(seen[drawn], DROPOUT) @ w.T + b + named[drawn]
            loss = info_nce(
                normalize(x, dim=-1), rows[drawn], repeats(same[drawn]), scale=1 / TEMPERATURE
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
    moved = (w / spread).detach()
    return moved, (b.detach() - moved @ mean)


def _spread(x: Tensor) -> Tensor:
    spread = x.std(0)
    return spread + 1e-3 * spread.mean()
