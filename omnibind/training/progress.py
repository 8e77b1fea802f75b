"""How far a stage is: a bar by label, advanced by items; who draws it, it does not know.

`progress(label, total)` is a context that gives `advance(count, total)`: so many more are done, of
so many. Items that turn out to need no work leave the total instead of speeding the bar up, so that
the time left is estimated from work only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["Advance", "Progress", "Talk", "no_progress"]

Advance = Callable[..., None]
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
Talk = Callable[[str], None]


@contextmanager
def no_progress(label: str, total: int | None = None) -> Generator[Advance]:
    """Draws nothing."""

    def advance(count: int, total: int | None = None) -> None: ...

    yield advance
