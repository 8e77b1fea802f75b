"""Threads that prepare items, interactive callers' before bulk ones'."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from queue import PriorityQueue

from omnibind.engine.batching import Priority
from omnibind.engine.threads import use_processors

__all__ = ["Workers"]

Task = Callable[[], object]


class Workers:
    """A fixed number of daemon threads, started at the first task.

    Args:
        count: threads.
        on_exit: called in each of them when it ends.
    """

    def __init__(self, count: int, on_exit: Callable[[], None] | None = None) -> None:
        self.count = count
        self._on_exit = on_exit
        self._tasks: PriorityQueue[tuple[int, int, Task | None]] = PriorityQueue()
        self._order = itertools.count(1)
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()

    def submit(self, priority: Priority, task: Task) -> None:
        """Has a task done after those of its priority that came before; it must not raise."""
        with self._guard:
            if not self._threads:
                self._threads = [
                    threading.Thread(
                        target=_work,
                        args=(self._tasks, self._on_exit),
                        name=f"omnibind-prepare-{number}",
                        daemon=True,
                    )
                    for number in range(self.count)
                ]
                for thread in self._threads:
                    thread.start()
        self._tasks.put((int(priority), next(self._order), task))

    def close(self) -> None:
        """Ends the threads once the tasks that they are at are done."""
        with self._guard:
            for _ in self._threads:
                self._tasks.put((-1, 0, None))
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
            self._threads = []


def _work(
    tasks: PriorityQueue[tuple[int, int, Task | None]], on_exit: Callable[[], None] | None
) -> None:
    use_processors(1)
    while (task := tasks.get()[2]) is not None:
        task()
        del task  # and what hangs on it, while this thread waits
    if on_exit:
        on_exit()
