"""Which items training has seen: hashes of their content, kept in the checkpoint, and asked for.

What makes two items the same is a hash of a file's bytes, or of a text's words. Ours: bytes are
hashed, not decoded media, so that a pool of millions is compared without decoding it. The same
picture saved twice is two items; near-duplicates are found by their rows
(`omnibind.training.leakage`), and only while pools are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from omnibind.errors import CheckpointError
from omnibind.writing import whole

__all__ = ["SEEN", "Overlap", "Seen", "content_id", "overlap", "read_seen", "write_seen"]

SEEN = "seen.safetensors"
"""The file's name in a checkpoint."""
TEXT = b"omnibind text"
FILE = b"omnibind file"


@dataclass(frozen=True)
class Seen:
    """The first 64 bits of the ids of all items that training has seen, sorted, by modality."""

    prefixes: Mapping[str, NDArray[np.uint64]]

    @classmethod
    def of(cls, ids: Mapping[str, NDArray[Any]]) -> Seen:
        """From ids of 16 bytes each."""
        found = {m: _prefixes(np.asarray(digests, "S16")) for m, digests in ids.items()}
        return cls({m: np.unique(prefixes) for m, prefixes in found.items()})

    def __or__(self, other: Seen) -> Seen:
        """What either of two trainings has seen."""
        none = np.empty(0, np.uint64)
        both = sorted({*self.prefixes, *other.prefixes})
        one, two = self.prefixes, other.prefixes
        return Seen({m: np.union1d(one.get(m, none), two.get(m, none)) for m in both})


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


def content_id(modality: str, given: Path | str | bytes) -> str:
    """32 hexadecimal digits; a text file and the same words typed in are equal.

    Raises:
        OSError: the file cannot be read.
    """
    if modality == "text":
        return _text_id(given)
    digest = hashlib.blake2b(digest_size=16, person=FILE)
    if isinstance(given, Path):
        with given.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    else:
        digest.update(given if isinstance(given, bytes) else given.encode())
    return digest.hexdigest()


def overlap(seen: Seen, modality: str, ids: Sequence[str]) -> Overlap:
    """Which items of a benchmark training has seen, by content.

    Args:
        seen: of the checkpoint (`read_seen`).
        modality: of the items.
        ids: `content_id` of each item.
    """
    known = seen.prefixes.get(modality, np.empty(0, np.uint64))
    asked = _prefixes(np.frombuffer(bytes.fromhex("".join(ids)), dtype="S16"))
    return Overlap(asked=len(ids), positions=tuple(np.flatnonzero(np.isin(asked, known)).tolist()))


def write_seen(seen: Seen, path: Path) -> None:
    """Writes eight bytes an item."""
    with whole(path) as part:
        save_file({m: prefixes.view(np.int64) for m, prefixes in seen.prefixes.items()}, part)


def read_seen(path: Path) -> Seen:
    """Reads them back.

    Raises:
        CheckpointError: no such file, or damaged.
    """
    try:
        return Seen({m: values.view(np.uint64) for m, values in load_file(path).items()})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"what training has seen, in {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="run the stage `pair` again, or copy the whole checkpoint",
        ) from error


def _prefixes(digests: NDArray[Any]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(digests).view(np.uint64).reshape(-1, 2)[:, 0].copy()


def _text_id(given: Path | str | bytes) -> str:
    content = given.read_bytes() if isinstance(given, Path) else given
    if isinstance(content, bytes):
        content = content.decode("utf-8-sig", "backslashreplace")
    words = content.strip().encode("utf-8", "backslashreplace")
    return hashlib.blake2b(words, digest_size=16, person=TEXT).hexdigest()
