"""Toy pools for training: spaces that see the same hidden things, each through noise of its own.

world = ToyWorld({"back": (16, ["text", "image"]), "sound": (12, ["text", "audio"])})
rows = world.pools(300)                       # unpaired, a RowSource
tuples = world.tuples(rows, {"text-image": "back", "text-audio": "sound"})
held_out = world.paired(200)                  # item i shows the same thing in every modality
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from omnibind.training.tuples import MISSING, RowsInMemory, RowSource, Tuples

__all__ = ["ToyWorld"]


@dataclass(frozen=True, kw_only=True)
class ToyWorld:
    """Hidden things are Gaussian vectors; a row is a random projection of one, plus noise.

    Attributes:
        spaces: name -> (width of its rows, its modalities).
        width: of the hidden vectors.
        noise: its size beside that of the signal, in every row apart.
        gap: how far the modalities of a space lie apart, likewise.
        seed: of everything.
    """

    spaces: Mapping[str, tuple[int, Iterable[str]]]
    width: int = 6
    noise: float = 0.5
    gap: float = 0.5
    seed: int = 0

    @property
    def modalities(self) -> tuple[str, ...]:
        """All that a space reads, in order of first mention."""
        return tuple(dict.fromkeys(m for _, listed in self.spaces.values() for m in listed))

    def pools(self, count: int) -> RowsInMemory:
        """Items of each modality that show different things."""
        return RowsInMemory({m: self._pool(m, count, f"pool:{m}") for m in self.modalities})

    def paired(self, count: int) -> dict[str, dict[str, Tensor]]:
        """Items that show the same things in every modality: modality -> space -> rows."""
        return {m: self._pool(m, count, "paired") for m in self.modalities}

    def tuples(self, rows: RowSource, links: Mapping[str, str]) -> Tuples:
        """The nearest item of every modality for each item of every modality.

        Args:
            rows: what `pools` gave.
            links: `"text-image"` -> the space that pairs the two; pairs without one are `MISSING`.
        """
        parts = [self._seeded_by(m, rows, links) for m in self.modalities]
        items = {m: torch.cat([part[m] for part in parts]) for m in self.modalities}
        counts = torch.tensor([rows.count(m) for m in self.modalities])
        ones = {m: torch.ones(len(one)) for m, one in items.items()}
        query = torch.arange(len(counts)).repeat_interleave(counts)
        return Tuples(
            modalities=self.modalities, query=query, items=items, similarity=ones, margin=ones
        )

    def _pool(self, modality: str, count: int, things: str) -> dict[str, Tensor]:
        shown = self._random(things, count, self.width)
        return {
            space: self._rows(space, modality, shown, things)
            for space, (_, modalities) in self.spaces.items()
            if modality in modalities
        }

    def _rows(
        self, space: str, modality: str, shown: Float[Tensor, "item hidden"], things: str
    ) -> Float[Tensor, "item dim"]:
        dim = self.spaces[space][0]
        signal = shown @ self._random(f"axes:{space}", self.width, dim) / self.width**0.5
        noise = self._random(f"noise:{space}:{modality}:{things}", len(shown), dim)
        offset = self._random(f"gap:{space}:{modality}", 1, dim)
        return F.normalize(signal + self.noise * noise + self.gap * offset, dim=-1)

    def _random(self, name: str, *shape: int) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + self.seed)
        return torch.randn(shape, generator=generator)

    def _seeded_by(
        self, query: str, rows: RowSource, links: Mapping[str, str]
    ) -> dict[str, Int64[Tensor, " tuple"]]:
        found = {query: torch.arange(rows.count(query))}
        left = [m for m in self.modalities if m != query]
        while left:
            steps = ((a, b) for a in found for b in left if _link(links, a, b))
            a, b = next(steps, ("", ""))
            if not b:
                break
            every = rows.take(_link(links, a, b), a, found[a])
            pool = rows.take(_link(links, a, b), b, torch.arange(rows.count(b)))
            found[b] = (_centred(every) @ _centred(pool).T).argmax(1)
            left.remove(b)
        missing = torch.full((rows.count(query),), MISSING)
        return {m: found.get(m, missing) for m in self.modalities}


def _link(links: Mapping[str, str], a: str, b: str) -> str:
    return links.get(f"{a}-{b}") or links.get(f"{b}-{a}", "")


def _centred(rows: Float[Tensor, "item dim"]) -> Float[Tensor, "item dim"]:
    return F.normalize(rows - rows.mean(0), dim=-1)
