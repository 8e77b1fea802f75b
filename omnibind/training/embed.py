"""Pools -> Engine -> store: every item encoded once by every encoder, whatever stops it between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnibind.engine import Encoded, Engine, Interrupted, Item
from omnibind.errors import PoolError
from omnibind.specs import EncoderSpec, Modality
from omnibind.store import Column, Entry, Writer, column_of, unusable
from omnibind.training.errorlog import ErrorLog
from omnibind.training.pools import Pool, Survey, survey
from omnibind.training.progress import Advance, Progress
from omnibind.training.reading import ReadItem, batches_of

__all__ = ["BATCH_ITEMS", "PoolSummary", "embed_pools", "survey_all"]

BATCH_ITEMS = 1024
"""Items a batch of the store: what a kill can cost at most (ours)."""
SHOWN = 3
"""Reasons in the error of a pool without any row."""
Specs = Mapping[str, EncoderSpec]


@dataclass(frozen=True, kw_only=True)
class PoolSummary:
    """What became of the pools of one modality.

    Attributes:
        listed: items that they name.
        distinct: of these, with rows in the store, each content once.
        added: rows that this run made.
        duplicates: items whose content another one has.
        failed: items without a row; `errors.jsonl` says why.
        encoders: keys of those that have encoded them.
    """

    listed: int
    distinct: int
    added: int
    duplicates: int
    failed: int
    encoders: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For a report."""
        return {**asdict(self), "encoders": list(self.encoders)}


def survey_all(pools: Mapping[str, Sequence[Pool]]) -> dict[str, Survey]:
    """Lists all pools.

    Raises:
        PoolError: a modality whose pools list nothing.
    """
    found = {modality: survey(several) for modality, several in pools.items()}
    for modality, one in found.items():
        if not one.count:
            raise PoolError(
                f"the {modality} items of {_places(pools[modality])}",
                found="none",
                next_step="correct the path; files need an ending that the modality reads, and "
                "archives are named themselves: 'shards/*.tar'",
            )
    return found


def embed_pools(
    pools: Mapping[str, Sequence[Pool]],
    encoders: Mapping[str, Specs],
    store: Path,
    *,
    engine: Engine,
    surveys: Mapping[str, Survey],
    errors: Path,
    progress: Progress,
    batch_items: int = BATCH_ITEMS,
) -> tuple[dict[str, PoolSummary], dict[str, NDArray[np.int64]]]:
    """Encodes what has no rows yet.

    Args:
        pools: by modality.
        encoders: modality -> cards by key.
        store: the folder of the store.
        engine: runs the encoders.
        surveys: see `survey_all`.
        errors: the file for items that fail; they stop nobody else.
        progress: see `omnibind.training.progress`.
        batch_items: items a commit of the store.

    Returns:
        A summary, and the positions of the pools' items in the store, by modality.

    Raises:
        PoolError: a modality of which no item could be encoded, or none by one of its encoders.
        StoreError: the store was made by other revisions, is being written, or the disk is full.
    """
    summaries: dict[str, PoolSummary] = {}
    positions: dict[str, NDArray[np.int64]] = {}
    with Writer(store) as writer, ErrorLog(errors) as log:
        for modality, several in pools.items():
            run = _Run(
                pools=several,
                modality=several[0].modality,
                specs=encoders[modality],
                engine=engine,
                writer=writer,
                log=log,
                batch_items=batch_items,
                listed=surveys[modality].count,
            )
            run.fill_new_columns(progress)
            positions[modality] = run.add_new_items(progress)
            run.refuse_nothing(positions[modality])
            summaries[modality] = run.summary(len(positions[modality]))
    return summaries, positions


