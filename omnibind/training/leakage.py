"""Benchmark items stay out of training: by equal content, and by rows that are too near.

What was left out, and hashes of what training has seen, go into the checkpoint, so that an
evaluation on other data can say whether it overlaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from omnibind.errors import PoolError
from omnibind.specs import Recipe, SpaceSpec
from omnibind.training.neighbours import Side, nearest

__all__ = [
    "NEAR_DUPLICATE",
    "Excluded",
    "Overlap",
    "Seen",
    "judging_space",
    "near_duplicates",
    "overlap",
    "read_seen",
    "write_seen",
]

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


@dataclass(frozen=True)
class Seen:
    """The first 64 bits of the ids of all items that training has seen, sorted, by modality."""

    prefixes: Mapping[str, NDArray[np.uint64]]

    @classmethod
    def of(cls, ids: Mapping[str, NDArray[Any]]) -> Seen:
        """From ids of 16 bytes each."""
        found = {m: _prefixes(np.asarray(digests, "S16")) for m, digests in ids.items()}
        return cls({m: np.unique(prefixes) for m, prefixes in found.items()})


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a benchmark training has seen.

    Attributes:
        asked: items of the benchmark.
        positions: of those among them that were seen.
    """

    asked: int
    positions: tuple[int, ...]

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return len(self.positions) / self.asked if self.asked else 0.0


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


def overlap(seen: Seen, modality: str, ids: Sequence[str]) -> Overlap:
    """Which items of a benchmark training has seen, by content.

    Args:
        seen: of the checkpoint (`read_seen`).
        modality: of the items.
        ids: `omnibind.training.pools.content_id` of each item.
    """
    known = seen.prefixes.get(modality, np.empty(0, np.uint64))
    asked = _prefixes(np.frombuffer(bytes.fromhex("".join(ids)), dtype="S16"))
    return Overlap(asked=len(ids), positions=tuple(np.flatnonzero(np.isin(asked, known)).tolist()))


def write_seen(seen: Seen, path: Path) -> None:
    """Writes eight bytes an item."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    save_file({m: prefixes.view(np.int64) for m, prefixes in seen.prefixes.items()}, part)
    part.replace(path)


def read_seen(path: Path) -> Seen:
    """Reads them back.

    Raises:
        PoolError: no such file, or damaged.
    """
    try:
        return Seen({m: values.view(np.uint64) for m, values in load_file(path).items()})
    except (OSError, SafetensorError) as error:
        raise PoolError(
            f"what training has seen, in {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="run the stage `pair` again, or copy the whole checkpoint",
        ) from error


def _prefixes(digests: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)[:, 0].copy()
