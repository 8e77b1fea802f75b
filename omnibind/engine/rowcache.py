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
SPARE = 20
"""One of so many rows goes when the table is full, so that the next ones find room (ours)."""


class RowCache:
    """A bounded table of float32 rows, shared by threads and, in a file, by processes.

    Losing it costs time, never rows: a damaged file is put aside with a warning, and a row that
    cannot be kept (a full disk) is only not kept.

    Args:
        path: the SQLite file; its folder is made. None keeps the rows in memory.
        limit: rows kept; the oldest go first. Of processes that share a file, each may add a
            few more than that before it looks again.
    """

    def __init__(self, path: Path | None = None, *, limit: int = 200_000) -> None:
        self.path, self.limit = path, limit
        self._lock = threading.Lock()
        self._room = 0
        if path is None:
            self._db = self._open(":memory:")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = self._open(path)
        except sqlite3.DatabaseError as error:
            aside = path.with_suffix(f".damaged-{time.time_ns()}")
            path.rename(aside)
            warnings.warn(f"row cache {path}: {error}; moved to {aside.name}", stacklevel=2)
            self._db = self._open(path)

    def _open(self, place: Path | str) -> sqlite3.Connection:
        database = sqlite3.connect(place, timeout=30, check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.executescript(SCHEMA)
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
            warnings.warn(
                f"row cache {self.path or 'in memory'}: {error}; computing the row", stacklevel=2
            )
            return None
        return torch.from_numpy(np.frombuffer(found[0], dtype="<f4").copy()) if found else None

    def put(self, rows: dict[bytes, Tensor]) -> None:
        """Keeps rows."""
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
            warnings.warn(
                f"row cache {self.path or 'in memory'}: {error}; rows not kept", stacklevel=2
            )

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
