"""Which tuples a head sees, and which of them in a given step."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Int64
from torch import Tensor

from omnibind.errors import TrainingError
from omnibind.training.tuples import MISSING, Tuples

__all__ = ["FEWEST_TUPLES", "drawn", "eligible", "sample", "subset"]

FEWEST_TUPLES = 32
"""Fewer give a head nothing but a batch to learn by heart."""
LETTERS: Mapping[str, str] = {"A": "audio", "T": "text", "V": "image", "P": "points"}


def subset(head: str, modalities: Iterable[str], *, points_with: str = "V") -> tuple[str, ...]:
    """The modalities whose queries a head is trained on; empty where none of them has a pool.

    `mix` takes all. `A`, `T`, `V`, `P` stand for audio, text, image and points, and points come
    with every subset that has the letter `points_with`; that is our choice, the source is silent.

    Raises:
        TrainingError: a letter that stands for nothing.
    """
    if head == "mix":
        return tuple(modalities)
    unknown = set(head) - LETTERS.keys()
    if unknown:
        raise TrainingError(
            f"the queries that the head {head!r} is trained on",
            found=f"{', '.join(sorted(unknown))} is none of mix, {', '.join(LETTERS)}",
            next_step="correct `heads` in the recipe",
        )
    letters = set(head) | ({"P"} if points_with and points_with in head else set())
    return tuple(m for m in modalities if any(LETTERS[letter] == m for letter in letters))


def eligible(
    tuples: Tuples, queries: Iterable[str], needed: Iterable[str], *, whom: str
) -> Int64[Tensor, " tuple"]:
    """Numbers of the tuples with a query in `queries` and an item in all of `needed`.

    Args:
        tuples: all of them.
        queries: modalities; where there is none, all tuples are taken, and a warning says so.
        needed: modalities.
        whom: the tuples are for, in messages.

    Raises:
        TrainingError: fewer than `FEWEST_TUPLES`.
    """
    queries, needed = tuple(queries), tuple(needed)
    if not queries:
        warnings.warn(f"no pool for the queries of {whom}: trained on all tuples", stacklevel=2)
        queries = tuples.modalities
    fit = torch.zeros(len(tuples), dtype=torch.bool)
    for modality in queries:
        fit |= tuples.seeded_by(modality)
    for modality in needed:
        fit &= tuples.items[modality] != MISSING
    found = fit.nonzero().squeeze(1)
    if len(found) < FEWEST_TUPLES:
        raise TrainingError(
            f"at least {FEWEST_TUPLES} tuples for {whom}",
            found=f"{len(found)} of {len(tuples)} seeded by {', '.join(queries)} "
            f"and with an item in {', '.join(needed)}",
            next_step="give larger pools, or another linking space",
        )
    return found


def drawn(
    among: Int64[Tensor, " tuple"], size: int, *, seed: int, step: int, name: str
) -> Int64[Tensor, " drawn"]:
    """Tuples of a step, with replacement: the same for the same arguments, whatever came before."""
    random = _random(seed, step, name)
    return among[torch.randint(len(among), (size,), generator=random)]


def sample(count: int, size: int, *, seed: int, name: str) -> Int64[Tensor, " item"]:
    """Numbers of some items of a pool, in rising order, each once; all where `size` is larger."""
    if size >= count:
        return torch.arange(count)
    return torch.randperm(count, generator=_random(seed, 0, name))[:size].sort().values


def _random(seed: int, step: int, name: str) -> torch.Generator:
    key = hashlib.blake2b(f"{seed}/{step}/{name}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(key))
