"""Writes rows into a store: in whole batches, each there or not there whatever happens.

A batch is one atomic commit of Lance, so a kill costs the batch being written and nothing else.
Small fragments are merged and old versions deleted as the store grows.

FOLDER/<modality>.<column>.lance   rows of a column that is being added to items already there
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from omnibind.errors import StoreError
from omnibind.store.columns import FACTS, Column, Entry, as_stored, rows_in, unusable
from omnibind.store.ids import IdIndex, packed
from omnibind.store.lance import is_dataset, lance, open_dataset, saying_what_failed
from omnibind.store.lock import only_writer
from omnibind.store.store import ENDING, NAME, Store

__all__ = ["Writer"]

MERGE_EVERY = 64
"""Batches after which small fragments become one (ours)."""
FRAGMENT_ITEMS = 131_072
"""Items of a merged fragment (ours): few files at 10 million items, little to rewrite."""
ROWS = Mapping[Column, Float[Tensor, "item dim"]]


class Writer:
    """Use it in a `with`: nobody else can write the store meanwhile.

    Args:
        folder: of the store; made if it is not there.

    Raises:
        StoreError: somebody else is writing it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._index: dict[str, IdIndex] = {}
        self._added: dict[str, set[bytes]] = {}
        self._writes = 0

    def __enter__(self) -> Writer:
        """Takes the store for this process."""
        lance()
        self._stack.enter_context(only_writer(self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        """Lets others in."""
        self._stack.close()

    @property
    def store(self) -> Store:
        """What is written so far."""
        return Store(self.folder)

    def expect(self, modality: str, columns: Sequence[Column]) -> None:
        """Refuses a store whose rows other revisions of these encoders have made.

        Raises:
            StoreError: with each encoder that has changed.
        """
        there = self.store.columns(modality) if modality in self.store.modalities else {}
        changed = [
            (there[c.key], c)
            for c in columns
            if c.key in there and there[c.key].identity != c.identity
        ]
        if changed:
            raise StoreError(
                f"to add {modality} rows to the store {self.folder}",
                found=[
                    f"rows of {old.key!r} made by {_version(old)}; it is now {_version(new)}"
                    for old, new in changed
                ],
                next_step=f"`omnibind store drop {self.folder} {changed[0][1].key}` to encode "
                "again, or choose another folder",
            )

    def find(self, modality: str, ids: Sequence[str]) -> NDArray[np.int64]:
        """Positions of ids: -1 where nothing is known, -2 for those written by this writer."""
        digests = packed(ids)
        found = self._known(modality).find(digests)
        added = self._added.setdefault(modality, set())
        new = np.fromiter((d in added for d in map(bytes.fromhex, ids)), np.bool_, len(ids))
        return np.where(new, -2, found)

    def write(self, modality: str, entries: Sequence[Entry], rows: ROWS) -> None:
        """Appends items with their rows, in one commit.

        Args:
            modality: which dataset.
            entries: items that are not in the store yet.
            rows: a row for each item, by column; other columns of the dataset stay empty.

        Raises:
            StoreError: an item twice, a row without direction, a column of another revision,
                or a disk that is full; nothing of the batch is written then.
        """
        if not entries:
            return
        self.expect(modality, list(rows))
        self._refuse_repeated(modality, entries)
        for column, made in rows.items():
            self._refuse_unusable(column, made, [entry.source for entry in entries])
        facts = [[getattr(entry, name) for entry in entries] for name, _ in FACTS]
        arrays = [pa.array(values, kind) for values, (_, kind) in zip(facts, FACTS, strict=True)]
        self._add_empty(modality, list(rows))
        self._append(self._path(modality), arrays, FACTS, rows)
        self._added.setdefault(modality, set()).update(bytes.fromhex(e.id) for e in entries)
        self._writes += 1
        if self._writes % MERGE_EVERY == 0:
            self.merge(modality)

    def fill(
        self, modality: str, column: Column, ids: Sequence[str], rows: Float[Tensor, "item dim"]
    ) -> None:
        """Keeps rows for items that are there without them, beside the dataset (see `settle`)."""
        self._refuse_unusable(column, rows, ids)
        facts = FACTS[:1]
        path = self._filling(modality, column)
        self._append(path, [pa.array(ids, pa.string())], facts, {column: rows})
        self._writes += 1
        if self._writes % MERGE_EVERY == 0:
            _merge(path)

    def filled(self, modality: str, column: Column) -> NDArray[np.int64]:
        """Positions of the items whose rows `fill` has kept so far."""
        found = self._known(modality).find(self._kept(modality, column).digests)
        return found[found >= 0]

    def settle(self, modality: str, column: Column) -> None:
        """Moves what `fill` has kept into the dataset: one new column in place of the old one."""
        self.finish(modality, column)
        side = self._filling(modality, column)
        if is_dataset(side):
            with saying_what_failed(f"to add the column {column.name!r} to {self._path(modality)}"):
                self._add_column(modality, column)
            self.finish(modality, column)

    def finish(self, modality: str, column: Column) -> None:
        """Ends what a writer that was killed while it settled a column has begun.

        What `fill` has kept for a column that nobody has begun to settle stays beside the dataset:
        a column that is there is one that was filled to its end.
        """
        path, fresh = self._path(modality), _fresh(column)
        dataset = open_dataset(path)
        if fresh not in dataset.schema.names:
            return
        with saying_what_failed(f"to add the column {column.name!r} to {path}"):
            if Column.of_field(dataset.schema.field(fresh)) != column:  # of another revision
                dataset.drop_columns([fresh])
                return
            if column.name in dataset.schema.names:
                dataset.drop_columns([column.name])
            dataset.alter_columns({"path": fresh, "name": column.name})
        _remove(self._filling(modality, column))
        self.merge(modality)

    def drop(self, modality: str, key: str) -> None:
        """Deletes the rows of an encoder."""
        column = self.store.column(modality, key)
        dataset = open_dataset(self._path(modality))
        names = [name for name in (column.name, _fresh(column)) if name in dataset.schema.names]
        with saying_what_failed(f"to drop the column {column.name!r}"):
            dataset.drop_columns(names)
        _remove(self._filling(modality, column))
        self.merge(modality)

    def merge(self, modality: str) -> None:
        """Makes few files of many, and deletes versions that nobody needs."""
        _merge(self._path(modality))

    def _add_empty(self, modality: str, columns: Sequence[Column]) -> None:
        path = self._path(modality)
        if is_dataset(path):
            dataset = open_dataset(path)
            new = [c.field() for c in columns if c.name not in dataset.schema.names]
            if new:
                with saying_what_failed(f"to add columns to {path}"):
                    dataset.add_columns(pa.schema(new))

    def _append(
        self, path: Path, arrays: list[Any], facts: Sequence[tuple[str, Any]], rows: ROWS
    ) -> None:
        arrays = [*arrays, *(column.array(made) for column, made in rows.items())]
        fields = [pa.field(name, kind) for name, kind in facts]
        schema = pa.schema([*fields, *(column.field() for column in rows)])
        table = pa.Table.from_arrays(arrays, schema=schema)
        with saying_what_failed(f"to write {len(table)} rows to {path}"):
            there = is_dataset(path)
            if not there:
                shutil.rmtree(path, ignore_errors=True)  # what a first commit left that never was
            lance().write_dataset(table, str(path), mode="append" if there else "create")

    def _add_column(self, modality: str, column: Column) -> None:
        """Writes the column in the order of positions, then hands it to Lance in one commit.

        Lance must not be called while it reads from us; hence the file between.
        """
        fresh = _fresh(column)
        dataset, path = open_dataset(self._path(modality)), self.folder / f"{fresh}.arrow"
        try:
            with pa.OSFile(str(path), "wb") as file:
                schema = pa.schema([column.field().with_name(fresh)])
                with pa.ipc.new_stream(file, schema) as stream:
                    for array in self._coalesced(modality, column):
                        stream.write_batch(pa.RecordBatch.from_arrays([array], schema=schema))
            with pa.memory_map(str(path)) as file:
                dataset.add_columns(pa.ipc.open_stream(file))
        finally:
            path.unlink(missing_ok=True)

    def _coalesced(self, modality: str, column: Column) -> Iterator[Any]:
        """What `fill` has kept for each item, else the row it has, else nothing."""
        store, side = self.store, open_dataset(self._filling(modality, column))
        index = self._kept(modality, column)
        old = [column.name] if column.name in store.dataset(modality).schema.names else []
        for batch in store.batches(modality, ["id", *old]):
            rows = np.zeros((len(batch), column.dim), np.float32)
            there = np.zeros(len(batch), np.bool_)
            if old:
                rows, there = rows_in(batch.column(column.name))
            at = index.find(packed(batch.column("id").to_pylist()))
            found = at >= 0
            if found.any():
                taken = side.take(at[found].tolist(), columns=[column.name])
                rows[found], _ = rows_in(taken.column(column.name).combine_chunks())
            yield as_stored(rows, there | found)

    def _kept(self, modality: str, column: Column) -> IdIndex:
        """Where in what `fill` has kept an item's row is."""
        path = self._filling(modality, column)
        if not is_dataset(path):
            return IdIndex.of([])
        with saying_what_failed(f"to read {path}", path):
            batches = open_dataset(path).to_batches(columns=["id"], scan_in_order=True)
            return IdIndex.of(packed(batch.column("id").to_pylist()) for batch in batches)

    def _known(self, modality: str) -> IdIndex:
        if modality not in self._index:
            self._index[modality] = self.store.index(modality)
        return self._index[modality]

    def _path(self, modality: str) -> Path:
        if not NAME.fullmatch(modality):
            raise StoreError(
                f"a dataset for the modality {modality!r}",
                found="a name that is no file name",
                next_step="rename the modality in its plugin: letters, digits, _ and -",
            )
        return self.folder / f"{modality}{ENDING}"

    def _filling(self, modality: str, column: Column) -> Path:
        return self.folder / f"{modality}.{column.name}.{column.fingerprint}{ENDING}"

    def _refuse_repeated(self, modality: str, entries: Sequence[Entry]) -> None:
        ids = [entry.id for entry in entries]
        known = self.find(modality, ids) != -1
        first = {i: at for at, i in reversed(list(enumerate(ids)))}
        for at, entry in enumerate(entries):
            if known[at] or first[entry.id] != at:
                raise StoreError(
                    f"to add the {modality} item {entry.source[:200]!r} to {self.folder}",
                    found=f"its content, {entry.id}, is there already",
                    next_step="leave the second one out",
                )

    def _refuse_unusable(self, column: Column, rows: Tensor, names: Sequence[str]) -> None:
        if rows.shape != (len(names), column.dim):
            raise StoreError(
                f"rows [{len(names)}, {column.dim}] of the encoder {column.key!r}",
                found=str(list(rows.shape)),
                next_step="give one row an item",
            )
        bad = torch.nonzero(unusable(rows)).flatten().tolist()
        if bad:
            raise StoreError(
                f"rows of the encoder {column.key!r} for {len(names)} items",
                found=[f"NaN, infinity or only zeros for {names[at][:200]!r}" for at in bad[:5]],
                next_step="leave these items out, or mend the encoder",
            )


def _fresh(column: Column) -> str:
    """The name of a column that is about to take its place."""
    return f"{column.name}@new"


def _remove(path: Path) -> None:
    """Deletes a dataset: a kill in the middle leaves none that could not be read."""
    shutil.rmtree(path / "_versions", ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def _merge(path: Path) -> None:
    dataset = open_dataset(path)
    with saying_what_failed(f"to merge the fragments of {path}"):
        dataset.optimize.compact_files(target_rows_per_fragment=FRAGMENT_ITEMS, num_threads=1)
        open_dataset(path).cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)


def _version(column: Column) -> str:
    return f"revision {column.revision} (fingerprint {column.fingerprint})"
