"""Threads that prepare items, interactive callers' before bulk ones'."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from functools import partial
from queue import Empty, PriorityQueue
from statistics import median

from omnibind.engine.floor import Floor
from omnibind.engine.requests import Priority
from omnibind.engine.threads import use_processors

__all__ = ["Workers"]

Task = Callable[[], object]
Queued = tuple[int, int, str, Task | None]
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
        self._tasks: PriorityQueue[Queued] = PriorityQueue()
        self._quick: PriorityQueue[Queued] = PriorityQueue()
        self._turns: set[Priority] = set()
        self._order = itertools.count(1)
        self._paces: defaultdict[str, _Pace] = defaultdict(_Pace)
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()

    def submit(self, priority: Priority, task: Task, kind: str = "") -> None:
        """Has a task done after those of its priority that came before; it must not raise.

        Args:
            priority: of the caller.
            task: what is to be done.
            kind: tasks of one kind take about as long.
        """
        queued = (int(priority), next(self._order), kind, task)
        with self._guard:
            if not self._threads:
                self._start()
            if self._floor is None or not self._paces[kind].quick:
                self._tasks.put(queued)
                return
            self._quick.put(queued)
            self._ask_for_a_turn(priority, self._floor)

    def close(self) -> None:
        """Ends the threads once the tasks that they are at are done."""
        with self._guard:
            threads, self._threads = self._threads, []
            for _ in threads:
                self._tasks.put((-1, 0, "", None))
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._work, name=f"omnibind-prepare-{number}", daemon=True)
            for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        use_processors(1)
        while (queued := self._tasks.get())[3] is not None:
            self._do(queued)
            del queued  # and what hangs on it, while this thread waits
        if self._on_exit:
            self._on_exit()

    def _do(self, queued: Queued) -> None:
        _, _, kind, task = queued
        assert task is not None
        wall, processor = time.monotonic(), time.thread_time()
        task()
        self._paces[kind].add(time.monotonic() - wall, time.thread_time() - processor)

    def _ask_for_a_turn(self, priority: Priority, floor: Floor) -> None:
        """Under the guard: one turn waits for each priority that has quick tasks."""
        if priority not in self._turns:
            self._turns.add(priority)
            turn = partial(self._turn, priority, floor)
            self._tasks.put((int(priority), next(self._order), TURNS, turn))

    def _turn(self, priority: Priority, floor: Floor) -> None:
        """Does quick tasks for a while, those of interactive callers first."""
        with floor.alone():
            ends = time.monotonic() + TURN
            while time.monotonic() < ends:
                try:
                    self._do(self._quick.get_nowait())
                except Empty:
                    break
        with self._guard:
            self._turns.discard(priority)
            if not self._quick.empty():
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
