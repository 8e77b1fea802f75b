"""A lock to wait with that Ctrl-C cannot leave locked."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["Condition"]


class Condition(threading.Condition):
    """A `threading.Condition` for callers' threads, where Ctrl-C comes between any two steps.

    `with` enters Python's own through a function of Python's, and leaves it through another. An
    interrupt in there, with the lock taken and nobody to give it back, would keep the engine's
    threads waiting for ever. Here `with` has the lock's own methods, which are done before an
    interrupt is looked at *(so in CPython 3.11 to 3.13)*.
    """

    def __init__(self) -> None:
        self._own = threading.RLock()
        super().__init__(self._own)

    @property
    def __enter__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._own.__enter__

    @property
    def __exit__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._own.__exit__

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until notified; comes back with the lock, after an interrupt too."""
        try:
            return super().wait(timeout)
        except KeyboardInterrupt:
            if not self._own._is_owned():  # pyright: ignore  # it had just been given away
                self._own.acquire()
            raise
