"""How a call of `encode` ends: with rows, or early, with those that it has by then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from omnibind.engine.requests import Caller
from omnibind.errors import ItemFailure, SetupError

__all__ = ["Cancel", "Cancelled", "Closed", "Encoded", "Interrupted"]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Rows of the items that could be encoded.

    Attributes:
        rows: encoder key -> `[item, dim]`, in the order of `indices` of its modality.
        indices: modality -> positions of the good items in the caller's list.
        failures: the others, each with its stage and reason.
    """

    rows: Mapping[str, Tensor]
    indices: Mapping[str, tuple[int, ...]]
    failures: tuple[ItemFailure, ...]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a call.

    Attributes:
        done: what the call would have given, of the items that were through by then.
    """

    def __init__(self, done: object) -> None:
        super().__init__()
        self.done = done


class Cancelled(Exception):
    """A call that another thread has ended.

    Attributes:
        done: as of `Interrupted`.
    """

    def __init__(self, done: object = None) -> None:
        super().__init__("cancelled")
        self.done = done


class Closed(SetupError):
    """An engine that was closed, before a call or in the middle of it.

    Attributes:
        done: as of `Interrupted`.
    """

    def __init__(self, done: object = None) -> None:
        super().__init__(
            "to encode",
            found="an engine that is closed",
            next_step="load the model again (`omnibind.load`), or make another engine",
        )
        self.done = done


class Cancel:
    """Ends the calls that it was given to, when it is called, from any thread.

    Args:
        error: what they end with.
    """

    def __init__(self, error: Callable[[], Cancelled | Closed] = Cancelled) -> None:
        self.asked = False
        self._error = error
        self._calls: set[Caller] = set()
        self._guard = threading.Lock()

    def __call__(self) -> None:
        """Ends them, and those to come."""
        with self._guard:
            self.asked = True
            calls = tuple(self._calls)
        for call in calls:
            call.stop(self._error())

    def watch(self, call: Caller) -> None:
        """Ends this one too, until it is left alone."""
        with self._guard:
            self._calls.add(call)
            asked = self.asked
        if asked:
            call.stop(self._error())

    def leave(self, call: Caller) -> None:
        """Leaves a call alone, which has ended."""
        with self._guard:
            self._calls.discard(call)
