"""Benchmark items stay out of training: by equal content, and by rows that are too near.

What was left out goes into the checkpoint, beside hashes of what training has seen
(`omnibind.seen`), so that an evaluation on other data can say whether it overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from omnibind.errors import PoolError
from omnibind.specs import Recipe, SpaceSpec
from omnibind.training.neighbours import Side, nearest

__all__ = ["NEAR_DUPLICATE", "Excluded", "judging_space", "near_duplicates"]

NEAR_DUPLICATE = 0.95
"""Cosine from which on two items of one modality count as the same (ours). Low enough for a crop or
a new compression of a picture, and rather too low: an item less costs less than a leak."""


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """What left the pool of one modality.

    Attributes:
        benchmark: items that were to be excluded.
        by_content: ids of pool items with the content of one of them.
        by_distance: ids of further pool items whose row is too near to one of them.
        space: the space whose rows were compared.
        cosine: from which on a row is too near.
    """

    benchmark: int
    by_content: tuple[str, ...]
    by_distance: tuple[str, ...]
    space: str
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """For `exclusions.json` and the checkpoint."""
        return {
            **vars(self),
            "by_content": list(self.by_content),
            "by_distance": list(self.by_distance),
        }


def judging_space(recipe: Recipe, spaces: Mapping[str, SpaceSpec], modality: str) -> str:
    """The space whose rows say what is a near-duplicate: the backbone, else the recipe's first."""
    named = dict.fromkeys([recipe.backbone, *recipe.spaces, *spaces])
    for name in named:
        if name in spaces and modality in spaces[name].encoders:
            return name
    raise PoolError(
        f"{modality} rows to compare with the benchmark's",
        found=f"no space of the recipe {recipe.name!r} reads {modality}",
        next_step="leave its pool out, or install a space that reads it",
    )


def near_duplicates(
    pool: Side, benchmark: Side, cosine: float = NEAR_DUPLICATE, **settings: Any
) -> Bool[Tensor, " item"]:
    """Which items of a pool lie within a cosine of any item of a benchmark.

    Args:
        pool: rows of one space and modality.
        benchmark: rows of the same.
        cosine: from which on two items count as the same.
        settings: of `omnibind.training.neighbours.nearest`.
    """
    if not len(benchmark):
        return torch.zeros(len(pool), dtype=torch.bool)
    return nearest(pool, benchmark, **settings).similarity >= cosine
