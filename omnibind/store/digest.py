"""What rows a store has of some items, as one digest: equal rows, equal digest, however stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from omnibind.store.columns import unusable
from omnibind.store.store import ENDING, Store

__all__ = ["digest_of", "state_of"]


def digest_of(
    store: Store, modality: str, keys: Iterable[str], positions: NDArray[np.int64]
) -> str:
    """Reads the rows of some items by some encoders, once and in blocks.

    Args:
        store: has a column for each of the encoders.
        modality: of the items.
        keys: of encoders.
        positions: of the items, ascending or not; items without a row count too.

    Raises:
        StoreError: a row or a file that is damaged.
    """
    columns = {key: store.column(modality, key) for key in sorted(set(keys))}
    there = {key: _digest(f"{key} {c.identity}".encode()) for key, c in columns.items()}
    values, bad = {key: _digest() for key in columns}, {key: list[int]() for key in columns}
    ids, chosen = _digest(np.sort(positions).tobytes()), np.zeros(store.count(modality), np.bool_)
    chosen[positions] = True
    start = 0
    names = ["id", *(column.name for column in columns.values())]
    for batch in store.batches(modality, names):  # where one ends must not show in a digest
        here = chosen[start : start + len(batch)]
        taken = batch.filter(pa.array(here))
        ids.update("".join(taken.column("id").to_pylist()).encode())
        for key, column in columns.items():
            valid = np.asarray(taken.column(column.name).is_valid())
            rows = taken.column(column.name).flatten().to_numpy(zero_copy_only=False)
            there[key].update(valid.tobytes())
            values[key].update(rows.tobytes())
            broken = unusable(torch.from_numpy(rows.reshape(-1, column.dim).astype(np.float32)))
            bad[key] += (np.flatnonzero(here)[valid][broken.numpy()] + start).tolist()
        start += len(batch)
    for key, found in bad.items():
        if found:
            raise store.damaged(modality, key, np.array(found))
    parts = (ids, *there.values(), *values.values())
    return _digest(b"".join(part.digest() for part in parts)).hexdigest()


def state_of(store: Store, modality: str) -> str:
    """Names, sizes and times of a dataset's files: unchanged only where its rows are."""
    found = hashlib.blake2b(digest_size=16)
    place = store.folder / f"{modality}{ENDING}"
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        facts = path.stat()
        found.update(f"{path.relative_to(place)}:{facts.st_size}:{facts.st_mtime_ns}\n".encode())
    return found.hexdigest()


def _digest(begun: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(begun, digest_size=16)
