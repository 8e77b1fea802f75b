"""Puts a whole folder in place of another; a kill in between is mended by the next call."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["exchange", "finish_exchange"]


def exchange(new: Path, place: Path) -> None:
    """The folder `new` takes the place of `place`; nothing is left beside it."""
    old = place.with_name(f"{place.name}.before")
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(place, old)
    os.replace(new, place)
    shutil.rmtree(old, ignore_errors=True)


def finish_exchange(place: Path) -> None:
    """Takes back an exchange that was cut short."""
    old = place.with_name(f"{place.name}.before")
    if old.exists() and not place.exists():
        os.replace(old, place)
