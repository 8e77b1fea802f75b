"""Threads that prepare items, interactive callers' before bulk ones' that can wait."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from statistics import median

from omnibind.engine.floor import Floor
from omnibind.engine.requests import PATIENCE, Priority
from omnibind.engine.threads import start_missing, use_processors

__all__ = ["Workers"]

Task = Callable[[], object]
Queued = tuple[float, str, Task]
"""Since when it waits (s of `time.monotonic`), its kind, and what is to be done."""
QUICK = 0.001
"""Seconds below which a kind of task is done many at once, by one thread (ours)."""
TURNS = "turns"
"""The kind of task that does many quick ones."""
TURN = 0.01
"""Seconds that this thread goes on with them before forwards have their turn (ours)."""


class Workers:
    """A fixed number of daemon threads, started at the first task.

    Tasks of a kind that is quick are done by one thread at a time, many in a turn, with the floor.
    While some have lost patience, every other task that is begun is one of these.

    Args:
        count: threads.
        on_close: called when no more is to be begun, before the threads are waited for.
        on_exit: called in each of them when it ends.
        floor: None where tasks are done elsewhere, so that none is quick.
    """

    def __init__(
        self,
        count: int,
        on_close: Callable[[], None] | None = None,
        on_exit: Callable[[], None] | None = None,
        floor: Floor | None = None,
    ) -> None:
        self.count = count
        self._on_close, self._on_exit, self._floor = on_close, on_exit, floor
        self._tasks, self._quick = _Lines(), _Lines()
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._turns: set[Priority] = set()
        self._paces: defaultdict[str, _Pace] = defaultdict(_Pace)
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()

    def submit(self, priority: Priority, task: Task, kind: str = "") -> None:
        """Has a task done after those of its priority that came before; it must not raise.

        Once closed, nothing is done any more.

        Args:
            priority: of the caller.
            task: what is to be done.
            kind: tasks of one kind take about as long.
        """
        queued = (time.monotonic(), kind, task)
        with self._guard:
            if self._closed:
                return
            start_missing(self._threads, self.count, self._work, "omnibind-prepare")
            if self._floor is None or not self._paces[kind].quick:
                self._add(priority, queued)
                return
            self._quick.add(priority, queued)
            self._ask_for_a_turn(priority, self._floor)

    def close(self) -> None:
        """Ends the threads once the tasks that they are at are done."""
        with self._guard:
            self._closed = True
            self._tasks.clear()
            self._quick.clear()
            self._calls.put(None)
        if self._on_close:
            self._on_close()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _add(self, priority: Priority, queued: Queued) -> None:
        """Under the guard. Calls a thread first: an interrupt then leaves one called for nothing.

        A queue of Python's with priorities would be left locked.
        """
        self._calls.put(None)
        self._tasks.add(priority, queued)

    def _work(self) -> None:
        use_processors(1)
        while (queued := self._next()) is not None:
            self._do(queued)
            del queued  # and what hangs on it, while this thread waits
        if self._on_exit:
            self._on_exit()

    def _next(self) -> Queued | None:
        """Waits for a task; None at the end."""
        while True:
            self._calls.get()
            with self._guard:
                if self._closed:
                    self._calls.put(None)  # for the next thread
                    return None
                if queued := self._tasks.take():
                    return queued

    def _do(self, queued: Queued) -> None:
        _, kind, task = queued
        wall, processor = time.monotonic(), time.thread_time()
        task()
        self._paces[kind].add(time.monotonic() - wall, time.thread_time() - processor)

    def _ask_for_a_turn(self, priority: Priority, floor: Floor) -> None:
        """Under the guard: one turn waits for each priority that has quick tasks."""
        if priority not in self._turns:
            turn = partial(self._turn, priority, floor)
            self._add(priority, (self._quick.since(priority), TURNS, turn))
            self._turns.add(priority)  # not before: it would never be asked for again

    def _turn(self, priority: Priority, floor: Floor) -> None:
        """Does quick tasks for a while, those of interactive callers first."""
        with floor.alone():
            ends = time.monotonic() + TURN
            while time.monotonic() < ends:
                with self._guard:
                    queued = self._quick.take()
                if queued is None:
                    break
                self._do(queued)
                del queued
        with self._guard:
            self._turns.discard(priority)
            if not self._closed:
                for waiting in self._quick.waiting:
                    self._ask_for_a_turn(waiting, floor)


class _Lines:
    """Tasks that wait, a line for each priority."""

    def __init__(self) -> None:
        self._lines: dict[Priority, deque[Queued]] = {one: deque() for one in Priority}
        self._in_turn = True

    def add(self, priority: Priority, queued: Queued) -> None:
        """Puts a task at the end of its line."""
        self._lines[priority].append(queued)

    def take(self) -> Queued | None:
        """Takes the next one: of the first line, or every other time the most impatient one."""
        now = time.monotonic()
        late = {p: now - self.since(p) - PATIENCE[p] for p in self.waiting}
        if not late:
            return None
        latest = max(late, key=late.__getitem__)
        yields = self._in_turn and late[latest] >= 0
        self._in_turn = not yields
        return self._lines[latest if yields else min(late)].popleft()

    def since(self, priority: Priority) -> float:
        """When the first of a line that is not empty came."""
        return self._lines[priority][0][0]

    @property
    def waiting(self) -> list[Priority]:
        """Priorities of which there are tasks, the first one first."""
        return [priority for priority, line in self._lines.items() if line]

    def clear(self) -> None:
        """Forgets all of them."""
        for line in self._lines.values():
            line.clear()


class _Pace:
    """How long the last tasks of a kind took."""

    def __init__(self) -> None:
        self.quick = False
        self._walls: deque[float] = deque(maxlen=8)
        self._processors: deque[float] = deque(maxlen=8)

    def add(self, wall: float, processor: float) -> None:
        """Wall and processor seconds: the former are long where threads wait for one another."""
        self._walls.append(wall)
        self._processors.append(processor)
        self.quick = min(self._walls) < QUICK and median(self._processors) < QUICK
