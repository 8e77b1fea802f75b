"""Which position an item has, by the hash of its content: a sorted table, 24 bytes an item."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IdIndex", "packed"]

Digests = NDArray[Any]
"""`[item]` of 16 bytes each (dtype S16)."""


def packed(ids: Sequence[str] | Sequence[bytes]) -> Digests:
    """Hexadecimal ids as 16 bytes each."""
    text = b"".join(i if isinstance(i, bytes) else i.encode() for i in ids)
    return np.frombuffer(binascii.unhexlify(text), dtype="S16")


@dataclass(frozen=True)
class IdIndex:
    """Finds positions by id.

    Attributes:
        digests: `[item]`, sorted.
        positions: of each of them in the dataset.
    """

    digests: Digests
    positions: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Iterable[Digests]) -> IdIndex:
        """Indexes ids that come in the order of their positions."""
        digests = np.concatenate([np.empty(0, "S16"), *parts])
        order = np.argsort(digests, kind="stable")
        return cls(digests[order], order.astype(np.int64))

    def find(self, digests: Digests) -> NDArray[np.int64]:
        """The position of each id, -1 where it is not there."""
        if not len(self.digests):
            return np.full(len(digests), -1, np.int64)
        at = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[at] == digests, self.positions[at], -1)

    @property
    def repeated(self) -> NDArray[np.int64]:
        """Positions of ids that an earlier position has too."""
        again = np.flatnonzero(self.digests[1:] == self.digests[:-1]) + 1
        return np.sort(self.positions[again])

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.digests)
