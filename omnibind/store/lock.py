"""One writer a store: a lock that a killed process lets go of, and the number of who holds it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from omnibind.errors import StoreError

__all__ = ["only_writer"]


@contextmanager
def only_writer(folder: Path, what: str = "to write the store") -> Generator[None]:
    """Keeps other writers out of a folder.

    Args:
        folder: made if it is not there.
        what: somebody wants to do, in the message to whoever comes second.

    Raises:
        StoreError: another process, or another writer of this one, is writing it; or a file stands
            where the folder, or one above it, should be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(place for place in (folder, *folder.parents) if place.exists())
        raise StoreError(
            f"{what} {folder}",
            found=f"{file} is a file",
            next_step="choose another folder, or move that file away",
        ) from error
    who = folder / ".writer"
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        holder = who.read_text() if who.is_file() else "unknown"
        raise StoreError(
            f"{what} {folder}",
            found=f"the process {holder} is writing it now",
            next_step="wait until it has ended, or choose another folder",
        ) from error
    try:
        who.write_text(str(os.getpid()))
        yield
    finally:
        who.unlink(missing_ok=True)
        lock.release()
