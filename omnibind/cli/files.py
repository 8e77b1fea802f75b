"""Which files of a recipe are on this machine, and how the others get here."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omnibind.cli.recipe_facts import WeightsFile
from omnibind.errors import WeightsError

__all__ = ["FoundFile", "fetch", "look"]


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file of a recipe: where it is, or why it is not.

    Attributes:
        file: what it is for, and its reference.
        path: None when it could not be found.
        bytes: its size.
        reason: why there is no path.
    """

    file: WeightsFile
    path: Path | None
    bytes: int
    reason: str = ""


def fetch(
    files: Sequence[WeightsFile], before: Callable[[WeightsFile], None] | None = None
) -> tuple[FoundFile, ...]:
    """Downloads what is missing and verifies every checksum; one that fails is listed.

    Args:
        files: see `recipe_facts.files_of`.
        before: called with each file before it is looked for.
    """
    from omnibind.weights import locate

    found: list[FoundFile] = []
    for file in files:
        if before:
            before(file)
        try:
            path = locate(file.reference)
            found.append(FoundFile(file=file, path=path, bytes=path.stat().st_size))
        except WeightsError as error:
            found.append(FoundFile(file=file, path=None, bytes=0, reason=str(error)))
    return tuple(found)


def look(files: Sequence[WeightsFile]) -> tuple[FoundFile, ...]:
    """The same without any download."""
    with _offline():
        return fetch(files)


@contextmanager
def _offline() -> Generator[None]:
    before = os.environ.get("OMNIBIND_OFFLINE")
    os.environ["OMNIBIND_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMNIBIND_OFFLINE"]
        else:
            os.environ["OMNIBIND_OFFLINE"] = before
