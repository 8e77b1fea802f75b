"""What an engine has done so far, counted while it works."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["EncoderStats", "LaneStats", "Recorder", "Stats"]


@dataclass(frozen=True, kw_only=True)
class EncoderStats:
    """One encoder's share.

    Attributes:
        items: rows that it made.
        cached: rows that were known and not made again.
        failed: items that it could not encode.
        batches: forwards.
        batched: items in these; `items` and `failed` follow when they are through.
        places: items that these could have held.
        seconds: in forwards, with moving the batch there and the rows back.
        waited: seconds that the oldest request of each batch had waited, added up.
        queued: seconds that each request had waited, added up.
        sample_bytes: bytes of the samples that it was given.
        split: batches that failed as a whole and were tried in parts.
    """

    items: int = 0
    cached: int = 0
    failed: int = 0
    batches: int = 0
    batched: int = 0
    places: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    queued: float = 0.0
    sample_bytes: int = 0
    split: int = 0

    @property
    def fill(self) -> float:
        """Mean share of a batch's places that were taken; 0 before the first."""
        return self.batched / self.places if self.places else 0.0

    @property
    def queue_seconds(self) -> float:
        """Mean seconds that an item waited for its batch; 0 before the first."""
        return self.queued / self.batched if self.batched else 0.0

    @property
    def item_seconds(self) -> float:
        """Mean seconds of a forward for one of its items; 0 before the first."""
        return self.seconds / through if (through := self.items + self.failed) else 0.0

    @property
    def cached_share(self) -> float:
        """Rows that were known, of all rows; 0 before the first."""
        return self.cached / rows if (rows := self.items + self.cached) else 0.0

    def since(self, before: EncoderStats) -> EncoderStats:
        """What was added after an earlier moment."""
        added = {f.name: getattr(self, f.name) - getattr(before, f.name) for f in fields(self)}
        return EncoderStats(**added)


@dataclass(frozen=True, kw_only=True)
class LaneStats:
    """One device.

    Attributes:
        name: `cpu`, `cuda:0`, ...
        budget: bytes that weights may take; None is without bound.
        resident: encoders that are there now.
        resident_bytes: of the device that each of these takes, activations not counted.
        loads: how often each encoder's weights went there.
        moved: bytes of these.
        evicted: how often weights had to make room.
    """

    name: str
    budget: int | None
    resident: tuple[str, ...]
    resident_bytes: Mapping[str, int]
    loads: Mapping[str, int]
    moved: Mapping[str, int]
    evicted: int


@dataclass(frozen=True, kw_only=True)
class Stats:
    """All of it, at one moment.

    Attributes:
        seconds: since the engine was made.
        items: that callers gave, by modality. What is neither done nor failed is under way, or was
            given up with a call that ended early.
        done: of these, those that have all their rows.
        failed: of all items, those that cannot have them.
        decoded: times that an item was decoded; more than `items` where a job had to be turned
            round and its samples did not fit into memory.
        decoding: seconds of all workers in decoding.
        preprocessing: seconds of all workers in preprocessing.
        replaced: worker processes that died.
        waiting: requests that wait now, by encoder.
        waiting_bytes: bytes of their samples.
        encoders: by key.
        lanes: by device.
    """

    seconds: float
    items: Mapping[str, int]
    done: Mapping[str, int]
    failed: int
    decoded: int
    decoding: float
    preprocessing: float
    replaced: int
    waiting: Mapping[str, int]
    waiting_bytes: int
    encoders: Mapping[str, EncoderStats]
    lanes: tuple[LaneStats, ...]


@dataclass
class Recorder:
    """Counts; any thread may call."""

    began: float = field(default_factory=time.monotonic)
    items: dict[str, int] = field(default_factory=dict[str, int])
    done: dict[str, int] = field(default_factory=dict[str, int])
    counts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    failed: int = 0
    decoded: int = 0
    decoding: float = 0.0
    preprocessing: float = 0.0
    replaced: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def item(self, modality: str) -> None:
        """An item was given."""
        with self._guard:
            self.items[modality] = self.items.get(modality, 0) + 1

    def through(self, modality: str) -> None:
        """An item has all its rows."""
        with self._guard:
            self.done[modality] = self.done.get(modality, 0) + 1

    def prepared(self, decoding: float, preprocessing: float) -> None:
        """An item was decoded and preprocessed."""
        with self._guard:
            self.decoded += 1
            self.decoding += decoding
            self.preprocessing += preprocessing

    def failure(self) -> None:
        """An item has no row."""
        with self._guard:
            self.failed += 1

    def replacement(self) -> None:
        """A worker process died."""
        with self._guard:
            self.replaced += 1

    def encoder(self, key: str, **more: int | float) -> None:
        """Adds to an encoder's counts, by their names."""
        with self._guard:
            counts = self.counts.setdefault(key, {})
            for name, value in more.items():
                counts[name] = counts.get(name, 0) + value

    @property
    def encoders(self) -> dict[str, EncoderStats]:
        """Counts of each encoder, by key."""
        with self._guard:
            return {key: EncoderStats(**counts) for key, counts in self.counts.items()}

    @contextmanager
    def timed(self, key: str) -> Generator[None]:
        """Adds the time within to an encoder's seconds."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.encoder(key, seconds=time.monotonic() - began)

    def snapshot(
        self, waiting: Mapping[str, int], waiting_bytes: int, lanes: tuple[LaneStats, ...]
    ) -> Stats:
        """Everything counted so far."""
        encoders = self.encoders
        with self._guard:
            return Stats(
                seconds=time.monotonic() - self.began,
                items=dict(self.items),
                done=dict(self.done),
                failed=self.failed,
                decoded=self.decoded,
                decoding=self.decoding,
                preprocessing=self.preprocessing,
                replaced=self.replaced,
                waiting=waiting,
                waiting_bytes=waiting_bytes,
                encoders=encoders,
                lanes=lanes,
            )
