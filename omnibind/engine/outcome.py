"""How a call of `encode` ends: with rows, or early, with those that it has by then."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from omnibind.engine.requests import Caller
from omnibind.errors import ItemFailure

__all__ = ["Cancel", "Cancelled", "Encoded", "Interrupted"]


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


class Cancel:
    """Ends the calls that it was given to, when it is called, from any thread."""

    def __init__(self) -> None:
        self._asked = False
        self._calls: weakref.WeakSet[Caller] = weakref.WeakSet()

    def __call__(self) -> None:
        """Ends them, and those to come."""
        self._asked = True
        for call in tuple(self._calls):
            call.stop(Cancelled())

    def watch(self, call: Caller) -> None:
        """Ends this one too."""
        self._calls.add(call)
        if self._asked:
            call.stop(Cancelled())
