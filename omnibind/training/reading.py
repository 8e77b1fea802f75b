"""Items of pools with their content, in batches that fit into memory."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omnibind.errors import MediaError
from omnibind.seen import content_id
from omnibind.training.pools import Listed, Pool, Unlisted

__all__ = ["ReadItem", "batches_of"]

HELD_BYTES = 256 * 1024**2
"""Bytes of archive members that a batch may hold (ours)."""


@dataclass(frozen=True, kw_only=True)
class ReadItem:
    """An item of a pool: the hash of its content, and what the engine takes."""

    id: str
    source: str
    metadata: str
    given: Path | str | bytes


def batches_of(
    pools: Iterable[Pool], count: int, failed: Callable[[str, str], None]
) -> Iterator[list[ReadItem]]:
    """Reads pools.

    Args:
        pools: of one modality.
        count: items a batch, fewer where they are large.
        failed: called with source and reason of an item that cannot be read.
    """
    batch, held = list[ReadItem](), 0
    for pool in pools:
        for listed in pool.items():
            item = _read(pool.modality.name, listed, failed)
            if item is None:
                continue
            batch.append(item)
            held += len(item.given) if isinstance(item.given, bytes) else 0
            if len(batch) >= count or held >= HELD_BYTES:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def _read(
    modality: str, listed: Listed | Unlisted, failed: Callable[[str, str], None]
) -> ReadItem | None:
    if isinstance(listed, Unlisted):
        failed(listed.source, listed.reason)
        return None
    try:
        given = listed.read()
        return ReadItem(
            id=content_id(modality, given),
            source=listed.source,
            metadata=listed.metadata,
            given=given,
        )
    except (OSError, EOFError, MediaError, tarfile.TarError, zlib.error) as error:
        failed(listed.source, f"{type(error).__name__}: {error}")
        return None
