"""Puts a whole folder in place of another; a kill in between is mended by the next call."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

__all__ = ["exchange", "finish_exchange"]

HERE = -100
"""`AT_FDCWD` of Linux: paths are read from the working directory."""
SWAP = 2
"""`RENAME_EXCHANGE` of Linux."""


def exchange(new: Path, place: Path) -> None:
    """The folder `new` takes the place of `place`; nothing is left beside it.

    On Linux the two change places at once: whoever looks finds the old one or the new one, whole.
    Elsewhere, and on file systems that cannot, there is none for a moment.
    """
    old = place.with_name(f"{place.name}.before")
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        if _swapped(new, place):
            shutil.rmtree(new, ignore_errors=True)
            return
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)


def finish_exchange(place: Path) -> None:
    """Takes back an exchange that was cut short."""
    old = place.with_name(f"{place.name}.before")
    if old.exists() and not place.exists():
        os.replace(old, place)


def _swapped(one: Path, other: Path) -> bool:
    """Whether two folders could change places in one step."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if rename is None:
        return False
    done: int = rename(HERE, os.fsencode(one), HERE, os.fsencode(other), SWAP)
    return done == 0
