"""Pseudo tuples by retrieval: for every item of every pool, the nearest item of each other pool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnibind.training.links import Links, hops
from omnibind.training.neighbours import EXACT_BELOW, Advance, Nearest, Side, nearest
from omnibind.training.noise import link_noise
from omnibind.training.progress import Progress, no_progress
from omnibind.training.tuples import RowSource, Tuples
from omnibind.writing import whole

__all__ = ["AGREEMENT_QUERIES", "Pairing", "make_tuples"]

AGREEMENT_QUERIES = 10_000
"""Queries for which a second space is asked too (ours): a share within 0.01, at a bounded price."""
Items = Mapping[str, Int64[Tensor, " item"]]
Found = dict[tuple[str, str], Nearest]


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Retrieval between pools.

    Attributes:
        rows: of the pools, by space.
        links: how modalities are linked.
        items: modality -> the items that take part, ascending.
        kept_in: a folder where each finished direction is kept, so that a kill costs one of them;
            None keeps nothing.
        exact_below: targets from which on the search is approximate.
        device: where exact products are computed.
    """

    rows: RowSource
    links: Links
    items: Items
    kept_in: Path | None = None
    exact_below: int = EXACT_BELOW
    device: str = "cpu"
    progress: Progress = field(default=no_progress, repr=False)

    def find(self) -> Found:
        """The nearest item of every modality for the items of every other one."""
        direct = {
            pair: self._direct(*pair)
            for pair in permutations(self.items, 2)
            if len(self.links.way(*pair)) == 2
        }
        found = dict(direct)
        for pair in permutations(self.items, 2):
            if pair not in direct:
                found[pair] = self._chained(hops(self.links.way(*pair)), direct)
        return found

    def report(self, found: Found) -> list[dict[str, Any]]:
        """What there is to know about the noise of each direction."""
        return [
            link_noise(
                a, b, self._by(a, b), found, self.items, self._agreement(a, b, found)
            ).to_json()
            for a, b in found
        ]

    def _direct(self, query: str, target: str) -> Nearest:
        space = self.links.space(query, target)
        kept = self.kept_in and self.kept_in / f"{query}-{target}.{self._state(space)}.safetensors"
        there = _read(kept) if kept else None
        if there is None:
            count = len(self.items[query])
            with self.progress(f"pairing {query} with {target} by {space}", count) as advance:
                there = self._nearest(space, query, target, self.items[query], advance)
            if kept:
                _write(kept, there)
        return there

    def _nearest(
        self, space: str, query: str, target: str, asked: Tensor, advance: Advance | None = None
    ) -> Nearest:
        return nearest(
            Side(rows=self.rows, space=space, modality=query, items=asked),
            Side(rows=self.rows, space=space, modality=target, items=self.items[target]),
            exact_below=self.exact_below,
            device=self.device,
            advance=advance,
        )

    def _chained(self, steps: Sequence[tuple[str, str]], direct: Found) -> Nearest:
        """Similarity is the product of the steps', the margin the smallest of them (ours)."""
        first = direct[steps[0]]
        item, similarity, margin = first.item, first.similarity, first.margin
        for query, target in steps[1:]:
            step, at = direct[query, target], torch.searchsorted(self.items[query], item)
            item = step.item[at]
            similarity = similarity * step.similarity[at]
            margin = torch.minimum(margin, step.margin[at])
        return Nearest(item=item, similarity=similarity, margin=margin)

    def _by(self, query: str, target: str) -> tuple[str, ...]:
        way = self.links.way(query, target)
        return way if len(way) > 2 else (self.links.space(query, target),)

    def _agreement(self, query: str, target: str, found: Found) -> dict[str, dict[str, float]]:
        """How often the next space that has both modalities finds the same target."""
        a, b = sorted((query, target))
        items, shares = self.items[query], dict[str, dict[str, float]]()
        random = torch.Generator().manual_seed(0)
        drawn = torch.randperm(len(items), generator=random)[:AGREEMENT_QUERIES].sort().values
        for space in self.links.others.get((a, b), ())[:1]:
            second = self._nearest(space, query, target, items[drawn])
            same = second.item == found[query, target].item[drawn]
            share = round(float(same.float().mean()), 4)
            shares[space] = {"same": share, "queries": float(len(drawn))}
        return shares

    def _state(self, space: str) -> str:
        """Changes when the linking space or the items that take part change."""
        digest = hashlib.blake2b(f"{space} {self.exact_below}".encode(), digest_size=8)
        for modality, items in sorted(self.items.items()):
            digest.update(modality.encode())
            digest.update(items.contiguous().numpy().data)
        return digest.hexdigest()


def make_tuples(found: Found, items: Items) -> Tuples:
    """One tuple an item: itself with similarity and margin 1, and what was found for it."""
    modalities = tuple(items)

    def column(modality: str, part: str) -> Iterator[Tensor]:
        for query in modalities:
            own = items[query]
            if query == modality:
                yield own if part == "item" else torch.ones(len(own))
            else:
                yield getattr(found[query, modality], part)

    def columns(part: str) -> dict[str, Tensor]:
        return {modality: torch.cat(list(column(modality, part))) for modality in modalities}

    return Tuples(
        modalities=modalities,
        query=torch.cat([torch.full((len(items[m]),), at) for at, m in enumerate(modalities)]),
        items=columns("item"),
        similarity=columns("similarity"),
        margin=columns("margin"),
    )


def _read(path: Path) -> Nearest | None:
    try:
        return Nearest(**load_file(path))
    except (OSError, TypeError, SafetensorError):
        return None


def _write(path: Path, found: Nearest) -> None:
    with whole(path) as part:
        save_file({name: value.contiguous() for name, value in vars(found).items()}, part)
