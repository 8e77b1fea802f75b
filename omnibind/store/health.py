"""What a store holds, and whether all of it can be read and means something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnibind.errors import StoreError
from omnibind.store.columns import rows_in
from omnibind.store.store import ENDING, Store
from omnibind.store.writer import Writer

__all__ = ["ColumnInfo", "ModalityInfo", "Problem", "StoreInfo", "describe", "drop", "verify"]

NORM_SLACK = 5e-3
"""How far the norm of a float16 unit row may be from 1: rounding costs below 1e-3."""


@dataclass(frozen=True, kw_only=True)
class ColumnInfo:
    """One column: its encoder, and how many items have a row."""

    key: str
    revision: str
    fingerprint: str
    dim: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class ModalityInfo:
    """One dataset: its items, its columns and its bytes on disk."""

    items: int
    bytes: int
    columns: tuple[ColumnInfo, ...]


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What a store holds, by modality."""

    folder: Path
    modalities: Mapping[str, ModalityInfo]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong with a store."""

    modality: str
    what: str


def describe(folder: Path) -> StoreInfo:
    """Reads what a store holds.

    Raises:
        StoreError: there is no store in the folder.
    """
    store = _store(folder)
    return StoreInfo(
        folder=store.folder, modalities={m: _describe(store, m) for m in store.modalities}
    )


def verify(folder: Path) -> tuple[Problem, ...]:
    """Reads every row of a store.

    Raises:
        StoreError: there is no store in the folder.
    """
    store = _store(folder)
    return tuple(problem for m in store.modalities for problem in _problems(store, m))


def _store(folder: Path) -> Store:
    inside = folder / "store"
    store = Store(inside if inside.is_dir() else folder)
    if not store.modalities:
        raise StoreError(
            f"a store in {folder}",
            found="no <modality>.lance with rows in it" if folder.is_dir() else "no such folder",
            next_step="give the --out of `omnibind bind`, or the folder `store` in it",
        )
    return store


def _describe(store: Store, modality: str) -> ModalityInfo:
    path = store.folder / f"{modality}{ENDING}"
    columns = store.columns(modality)
    rows = {key: int(store.whole(modality, [key]).sum()) for key in columns}
    return ModalityInfo(
        items=store.count(modality),
        bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        columns=tuple(
            ColumnInfo(
                key=key,
                revision=column.revision,
                fingerprint=column.fingerprint,
                dim=column.dim,
                rows=rows[key],
            )
            for key, column in columns.items()
        ),
    )


def _problems(store: Store, modality: str) -> Iterator[Problem]:
    def problem(what: str) -> Problem:
        return Problem(modality=modality, what=what)

    try:
        again = store.index(modality).repeated
        if len(again):
            yield problem(f"{len(again)} items twice, the first at position {again[0]}")
        columns = store.columns(modality)
        start = 0
        for batch in store.batches(modality, ["id", *(c.name for c in columns.values())]):
            for key, column in columns.items():
                for at in _bad_rows(batch.column(column.name)):
                    yield problem(f"row of {key!r} without unit norm at position {start + at}")
            start += len(batch)
    except (StoreError, OSError, ValueError, RuntimeError) as error:
        yield problem(f"cannot be read: {type(error).__name__}: {error}")


def _bad_rows(array: Any) -> list[int]:
    rows, there = rows_in(array)
    norms = np.linalg.norm(rows, axis=1)
    bad: list[int] = np.flatnonzero(there & ~(np.abs(norms - 1) <= NORM_SLACK)).tolist()
    return bad


def drop(folder: Path, key: str) -> tuple[str, ...]:
    """Deletes the rows of an encoder; gives the modalities that had some.

    Raises:
        StoreError: there is no store, it has no such rows, or somebody is writing it.
    """
    store = _store(folder)
    having = tuple(m for m in store.modalities if key in store.columns(m))
    if not having:
        known = sorted({key for m in store.modalities for key in store.columns(m)})
        raise StoreError(
            f"to drop the rows of the encoder {key!r} from {store.folder}",
            found=f"rows of {', '.join(known) or 'no encoder'}",
            next_step="correct the name; `omnibind store info DIR` lists them",
        )
    with Writer(store.folder) as writer:
        for modality in having:
            writer.drop(modality, key)
    return having
