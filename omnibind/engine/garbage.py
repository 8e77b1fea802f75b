"""When Python looks for garbage: where networks are loaded, not in the middle of a later call."""

from __future__ import annotations

import gc
import threading

__all__ = ["Garbage"]

WORTH = 0.05
"""Share of all objects that must be new for a pass of ours (ours)."""


class Garbage:
    """Has Python's collector take in new networks while somebody waits for them anyway.

    Python passes over all objects when those that are new and have stayed are a quarter of those
    that it has seen, and every thread stands still for it (0.3 s for 500,000 objects). Loading a
    recipe may end just below that, and the pass then hits whoever calls next. A pass of ours at
    the end of the call that has loaded starts the count anew.
    """

    def __init__(self) -> None:
        self._seen = _objects()
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
                if _objects() > self._seen * (1 + WORTH):
                    gc.collect()
                    self._seen = _objects()


def _objects() -> int:
    return len(gc.get_objects())
