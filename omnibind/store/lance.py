"""Where Lance is called: imported when first needed, and its failures said in our words."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from omnibind.errors import StoreError
from omnibind.writing import is_full

__all__ = [
    "CACHE_BYTES",
    "Dataset",
    "is_dataset",
    "lance",
    "open_dataset",
    "saying_what_failed",
]

Dataset = Any
"""A `lance.LanceDataset`; lance has no types that a checker could read."""
CACHE_BYTES = 64 * 1024**2
"""What each of a dataset's two caches may hold (ours); Lance's own default is gigabytes."""


def lance() -> Any:
    """The module `lance`.

    Raises:
        StoreError: it is not installed.
    """
    try:
        return import_module("lance")
    except ImportError as error:
        raise StoreError(
            "a store of rows, which the library Lance reads and writes",
            found=f"{type(error).__name__}: {error}",
            next_step="pip install 'omnibind[train]'",
        ) from error


def is_dataset(path: Path) -> bool:
    """Whether anything was ever committed there.

    A first commit that was killed, or found the disk full, leaves a folder without a version: it
    holds nothing that anybody could read.
    """
    return any(path.glob("_versions/*.manifest"))


def open_dataset(path: Path) -> Dataset:
    """Opens a dataset at its newest version.

    Raises:
        StoreError: it is damaged, or no dataset.
    """
    module = lance()
    with saying_what_failed(f"to open {path}", path):
        return module.dataset(
            str(path), index_cache_size_bytes=CACHE_BYTES, metadata_cache_size_bytes=CACHE_BYTES
        )


@contextmanager
def saying_what_failed(asked: str, read: Path | None = None) -> Generator[None]:
    """Turns what Lance and the disk raise into a StoreError; what was committed before stays.

    Args:
        asked: what is done meanwhile.
        read: the dataset that is only read: where that fails, it is damaged.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        full = is_full(error)
        if full:
            next_step = "free some space and run the same command again: what is written stays"
        elif read:
            next_step = (
                f"`omnibind store verify {read.parent}` says what can be read; delete {read}, and "
                "the next `omnibind bind` makes its rows again"
            )
        else:
            next_step = "`omnibind store verify DIR` says what can be read"
        raise StoreError(
            asked,
            found=f"{'the disk is full: ' if full else ''}{type(error).__name__}: {_first(error)}",
            next_step=next_step,
        ) from error


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
