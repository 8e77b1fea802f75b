"""Which samples run together, and when: requests of every caller become batches by encoder."""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator

from omnibind.engine.interrupts import Condition
from omnibind.engine.requests import (
    PATIENCE,
    Batch,
    Caller,
    Limits,
    Priority,
    Request,
    Runner,
)

__all__ = ["Batcher"]

PART = 8
"""Items that a batch keeps when it is shared with idle threads: fewer gain nothing (ours)."""

Bin = tuple[str, Priority, int]
"""Encoder key, priority, length bucket: what may run together."""


class Batcher:
    """Requests that wait, and the rule that forms batches of them.

    Samples are together when encoder, priority and length (as a power of two bytes) agree, whoever
    sent them; callers take turns. A batch is ready when it is full, when nothing more is coming
    for its encoder or from its callers, or when a request has waited for `latency` that is
    interactive, or whose caller sends no more for its encoder: others may take long with theirs.
    Batches of a single caller and modality do not depend on the pace of threads; those of several
    callers are shared by the threads of a CPU that have nothing else to do. Of several that are
    ready: interactive before bulk, resident encoders before those to be loaded, full ones before
    others, then the longest wait; who has lost patience goes before everybody.

    Args:
        limits: see there.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._changed = Condition()
        self._bins: dict[Bin, _Waiting] = {}
        self._coming: dict[int, Counter[str]] = {}
        self._idle: Counter[int] = Counter()
        self._nbytes = 0
        self._closed = False
        self._broken: BaseException | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all samples that wait."""
        return self._nbytes

    def crowded(self, priority: Priority) -> bool:
        """Whether callers should hold back; interactive ones not for what bulk ones have sent."""
        most = self.limits.waiting
        return self._nbytes >= (2 * most if priority is Priority.INTERACTIVE else most)

    def waiting(self) -> Counter[str]:
        """Requests that wait, by encoder."""
        with self._changed:
            found: Counter[str] = Counter()
            for (key, _, _), waiting in self._bins.items():
                found[key] += waiting.count
            return found

    def idle(self, runner: Runner) -> int:
        """Threads of a runner that wait for a batch."""
        return self._idle[id(runner)]

    def expect(self, caller: Caller, keys: Iterable[str]) -> None:
        """Says that a caller is about to put a sample for each of these encoders."""
        with self._changed:
            self._coming.setdefault(id(caller), Counter()).update(keys)

    def put(
        self,
        requests: Iterable[Request],
        *,
        caller: Caller | None = None,
        expected: Iterable[str] = (),
    ) -> None:
        """Adds requests, and takes back what the caller had said to expect.

        Runners look again when a bin is new or full, or nothing more is coming for an encoder:
        from anybody, or from this caller, unless it is interactive, and runners look by themselves.
        """
        listed, over = list(requests), list(expected)
        with self._changed:
            self._arrived(caller, over)
            broken = self._broken
            small = any(request.priority is Priority.INTERACTIVE for request in listed)
            through = caller is not None and not small
            news = any(
                not self._is_coming(key) or (through and not self._sends(caller, key))
                for key in over
            )
            for request in [] if broken else listed:
                where = (request.spec.key, request.priority, request.bucket)
                waiting = self._bins.get(where) or _Waiting()
                waiting.add(request)
                self._bins[where] = waiting
                self._nbytes += request.nbytes
                news = news or waiting.count == 1 or self._full(waiting, self.limits.items)
            if news or not over:
                self._changed.notify_all()
        if broken:
            _stop(listed, broken)

    def take(self, runner: Runner) -> Batch | None:
        """Waits for a batch that the runner may run; None once everything is closed."""
        with self._changed:
            while not self._closed:
                where, pause = self._next(runner)
                if where is not None:
                    batch = self._pull(where, runner)
                    if batch is not None:
                        return batch
                    continue
                self._idle[id(runner)] += 1
                self._changed.wait(pause)
                self._idle[id(runner)] -= 1
            return None

    def withdraw(self, caller: Caller) -> None:
        """Forgets the requests of a caller, and what it has said to expect.

        What is counted is counted anew: the caller may have been interrupted while it counted.
        """
        with self._changed:
            self._coming.pop(id(caller), None)
            for where, waiting in list(self._bins.items()):
                waiting.drop(caller)
                if not waiting.callers:
                    del self._bins[where]
            self._nbytes = sum(waiting.nbytes for waiting in self._bins.values())
            self._changed.notify_all()

    def nudge(self) -> None:
        """Lets runners look again: what they may run has changed."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Sends all runners home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self, error: BaseException) -> None:
        """Tells everybody who waits, and who comes later, that a runner broke down."""
        with self._changed:
            self._broken = error
            left = [r for waiting in self._bins.values() for r in waiting.turns()]
            self._bins.clear()
            self._nbytes = 0
        self.close()
        _stop(left, error)

    def _arrived(self, caller: Caller | None, keys: Iterable[str]) -> None:
        coming = self._coming.get(id(caller))
        if coming is not None:
            coming.subtract(keys)
            if not any(coming.values()):
                del self._coming[id(caller)]

    def _is_coming(self, key: str) -> bool:
        """Whether any caller is about to put a sample for an encoder."""
        return any(coming[key] > 0 for coming in self._coming.values())

    def _next(self, runner: Runner) -> tuple[Bin | None, float | None]:
        """The bin to run next, or how long to wait for one."""
        now, resident = time.monotonic(), runner.resident
        best: tuple[tuple[bool, int, bool, bool, float], Bin] | None = None
        pause = math.inf
        for where, waiting in self._bins.items():
            key, priority, _ = where
            if not runner.runs(key):
                continue
            age = now - waiting.oldest
            full = self._full(waiting, runner.limit(key))
            due = self._due(where, waiting)
            if full or due <= now or not (waiting.more or self._is_coming(key)):
                restless = age >= PATIENCE[priority]
                rank = (not restless, int(priority), key not in resident, not full, waiting.oldest)
                best = min(best, (rank, where)) if best else (rank, where)
            else:
                pause = min(pause, due - now)
        return (best[1], None) if best else (None, None if pause == math.inf else pause)

    def _due(self, where: Bin, waiting: _Waiting) -> float:
        """From when on it runs though more may come, in s of `time.monotonic`."""
        key, priority, _ = where
        if priority is Priority.INTERACTIVE:
            return waiting.oldest + self.limits.latency
        through = [r for r in waiting.heads if not (r.caller.more or self._sends(r.caller, key))]
        return min((request.since for request in through), default=math.inf) + self.limits.latency

    def _sends(self, caller: Caller | None, key: str) -> bool:
        """Whether a caller is about to put a sample for an encoder."""
        coming = self._coming.get(id(caller))
        return coming is not None and coming[key] > 0

    def _full(self, waiting: _Waiting, most: int) -> bool:
        return waiting.count >= most or waiting.nbytes >= self.limits.nbytes

    def _pull(self, where: Bin, runner: Runner) -> Batch | None:
        waiting, most = self._bins[where], runner.limit(where[0])
        share = self._share(waiting, min(waiting.count, most), runner)
        taken: list[Request] = []
        room = self.limits.nbytes
        oldest = waiting.oldest
        for request in waiting.turns():
            self._nbytes -= request.nbytes
            if request.caller.wants(request):
                taken.append(request)
                room -= request.nbytes
            if len(taken) >= share or room <= 0:
                break
        if not waiting.callers:
            del self._bins[where]
        elif runner.side_by_side:
            self._changed.notify_all()
        if not taken:
            return None
        now = time.monotonic()
        return Batch(
            spec=taken[0].spec,
            requests=taken,
            waited=now - oldest,
            queued=sum(now - request.since for request in taken),
            fill=len(taken) / most if room > 0 else 1.0,
        )

    def _share(self, waiting: _Waiting, count: int, runner: Runner) -> int:
        """Of so many items, what one thread takes while others have nothing to do."""
        if not runner.side_by_side or waiting.callers == 1:
            return count
        return max(min(count, PART), math.ceil(count / (1 + self.idle(runner))))


def _stop(requests: Iterable[Request], error: BaseException) -> None:
    """Not under the batcher's lock: callers have one of their own."""
    for caller in {id(request.caller): request.caller for request in requests}.values():
        caller.stop(error)


