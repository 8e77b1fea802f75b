"""What waits for an encoder and for whom, what runs together, and who runs it."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, runtime_checkable

from torch import Tensor

from omnibind.specs import EncoderSpec

__all__ = ["PATIENCE", "Batch", "Caller", "Limits", "Priority", "Request", "Runner", "Sample"]

Sample = dict[str, Tensor]


class Priority(IntEnum):
    """Who goes first."""

    INTERACTIVE = 0
    BULK = 1


PATIENCE = {Priority.INTERACTIVE: 1.0, Priority.BULK: 5.0}
"""Seconds after which who waits is not held back by others of whatever priority (ours)."""


@runtime_checkable
class Caller(Protocol):
    """Whom a row is for: takes rows and errors of its requests, in any thread."""

    def keep(self, requests: Sequence[Request], rows: Sequence[Tensor]) -> None:
        """Takes a row `[dim]` for each of some requests."""
        ...

    def fail(self, request: Request, error: Exception) -> None:
        """Learns why there is no row."""
        ...

    def stop(self, error: BaseException) -> None:
        """Learns that nothing of it can go on."""
        ...

    def wants(self, request: Request) -> bool:
        """Whether the row is still of use."""
        ...

    @property
    def more(self) -> bool:
        """Whether it is about to send more."""
        ...


@dataclass(kw_only=True, eq=False, slots=True)
class Request:
    """One sample that waits for one encoder.

    Attributes:
        caller: whom the row is for.
        index: of the item, for the caller.
        spec: of the encoder.
        sample: what `preprocess` made.
        cache_key: under which the row is remembered; empty for not at all.
        priority: of the caller.
        since: when it was put, in s of `time.monotonic`.
    """

    caller: Caller
    index: int
    spec: EncoderSpec
    sample: Sample
    cache_key: bytes
    priority: Priority
    since: float = field(default_factory=time.monotonic)
    nbytes: int = field(init=False)
    bucket: int = field(init=False)

    def __post_init__(self) -> None:
        sizes = [tensor.nbytes for tensor in self.sample.values()]
        self.nbytes = sum(sizes)
        self.bucket = max(sizes, default=0).bit_length()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Requests of one encoder that run together.

    Attributes:
        waited: seconds that the oldest has waited.
        queued: seconds that each has waited, added up.
        fill: share of the places that are taken.
    """

    spec: EncoderSpec
    requests: Sequence[Request]
    waited: float
    queued: float
    fill: float

    @property
    def nbytes(self) -> int:
        """Bytes of its samples."""
        return sum(request.nbytes for request in self.requests)


@runtime_checkable
class Runner(Protocol):
    """Who asks for batches: one device."""

    def runs(self, key: str) -> bool:
        """Whether it is to run this encoder."""
        ...

    def limit(self, key: str) -> int:
        """Items it can take at once."""
        ...

    @property
    def resident(self) -> Collection[str]:
        """Encoders that need not be loaded first."""
        ...

    @property
    def side_by_side(self) -> bool:
        """Whether two parts of a batch in two of its threads are done sooner than the whole."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a batch is complete. All ours.

    Attributes:
        items: in a batch.
        nbytes: of the samples of a batch. On a CPU small ones are faster: what a batch makes on its
            way then stays in the processor's caches.
        latency: seconds that an interactive request waits for company while more is coming.
        waiting: bytes of all samples that wait; bulk callers are held back beyond it, interactive
            ones beyond twice as many.
    """

    items: int = 32
    nbytes: int = 256 << 20
    latency: float = 0.005
    waiting: int = 1 << 30
