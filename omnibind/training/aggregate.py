"""FreeBind's pairs, for comparison: a target that is an average of the backbone's rows near it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from omnibind.training.draws import drawn
from omnibind.training.tuples import RowSource

__all__ = ["Aggregates"]


class Aggregates:
    r"""Averages of backbone rows around a row, weighed by their nearness.

    $$ \bar b = \mathrm{normalize} \sum_j \mathrm{softmax}_j(b \cdot p_j / \tau)\, p_j $$

    over a reference $p$ of rows drawn once from the pool.

    Args:
        backbone: the space.
        rows: of the pools.
        pools: the items that may be drawn, by modality.
        size: rows of the reference, at most the pool; 0 leaves targets as they are.
        temperature: tau.
        seed: of the draw.
    Source:
        FreeBind (arXiv:2405.04883) pairs embeddings so. Ours: a drawn reference, so that no pool
        is held in memory.
    """

    def __init__(
        self,
        backbone: str,
        rows: RowSource,
        pools: Mapping[str, Int64[Tensor, " item"]],
        size: int,
        temperature: float,
        *,
        seed: int,
    ) -> None:
        self._backbone, self._rows, self._pools = backbone, rows, pools
        self._size, self._temperature, self._seed = size, temperature, seed
        self._references: dict[str, Tensor] = {}

    def around(
        self, targets: Float[Tensor, "*place dim"], modality: str
    ) -> Float[Tensor, "*place dim"]:
        """The averages around unit rows; the rows themselves where `size` is 0."""
        if not self._size:
            return targets
        reference = self._reference(modality)
        near = torch.softmax(targets @ reference.T / self._temperature, dim=-1)
        return F.normalize(near @ reference, dim=-1)

    def _reference(self, modality: str) -> Float[Tensor, "row dim"]:
        if modality not in self._references:
            every = self._pools[modality]
            chosen = drawn(every, min(self._size, len(every)), seed=self._seed, step=0, name="near")
            self._references[modality] = self._rows.take(self._backbone, modality, chosen)
        return self._references[modality]
