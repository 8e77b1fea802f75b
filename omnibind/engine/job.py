"""One call of `encode`: admits items a few at a time, gathers rows and failures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from omnibind.engine.batching import Batcher
from omnibind.engine.forward import shapes_of
from omnibind.engine.interrupts import Condition
from omnibind.engine.items import Item
from omnibind.engine.outcome import Encoded
from omnibind.engine.prepare import Prepared, failure_of
from omnibind.engine.report.stats import Recorder
from omnibind.engine.requests import Priority, Request
from omnibind.engine.workers import Workers
from omnibind.errors import ItemFailure
from omnibind.specs import EncoderSpec

__all__ = ["Job", "OnDone", "Parts"]

PREPARING = ""
"""Stands among an item's encoders while it is decoded and preprocessed."""
OnDone = Callable[[Item], None]
Prepare = Callable[[Item, Sequence[EncoderSpec]], Prepared]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of an engine that a job uses.

    Attributes:
        prepare: decodes and preprocesses one item.
        workers: do that.
        batcher: takes the samples.
        stats: counts.
        spool: bytes of samples that a job may keep for the encoders of its later groups.
    """

    prepare: Prepare
    workers: Workers
    batcher: Batcher
    stats: Recorder
    spool: int


class Job:
    """Runs some items through encoders, group after group.

    All encoders of a group see an item before it leaves. Where they fit on the devices together
    there is one group. Where they do not, the loop is turned round: all items go through the first
    group, then through the next, so that weights are moved once; samples for later groups are kept
    while there is room, and made again where there is not.

    Args:
        parts: of the engine.
        encoders: modality -> cards by key.
        priority: of this caller.
        window: items under way at once.
        on_done: called in the caller's thread, once an item, in their order.
    """

    def __init__(
        self,
        parts: Parts,
        encoders: Mapping[str, Mapping[str, EncoderSpec]],
        *,
        priority: Priority,
        window: int,
        on_done: OnDone | None,
    ) -> None:
        self._parts, self._encoders = parts, encoders
        self._priority, self._window, self._on_done = priority, window, on_done
        self._specs = {key: spec for by_key in encoders.values() for key, spec in by_key.items()}
        self._rows: dict[str, dict[int, Tensor]] = {key: {} for key in self._specs}
        self._items: dict[int, Item] = {}
        self._failures: dict[int, ItemFailure] = {}
        self._left: dict[int, set[str]] = {}
        self._untold: deque[Item] = deque()
        self._order: deque[int] = deque()
        self._made: dict[int, tuple[list[Request], set[str]]] = {}
        self._open = self._roomy = True
        self._spool: dict[int, dict[str, Request]] = {}
        self._spooled = 0
        self._error: BaseException | None = None
        self._changed = Condition()

    def run(
        self, items: Iterable[Item], groups: Sequence[Sequence[str]], before: Callable[[int], None]
    ) -> Encoded:
        """Encodes the items.

        Args:
            items: taken one by one where there is one group, else listed.
            groups: encoder keys.
            before: told of each group that is next, by its number.

        Raises:
            SetupError: an encoder cannot be built, or gives rows of the wrong shape.
            Exception: what it was stopped with.
        """
        listed = items if len(groups) == 1 else list(items)
        for number, group in enumerate(groups):
            before(number)
            later = {key for others in groups[number + 1 :] for key in others}
            self._open = True
            for item in listed:
                self._admit(item, set(group), later, first=number == 0)
                self._tell(last=not later)
            self._open = False
            self._parts.batcher.nudge()  # others may share a bin with a failed item's sample
            self._wait(lambda: not self._left)
            self._tell(last=not later)
        return self.encoded()

    def leave(self, error: BaseException) -> None:
        """Takes back all that it has under way, which nobody waits for any more.

        May be called again, where an interrupt came in the middle.
        """
        self.stop(error)
        self._parts.batcher.withdraw(self)

    def encoded(self) -> Encoded:
        """The rows of all items that are through."""
        with self._changed:
            good: dict[str, list[int]] = {modality: [] for modality in self._encoders}
            for index in sorted(self._items.keys() - self._failures.keys()):
                modality = self._items[index].modality.name
                if all(index in self._rows[key] for key in self._encoders.get(modality, ())):
                    good.setdefault(modality, []).append(index)
            rows = {
                key: _stacked([self._rows[key][i] for i in good[modality]], spec.dim)
                for modality, by_key in self._encoders.items()
                for key, spec in by_key.items()
            }
            return Encoded(
                rows=rows,
                indices={modality: tuple(indices) for modality, indices in good.items()},
                failures=tuple(self._failures[i] for i in sorted(self._failures)),
            )

    def keep(self, requests: Sequence[Request], rows: Sequence[Tensor]) -> None:
        """Takes the rows of a batch."""
        with self._changed:
            for request, row in zip(requests, rows, strict=True):
                left, key = self._left.get(request.index), request.spec.key
                if left is not None:
                    self._rows[key][request.index] = row
                    left.discard(key)
                    self._answered(request.index, left)

    def fail(self, request: Request, error: Exception) -> None:
        """Takes the reason why there is no row."""
        note = f" ({request.spec.key}: {shapes_of(request.sample)})"
        with self._changed:
            item = self._items[request.index]
            self._failed(failure_of(item, f"encode by {request.spec.key}", error, note))

    def stop(self, error: BaseException) -> None:
        """Ends the call with an error, which is raised in the caller's thread."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def wants(self, request: Request) -> bool:
        """Whether the item has not failed, and the call not ended."""
        return self._error is None and request.index in self._left

    @property
    def more(self) -> bool:
        """Whether there are items that are not under way yet, and room for them."""
        return self._open and self._error is None and self._has_room()

    def _admit(self, item: Item, group: set[str], later: set[str], *, first: bool) -> None:
        """Sends an item to the encoders of a group, when there is room for it."""
        index, batcher = item.index, self._parts.batcher
        failed = not first and index in self._failures
        if not failed:
            self._wait(self._has_room)
        if not later:
            self._untold.append(item)
        if failed:
            return
        by_key = self._encoders.get(item.modality.name, {})
        with self._changed:
            due = {k for k in by_key if k in group and index not in self._rows[k]}
            ready = self._unspool(index, due) if self._spool else []
            missing = due - {request.spec.key for request in ready}
            prepared = {PREPARING} if missing or first else set[str]()
            if due or prepared:
                self._left[index] = due | prepared
            if prepared:
                self._order.append(index)
            if first:
                self._items[index] = item
                self._parts.stats.item(item.modality.name)
            self._note_room()
        if ready:
            batcher.put(ready)
        if prepared:
            ahead = later if self._spooled < self._parts.spool else set[str]()
            specs = [spec for key, spec in by_key.items() if key in missing or key in ahead]
            batcher.expect(self, missing)
            task = partial(self._prepare, item, specs, missing)
            self._parts.workers.submit(self._priority, task, item.modality.name)

    def _has_room(self) -> bool:
        crowded = self._parts.batcher.crowded
        return not self._left or (self._roomy and not crowded(self._priority))

    def _note_room(self) -> None:
        """Whether few items are under way, and not too many through before one that is not.

        Once there is no room, a third of it has to be free: items are let in by the batch.
        """
        waits = bool(self._untold) and self._untold[0].index in self._left
        through = len(self._untold) if waits else 0
        most = self._window - 1 if self._roomy else self._window - self._window // 3
        self._roomy = len(self._left) <= most and through < 2 * self._window

    def _prepare(self, item: Item, specs: Sequence[EncoderSpec], expected: set[str]) -> None:
        """In a worker: makes the samples of an item; those for later groups are spooled."""
        requests: list[Request] = []
        try:
            if self._error is None:
                made = self._parts.prepare(item, specs)
                self._parts.stats.prepared(made.decoding, made.preprocessing)
                requests = self._sort_in(item, made, specs, expected)
        except BaseException as error:  # noqa: BLE001 - raised where the rows are waited for
            self.stop(error)
        finally:
            self._put_in_order(item.index, requests, expected)

    def _put_in_order(self, index: int, requests: list[Request], expected: set[str]) -> None:
        """Sends samples on in the order of their items, whichever thread was faster."""
        batcher = self._parts.batcher
        with self._changed:
            self._made[index] = (requests, expected)
            while self._order and self._order[0] in self._made:
                ready, over = self._made.pop(self._order.popleft())
                batcher.put(ready, caller=self, expected=over)

    def _sort_in(
        self, item: Item, made: Prepared, specs: Sequence[EncoderSpec], expected: set[str]
    ) -> list[Request]:
        index = item.index
        with self._changed:
            if made.failure:
                self._failed(made.failure)
                return []
            for key, row in made.rows.items():
                self._rows[key][index] = row
                self._parts.stats.encoder(key, cached=1)
            requests = [
                Request(
                    caller=self,
                    index=index,
                    spec=spec,
                    sample=made.samples[spec.key],
                    cache_key=made.cache_keys.get(spec.key, b""),
                    priority=self._priority,
                )
                for spec in specs
                if spec.key in made.samples
            ]
            for request in requests:
                if request.spec.key not in expected:
                    self._spool.setdefault(index, {})[request.spec.key] = request
                    self._spooled += request.nbytes
            left = self._left.get(index)
            if left is not None:
                left -= {PREPARING, *made.rows}
                self._answered(index, left)
        return [request for request in requests if request.spec.key in expected]

    def _unspool(self, index: int, due: set[str]) -> list[Request]:
        kept = self._spool.get(index, {})
        ready = [kept.pop(key) for key in due & kept.keys()]
        self._spooled -= sum(request.nbytes for request in ready)
        for request in ready:
            request.since = time.monotonic()
        return ready

    def _answered(self, index: int, left: set[str]) -> None:
        """Lets an item go for which nothing is left to be done."""
        if not left:
            del self._left[index]
            self._count(self._items[index])
            self._note_room()
            if not self._left or self._roomy:
                self._changed.notify_all()

    def _count(self, item: Item) -> None:
        """Counts an item that has the rows of all groups."""
        keys = self._encoders.get(item.modality.name, ())
        if all(item.index in self._rows[key] for key in keys):
            self._parts.stats.through(item.modality.name)

    def _failed(self, failure: ItemFailure) -> None:
        if failure.index not in self._failures:
            self._failures[failure.index] = failure
            self._parts.stats.failure()
            self._left.pop(failure.index, None)
            spooled = self._spool.pop(failure.index, {})
            self._spooled -= sum(request.nbytes for request in spooled.values())
            self._note_room()
            self._changed.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        """Waits in the caller's thread; whoever waits for more of this caller looks again."""
        if until():
            if self._error is not None:
                raise self._error
            return
        self._parts.batcher.nudge()
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or until())
            if self._error is not None:
                raise self._error

    def _tell(self, *, last: bool) -> None:
        """Tells of items that are through, in their order."""
        if not last:
            return
        told: list[Item] = []
        with self._changed:
            while self._untold and self._untold[0].index not in self._left:
                told.append(self._untold.popleft())
            self._note_room()
        if self._on_done:
            for item in told:
                self._on_done(item)


def _stacked(rows: list[Tensor], dim: int) -> Tensor:
    return torch.stack(rows) if rows else torch.empty(0, dim)
