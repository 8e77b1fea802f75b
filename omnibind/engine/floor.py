"""Who computes in Python now: forwards side by side, or a thread with many small things to do."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Floor"]

PATIENCE = 0.01
"""Seconds that somebody who wants the floor alone waits for forwards to end (ours)."""
LONG = 0.1
"""Seconds after which nobody waits any more for who has the floor alone (ours)."""


class Floor:
    """Keeps threads apart that would only pass Python's lock to and fro.

    Each operation of torch gives the lock away and asks for it again. Beside a thread that runs
    Python all the time, both wait for the lock far longer than they hold it: two threads that make
    tokens take twice as long as one. Long forwards hold nobody up: after `PATIENCE` the other goes
    ahead beside them. Nor does one huge text among the small ones, after `LONG`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._asking = 0
        self._taken = 0

    @contextmanager
    def shared(self) -> Generator[None]:
        """Takes it together with others of this kind, once nobody has or wants it alone.

        After `LONG` beside these.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._asking, LONG)
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Takes it alone; after `PATIENCE` beside who shares it, after `LONG` beside another."""
        with self._changed:
            self._asking += 1
            self._changed.wait_for(lambda: not self._taken, LONG)
            self._taken += 1
            self._changed.wait_for(lambda: not self._sharing, PATIENCE)
        try:
            yield
        finally:
            with self._changed:
                self._asking -= 1
                self._taken -= 1
                self._changed.notify_all()
