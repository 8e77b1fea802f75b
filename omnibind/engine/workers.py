"""Threads that prepare items, interactive callers' before bulk ones'."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from queue import SimpleQueue
from statistics import median

from omnibind.engine.floor import Floor
from omnibind.engine.requests import Priority
from omnibind.engine.threads import start_missing, use_processors

__all__ = ["Workers"]

Task = Callable[[], object]
Queued = tuple[int, int, str, Task]
"""Priority, number, kind, and what is to be done."""
QUICK = 0.001
"""Seconds below which a kind of task is done many at once, by one thread (ours)."""
TURNS = "turns"
"""The kind of task that does many quick ones."""
TURN = 0.01
"""Seconds that this thread goes on with them before forwards have their turn (ours)."""


class Workers:
    """A fixed number of daemon threads, started at the first task.

    Tasks of a kind that is quick are done by one thread at a time, many in a turn, with the floor.

    Args:
        count: threads.
        on_exit: called in each of them when it ends.
        floor: None where tasks are done elsewhere, so that none is quick.
    """

    def __init__(
        self,
        count: int,
        on_exit: Callable[[], None] | None = None,
        floor: Floor | None = None,
    ) -> None:
        self.count = count
        self._on_exit, self._floor = on_exit, floor
        self._tasks: list[Queued] = []
        self._quick: list[Queued] = []
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        self._turns: set[Priority] = set()
        self._order = itertools.count(1)
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
        queued = (int(priority), next(self._order), kind, task)
        with self._guard:
            if self._closed:
                return
            start_missing(self._threads, self.count, self._work, "omnibind-prepare")
            if self._floor is None or not self._paces[kind].quick:
                self._add(queued)
                return
            heappush(self._quick, queued)
            self._ask_for_a_turn(priority, self._floor)

    def close(self) -> None:
        """Ends the threads once the tasks that they are at are done."""
        with self._guard:
            self._closed = True
            self._tasks.clear()
            self._quick.clear()
            self._calls.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _add(self, queued: Queued) -> None:
        """Under the guard. Calls a thread first: an interrupt then leaves one called for nothing.

        A queue of Python's with priorities would be left locked.
        """
        self._calls.put(None)
        heappush(self._tasks, queued)

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
                if self._tasks:
                    return heappop(self._tasks)

    def _do(self, queued: Queued) -> None:
        _, _, kind, task = queued
        wall, processor = time.monotonic(), time.thread_time()
        task()
        self._paces[kind].add(time.monotonic() - wall, time.thread_time() - processor)

    def _ask_for_a_turn(self, priority: Priority, floor: Floor) -> None:
        """Under the guard: one turn waits for each priority that has quick tasks."""
        if priority not in self._turns:
            turn = partial(self._turn, priority, floor)
            self._add((int(priority), next(self._order), TURNS, turn))
            self._turns.add(priority)  # not before: it would never be asked for again

    def _turn(self, priority: Priority, floor: Floor) -> None:
        """Does quick tasks for a while, those of interactive callers first."""
        with floor.alone():
            ends = time.monotonic() + TURN
            while time.monotonic() < ends:
                with self._guard:
                    queued = heappop(self._quick) if self._quick else None
                if queued is None:
                    break
                self._do(queued)
                del queued
        with self._guard:
            self._turns.discard(priority)
            if self._quick and not self._closed:
                self._ask_for_a_turn(priority, floor)


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
