"""Where omnibind keeps what it can make or get again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder of downloads and rows: `OMNIBIND_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("OMNIBIND_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omnibind"