@dataclass(kw_only=True)
class _Run:
    """The pools of one modality on their way into the store."""

    pools: Sequence[Pool]
    modality: Modality
    specs: Specs
    engine: Engine
    writer: Writer
    log: ErrorLog
    batch_items: int
    listed: int
    added: int = 0
    duplicates: int = 0
    stop: Interrupted | None = None
    lacking: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    """Encoder key -> items of before without a row of it, where it is new to some of them."""
    reasons: dict[str, list[str]] = field(default_factory=dict)
    """Encoder key, or nothing where all encoders were asked -> the first reasons of failures."""
    columns: dict[str, Column] = field(init=False)

    def __post_init__(self) -> None:
        identity = self.engine.networks.identity
        self.columns = {key: column_of(spec, identity(spec)) for key, spec in self.specs.items()}
        self.writer.expect(self.modality.name, list(self.columns.values()))

    def fill_new_columns(self, progress: Progress) -> None:
        """Encodes items that are in the store by encoders that are new to it, one at a time."""
        name = self.modality.name
        if name in self.writer.store.modalities:
            for key, column in self.columns.items():
                self.writer.finish(name, column)
                missing = self._without(key)
                missing[self.writer.filled(name, column)] = False
                if missing.any():
                    self.lacking[key] = missing
                    self._fill(key, missing.copy(), progress)
                self.writer.settle(name, column)

    def add_new_items(self, progress: Progress) -> NDArray[np.int64]:
        """Encodes items that are not in the store; gives the positions of all items."""
        name = self.modality.name
        before = self._count()
        seen = np.zeros(before, np.bool_)
        with progress(f"embedding {name}", self.listed) as advance:
            left = self.listed
            for batch in batches_of(self.pools, self.batch_items, self._unread):
                there = self.writer.find(name, [item.id for item in batch])
                fresh: dict[str, ReadItem] = {}
                for item, at in zip(batch, there.tolist(), strict=True):
                    if at == -1 and item.id not in fresh:
                        fresh[item.id] = item
                    elif at < 0 or seen[at]:
                        self.duplicates += 1
                    else:
                        seen[at] = True
                left -= len(batch) - len(fresh)
                advance(0, left)
                made = self._encode(list(fresh.values()), self.specs, advance)
                self._write(*made)
                self._stop_if_asked()
        if self.added:
            self.writer.merge(name)
        return np.concatenate([np.flatnonzero(seen), np.arange(before, self._count())])

    def refuse_nothing(self, positions: NDArray[np.int64]) -> None:
        """Raises where none of the pools' items has a row, or none has one of some encoder."""
        name, where, see = self.modality.name, _places(self.pools), f"see {self.log.path}"
        if not len(positions):
            raise PoolError(
                f"{name} rows of {where}",
                found=[
                    f"{self.listed} items, none of which could be encoded; {see}",
                    *self.reasons.get("", ()),
                ],
                next_step="mend them, or correct the path",
            )
        for key, lacking in self.lacking.items():
            if positions[-1] < len(lacking) and lacking[positions].all():
                raise PoolError(
                    f"{name} rows of the encoder {key!r} for {where}",
                    found=[
                        f"none of {len(positions)} items could be encoded by it; {see}",
                        *self.reasons.get(key, ()),
                    ],
                    next_step="mend the encoder, or leave its space out; all other rows are kept",
                )

    def summary(self, distinct: int) -> PoolSummary:
        """What became of them."""
        return PoolSummary(
            listed=self.listed,
            distinct=distinct,
            added=self.added,
            duplicates=self.duplicates,
            failed=self.log.counts[self.modality.name],
            encoders=tuple(self.columns),
        )

    def _count(self) -> int:
        store = self.writer.store
        return store.count(self.modality.name) if self.modality.name in store.modalities else 0

    def _without(self, key: str) -> NDArray[np.bool_]:
        store, name = self.writer.store, self.modality.name
        if key not in store.columns(name):
            return np.ones(store.count(name), np.bool_)
        return ~store.whole(name, [key])

    def _fill(self, key: str, missing: NDArray[np.bool_], progress: Progress) -> None:
        name, column = self.modality.name, self.columns[key]
        with progress(f"embedding {name} by {key}", int(missing.sum())) as advance:
            for batch in batches_of(self.pools, self.batch_items, _ignore):
                ids = [item.id for item in batch]
                there = self.writer.find(name, ids)
                due: list[ReadItem] = []
                for item, at in zip(batch, there.tolist(), strict=True):
                    if at >= 0 and missing[at]:
                        missing[at] = False
                        due.append(item)
                items, rows = self._encode(due, {key: self.specs[key]}, advance, by=key)
                if items:
                    made = [item.id for item in items]
                    self.writer.fill(name, column, made, rows[key])
                    self.lacking[key][self.writer.find(name, made)] = False
                self._stop_if_asked()

    def _encode(
        self, batch: list[ReadItem], specs: Specs, advance: Advance, by: str = ""
    ) -> tuple[list[ReadItem], dict[str, Tensor]]:
        """Items with a row of every encoder, and these rows by key; `by` the one that is filled."""
        name = self.modality.name
        items = [
            Item(index=at, source=item.given, modality=self.modality)
            for at, item in enumerate(batch)
        ]
        try:
            encoded = self.engine.encode(items, {name: list(specs.values())}, _by_one(advance))
        except Interrupted as stop:
            self.stop, encoded = stop, cast("Encoded", stop.done)
        for failure in encoded.failures:
            self._failed(batch[failure.index].source, failure.stage, failure.reason, by)
        rows = {key: encoded.rows[key] for key in specs}
        bad = torch.stack([unusable(made) for made in rows.values()]).any(0)
        indices = encoded.indices[name]
        for at in torch.nonzero(bad).flatten().tolist():
            self._failed(batch[indices[at]].source, "encode", "a row of nothing but zeros", by)
        good = torch.nonzero(~bad).flatten()
        chosen = [batch[indices[at]] for at in good.tolist()]
        return chosen, {key: made[good] for key, made in rows.items()}

    def _stop_if_asked(self) -> None:
        """After Ctrl-C, once the rows so far are in the store."""
        if self.stop is not None:
            raise self.stop

    def _write(self, items: list[ReadItem], rows: Mapping[str, Tensor]) -> None:
        entries = [Entry(id=i.id, source=i.source, metadata=i.metadata) for i in items]
        by_column = {self.columns[key]: made for key, made in rows.items()}
        self.writer.write(self.modality.name, entries, by_column)
        self.added += len(items)

    def _unread(self, source: str, reason: str) -> None:
        self._failed(source, "read", reason)

    def _failed(self, source: str, stage: str, reason: str, by: str = "") -> None:
        self.log.add(self.modality.name, source, stage, reason)
        first = self.reasons.setdefault(by, [])
        if len(first) < SHOWN:
            said = reason.partition("\n")[0]
            first.append(f"{source[:200]}, {stage}: {said}")


def _ignore(source: str, reason: str) -> None:
    """What cannot be read is noted when new items are added."""


def _by_one(advance: Advance) -> Callable[[Item], None]:
    return lambda item: advance(1)


def _places(pools: Sequence[Pool]) -> str:
    return ", ".join(pool.where for pool in pools)