class _Waiting:
    """The requests of one bin, by caller, in their order."""

    def __init__(self) -> None:
        self._lines: OrderedDict[int, deque[Request]] = OrderedDict()
        self.count = 0
        self.nbytes = 0

    @property
    def oldest(self) -> float:
        return min(request.since for request in self.heads)

    @property
    def heads(self) -> list[Request]:
        """The first of each caller."""
        return [line[0] for line in self._lines.values()]

    @property
    def callers(self) -> int:
        return len(self._lines)

    @property
    def more(self) -> bool:
        return any(request.caller.more for request in self.heads)

    def add(self, request: Request) -> None:
        self.count += 1  # first: counted and not there does less harm than there and not counted
        self.nbytes += request.nbytes
        line = self._lines.get(id(request.caller))
        if line is None:
            self._lines[id(request.caller)] = deque([request])
        else:
            line.append(request)

    def turns(self) -> Iterator[Request]:
        """Takes requests out, one of each caller in turn."""
        while self._lines:
            caller, line = self._lines.popitem(last=False)
            request = line.popleft()
            if line:
                self._lines[caller] = line
            self.count -= 1
            self.nbytes -= request.nbytes
            yield request

    def drop(self, caller: Caller) -> None:
        """Takes out all of one caller."""
        self._lines.pop(id(caller), None)
        left = [request.nbytes for line in self._lines.values() for request in line]
        self.count, self.nbytes = len(left), sum(left)
