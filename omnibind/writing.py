"""Files that are there whole or not at all, and a full disk that is said to be one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path

from omnibind.errors import NoRoomError

__all__ = ["copy_file", "is_full", "saying_no_room", "whole", "write_text"]

FULL = (ENOSPC, EDQUOT, EFBIG)
SAID = ("Disk quota", *(os.strerror(number) for number in FULL))
RUST = tuple(f"os error {number})" for number in FULL)
"""How safetensors and Lance say it: in their text alone."""


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, a quota or a file has no room, in a number or in words."""
    if getattr(error, "errno", None) in FULL:
        return True
    return any(words in str(error) for words in (*SAID, *RUST))


@contextmanager
def saying_no_room(path: Path) -> Generator[None]:
    """While a file is written.

    Raises:
        NoRoomError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise NoRoomError(
            f"to write {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="make room on the disk; the same command goes on from what is finished",
        ) from error


@contextmanager
def whole(path: Path) -> Generator[Path]:
    """Gives the place to write to, beside the path, whose place it takes when all went well.

    Raises:
        NoRoomError: the disk is full; the file is as it was before.
    """
    part = path.with_name(f".{path.name}.part")
    with saying_no_room(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
        except Exception:
            part.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8; see `whole`."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def copy_file(source: Path, path: Path) -> None:
    """Copies content alone; see `whole`."""
    with whole(path) as part:
        shutil.copyfile(source, part)
