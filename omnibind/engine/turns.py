"""Whose forward runs beside whose: all side by side, or one that needs all of the memory."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Turns"]


class Turns:
    """The forwards of one device's threads; who wants to be alone is waited for by new ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = self._asking = 0

    @contextmanager
    def shared(self) -> Generator[None]:
        """A turn beside others of this kind."""
        with self._changed:
            self._changed.wait_for(lambda: not self._asking)
            self._running += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self) -> Generator[None]:
        """A turn beside nobody."""
        with self._changed:
            self._asking += 1
            self._changed.wait_for(lambda: not self._running)
            self._running += 1
        try:
            yield
        finally:
            self._leave(asked=1)

    def _leave(self, asked: int = 0) -> None:
        with self._changed:
            self._running -= 1
            self._asking -= asked
            self._changed.notify_all()
