"""Items that could not be used: a line of JSON each, written as they turn up."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from omnibind.writing import saying_no_room

__all__ = ["ErrorLog"]


class ErrorLog:
    """Use it in a `with`; with its first line it takes the place of an earlier run's.

    So a run that is refused before it reads an item leaves the list as it was.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._file: IO[str] | None = None

    def __enter__(self) -> ErrorLog:
        """Writes nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        if self._file:
            with suppress(OSError):  # what has not been written by now has been refused
                self._file.close()

    def add(self, modality: str, source: str, stage: str, reason: str) -> None:
        """Notes one item."""
        self.counts[modality] += 1
        line: dict[str, Any] = {"modality": modality, "source": source}
        line |= {"stage": stage, "reason": reason}
        with saying_no_room(self.path):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", encoding="utf-8")
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
