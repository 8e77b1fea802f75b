"""Rows of items seen before, by the content of the item and the weights of the encoder."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["RowCache"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    key BLOB PRIMARY KEY, row BLOB NOT NULL, kept INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_by_age ON rows (kept);
"""
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Errors for which the file is at fault, and not what is around it."""
WAIT = 30.0
"""Seconds for another process to let go of the file (ours)."""
SPARE = 20
"""One of so many rows goes when the table is full, so that the next ones find room (ours)."""


class RowCache:
    """A bounded table of float32 rows, shared by threads and, in a file, by processes.

    Losing it costs time, never rows. A damaged file is put aside with a warning, whenever that
    shows; one that cannot be used (no such folder, another process that keeps it locked, a full
    disk) stays as it is: nothing is kept then, or a row is only not kept.

    Args:
        path: the SQLite file; its folder is made. None keeps the rows in memory.
        limit: rows kept; the oldest go first. Of processes that share a file, each may add a
            few more than that before it looks again.
    """

    def __init__(self, path: Path | None = None, *, limit: int = 200_000) -> None:
        self.path, self.limit = path, limit
        self._lock = threading.Lock()
        self._room = 0
        self._keeps = True
        self._db = self._open(":memory:") if path is None else self._of_file(path)

    def _of_file(self, path: Path) -> sqlite3.Connection:
        """The table in a file, in a new one where that is damaged; where there is none, nowhere."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._open(path)
            except sqlite3.DatabaseError as error:
                if _code(error) not in (*DAMAGE, sqlite3.SQLITE_ERROR):  # no table like ours
                    raise
                _put_aside(path, error)
                return self._open(path)
        except (OSError, sqlite3.DatabaseError) as error:
            warnings.warn(f"row cache {path}: {error}; no rows are kept", stacklevel=3)
            self._keeps = False
            return self._open(":memory:")

    def _open(self, place: Path | str) -> sqlite3.Connection:
        database = sqlite3.connect(place, timeout=WAIT, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(SCHEMA)
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def key(encoder: str, digest: bytes) -> bytes:
        """The cache key of an encoder's identity (key, revision, size, weights) and an item."""
        return hashlib.sha256(encoder.encode() + b"\0" + digest).digest()

    def get(self, key: bytes) -> Tensor | None:
        """The row of a key, `[dim]`, or None."""
        try:
            with self._lock:
                found = self._db.execute("SELECT row FROM rows WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as error:
            self._failed(error, "computing the row")
            return None
        return torch.from_numpy(np.frombuffer(found[0], dtype="<f4").copy()) if found else None

    def put(self, rows: dict[bytes, Tensor]) -> None:
        """Keeps rows."""
        if not self._keeps:
            return
        now = time.time_ns()
        values = [
            (key, row.detach().float().cpu().numpy().astype("<f4").tobytes(), now)
            for key, row in rows.items()
        ]
        try:
            with self._lock, self._db:
                self._db.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", values)
                self._trim(len(values))
        except sqlite3.DatabaseError as error:
            self._failed(error, "rows not kept")

    def _failed(self, error: sqlite3.DatabaseError, so: str) -> None:
        """Says what follows from an error; where that is damage, later rows get a sound file."""
        warnings.warn(f"row cache {self.path or 'in memory'}: {error}; {so}", stacklevel=3)
        if self.path is None or _code(error) not in DAMAGE:
            return
        with self._lock:
            self._db.close()
            self._db = self._of_file(self.path)  # another process may have put the old one aside
            if _is_sound(self._db):
                return
            self._db.close()
            _put_aside(self.path, error)
            self._db = self._of_file(self.path)

    def _trim(self, added: int) -> None:
        """Counts only when there may be too many: that reads all of an index."""
        self._room -= added
        if self._room >= 0:
            return
        count, spare = self._count(), self.limit // SPARE
        if count > self.limit:
            self._db.execute(
                "DELETE FROM rows WHERE key IN (SELECT key FROM rows ORDER BY kept LIMIT ?)",
                (count - self.limit + spare,),
            )
            count = self.limit - spare
        self._room = min(self.limit - count, max(1, spare))

    def _count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM rows").fetchone()[0])

    def __len__(self) -> int:
        """Rows kept."""
        with self._lock:
            return self._count()

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._db.close()


def _code(error: sqlite3.DatabaseError) -> int:
    """SQLite's own number, without what it adds; 0 where Python was first to object."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_sound(database: sqlite3.Connection) -> bool:
    try:
        return database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.DatabaseError:
        return False


def _put_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    """Renames a damaged file; those beside it, which are parts of it, go.

    Raises:
        OSError: it cannot be renamed.
    """
    aside = path.with_suffix(f".damaged-{time.time_ns()}")
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    warnings.warn(f"row cache {path}: {error}; moved to {aside.name}", stacklevel=4)
