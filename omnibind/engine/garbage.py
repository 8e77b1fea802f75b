"""When Python looks for garbage: where networks are loaded, not in the middle of a later call."""

from __future__ import annotations

import gc
import threading

__all__ = ["Garbage"]

WORTH = 20_000
"""New objects from which on a pass of ours is made: 5 % of a program's with torch in it (ours)."""


class Garbage:
    """Has Python's collector take in new networks while somebody waits for them anyway.

    Python passes over all objects when those that are new and have stayed are a quarter of those
    that it has seen, and every thread stands still for it (0.3 s for 500,000 objects). Loading a
    recipe may end just below that, and the pass then hits whoever calls next. A pass of ours at
    the end of the call that has loaded starts the count anew.
    """

    def __init__(self) -> None:
        self._seen = _made()
        self._loaded = False
        self._guard = threading.Lock()

    def loaded(self) -> None:
        """Says that something has been loaded that will stay."""
        self._loaded = True

    def settle(self) -> None:
        """Makes a pass, if enough has been loaded since the last."""
        with self._guard:
            if self._loaded:
                self._loaded = False
                if _made() > self._seen + WORTH:
                    gc.collect()
                    self._seen = _made()


def _made() -> int:
    """How many objects have been made so far, at most; those that went at once do not count.

    They are not listed to count them: `gc.get_objects` takes hold of tuples that other threads are
    at, and `tuple(...)` of a generator then ends with a SystemError there (CPython 3.11).
    """
    young = gc.get_stats()[0]["collections"]
    return young * gc.get_threshold()[0] + gc.get_count()[0]
