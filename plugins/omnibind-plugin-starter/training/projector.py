"""One head from one text encoder's coordinates to another's, learned from a pool of texts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from omnibind.projectors import HeadEnsemble

__all__ = ["fit_head"]

HIDDEN = 1024
EPOCHS, BATCH, RATE, DECAY = 8, 512, 3e-3, 0.01
TEMPERATURE = 0.05
CLOSENESS = 2.0
MIXED = 3


def fit_head(space: str, x: Tensor, y: Tensor) -> HeadEnsemble:
    r"""Trains $g$ with InfoNCE both ways and closeness: $L = L_{nce} + 2 (1 - \cos(g(x), y))$.

    Half of each batch are mixtures of three texts on both sides: pictures lie between the names of
    their classes, where no text does.

    Args:
        space: whose rows x are.
        x: `[text, dim]`, unit rows.
        y: `[text, joint]`, unit rows of the same texts in the backbone's coordinates.
    """
    torch.manual_seed(0)
    head = HeadEnsemble([space], x.shape[1], y.shape[1], heads=1, hidden=HIDDEN).train()
    optimiser = torch.optim.AdamW(head.parameters(), RATE, weight_decay=DECAY)
    steps = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=EPOCHS * steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x))[: steps * BATCH].split(BATCH):
            given, wanted = _half_mixed(x[batch], y[batch])
            loss = _loss(F.normalize(head({space: given})[space], dim=-1), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return head.eval()


def _half_mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    half = len(x) // 2
    share = torch.rand(half, MIXED).softmax(-1)[..., None]
    others = torch.stack([torch.randperm(half) for _ in range(MIXED)], dim=1)
    mixed = [F.normalize((share * rows[others]).sum(1), dim=-1) for rows in (x, y)]
    return torch.cat([mixed[0], x[half:]]), torch.cat([mixed[1], y[half:]])


def _loss(found: Tensor, wanted: Tensor) -> Tensor:
    scores = found @ wanted.T / TEMPERATURE
    own = torch.arange(len(found))
    contrast = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    return contrast + CLOSENESS * (1 - (found * wanted).sum(-1).mean())
