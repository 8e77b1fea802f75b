"""A store as it is read: which modalities and columns there are, and rows by position.

FOLDER/<modality>.lance   id, source, metadata, one float16 column an encoder and revision
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from omnibind.errors import StoreError
from omnibind.store.columns import Column, Entry, rows_in, unusable
from omnibind.store.ids import IdIndex, packed
from omnibind.store.lance import Dataset, is_dataset, open_dataset, saying_what_failed

__all__ = ["ENDING", "Store"]

ENDING = ".lance"
SCAN_ITEMS = 8192
NAME = re.compile(r"\w[\w-]*")


class Store:
    """Rows of a store, as it was when they were first asked for.

    Positions run from 0 in the order in which items were written, and never change.

    Args:
        folder: where the datasets are; it need not be there, and has no modality then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, Dataset] = {}

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """Those that have a dataset, sorted."""
        found = sorted(self.folder.glob(f"*{ENDING}"))
        return tuple(p.stem for p in found if NAME.fullmatch(p.stem) and is_dataset(p))

    def dataset(self, modality: str) -> Dataset:
        """The dataset of a modality.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        if modality not in self.modalities:
            raise StoreError(
                f"the {modality} rows of the store {self.folder}",
                found=f"rows of {', '.join(self.modalities) or 'nothing'}",
                next_step="make them with `omnibind bind ... --stage embed`, or correct the folder",
            )
        if modality not in self._open:
            self._open[modality] = open_dataset(self.folder / f"{modality}{ENDING}")
        return self._open[modality]

    def count(self, modality: str) -> int:
        """Items of a modality."""
        return int(self.dataset(modality).count_rows())

    def columns(self, modality: str) -> Mapping[str, Column]:
        """Encoder key -> its column."""
        found = {field.name: Column.of_field(field) for field in self.dataset(modality).schema}
        return {c.key: c for name, c in found.items() if c and c.name == name}  # others: unfinished

    def column(self, modality: str, key: str) -> Column:
        """The column of an encoder.

        Raises:
            StoreError: there is none.
        """
        columns = self.columns(modality)
        if key not in columns:
            raise StoreError(
                f"the {modality} rows of the encoder {key!r} in {self.folder}",
                found=f"rows of {', '.join(sorted(columns)) or 'no encoder'}",
                next_step="encode its pool: `omnibind bind ... --stage embed`",
            )
        return columns[key]

    def take(
        self, modality: str, key: str, positions: Int64[Tensor, " item"]
    ) -> Float[Tensor, "item dim"]:
        """Rows of some items, float32, unit norm, in the order asked for.

        Raises:
            StoreError: no such column or position, an item without a row of this encoder, or a
                row that is damaged: the store takes none without a direction, so it was one.
        """
        column = self.column(modality, key)
        unique, where = np.unique(positions.cpu().numpy(), return_inverse=True)
        self._refuse_positions(modality, unique)
        with self._reading(modality):
            table = self.dataset(modality).take(unique.tolist(), columns=[column.name])
        rows, there = rows_in(table.column(column.name).combine_chunks())
        if not there.all():
            raise self._without_row(modality, key, int(unique[~there][0]))
        made = torch.from_numpy(rows)
        if (broken := unusable(made)).any():
            raise self.damaged(modality, key, unique[broken.numpy()])
        return F.normalize(made[torch.from_numpy(where)], dim=-1)

    def entry(self, modality: str, position: int) -> Entry:
        """Id, source and metadata of one item."""
        facts = ["id", "source", "metadata"]
        with self._reading(modality):
            (found,) = self.dataset(modality).take([position], columns=facts).to_pylist()
        return Entry(**found)

    def index(self, modality: str) -> IdIndex:
        """Positions by id; empty for a modality without a dataset."""
        return IdIndex.of([self.digests(modality)] if modality in self.modalities else [])

    def digests(self, modality: str) -> NDArray[Any]:
        """Ids of all items, `[item]` of 16 bytes each, in the order of positions."""
        batches = self.batches(modality, ["id"])
        parts = [packed(batch.column("id").to_pylist()) for batch in batches]
        return np.concatenate([np.empty(0, "S16"), *parts])

    def whole(self, modality: str, keys: Iterator[str] | list[str]) -> NDArray[np.bool_]:
        """Which items have a row of every one of these encoders, `[item]`."""
        names = [self.column(modality, key).name for key in keys]
        parts = [np.empty(0, np.bool_)]
        for batch in self.batches(modality, names):
            valid = [np.asarray(batch.column(name).is_valid()) for name in names]
            parts.append(np.logical_and.reduce(valid))
        return np.concatenate(parts)

    def batches(self, modality: str, columns: list[str]) -> Iterator[Any]:
        """Arrow batches of some columns, in the order of positions.

        Raises:
            StoreError: a file that is damaged.
        """
        with self._reading(modality):
            yield from self.dataset(modality).to_batches(
                columns=columns, batch_size=SCAN_ITEMS, batch_readahead=2, scan_in_order=True
            )

    def damaged(self, modality: str, key: str, positions: NDArray[np.int64]) -> StoreError:
        """What to raise where rows have no direction: the store takes none, so they had one."""
        return StoreError(
            f"the {modality} rows of {key!r} in {self.folder}",
            found=f"NaN, infinity or only zeros in {len(positions)} of those that were read, the "
            f"first at position {positions[0]}",
            next_step=f"`omnibind store verify {self.folder}` lists all; `omnibind store drop "
            f"{self.folder} {key}`, and the next `omnibind bind` makes them again",
        )

    def _reading(self, modality: str) -> AbstractContextManager[None]:
        path = self.folder / f"{modality}{ENDING}"
        return saying_what_failed(f"to read {path}", path)

    def _refuse_positions(self, modality: str, unique: NDArray[np.int64]) -> None:
        count = self.count(modality)
        if len(unique) and (unique[0] < 0 or unique[-1] >= count):
            raise StoreError(
                f"the {modality} items {unique[0]} to {unique[-1]} of {self.folder}",
                found=f"items 0 to {count - 1}",
                next_step="the pairs belong to another store: run the stage `pair` again",
            )

    def _without_row(self, modality: str, key: str, position: int) -> StoreError:
        return StoreError(
            f"a row of the encoder {key!r} for the {modality} item {position}",
            found=f"none: it could not encode {self.entry(modality, position).source[:200]!r}",
            next_step=f"leave the item out, or `omnibind store drop {self.folder} {key}` and "
            "encode the pool again",
        )
