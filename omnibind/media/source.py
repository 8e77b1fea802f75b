"""Reads the bytes of a source, or says why it cannot.

A source is a path (`pathlib.Path` or `str`) or the bytes of a file. A missing or unreadable path,
a directory, an empty or too large file and a URL are refused here, for every modality alike.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omnibind.errors import MediaError
from omnibind.media.noise import hush

MAX_BYTES = 512 * 1024**2
"""Largest file that is read, in bytes (ours)."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib makes one slash of two


class MediaWarning(UserWarning):
    """An item is used without something it names, such as a texture that is missing."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """The bytes of one file.

    Attributes:
        label: what messages call it.
        data: the bytes, never empty.
        path: where it lies, or None for bytes in memory.
    """

    label: str
    data: bytes
    path: Path | None = None

    @property
    def suffix(self) -> str:
        """The file ending in lower case with its dot; empty for bytes in memory."""
        return self.path.suffix.lower() if self.path else ""


def read(source: object, modality: str, *, limit: int = MAX_BYTES) -> Content:
    """Reads a path or bytes, at most `limit` bytes of it.

    Raises:
        MediaError: there is nothing at the path that could be read, or too much.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        content = Content(label=f"({len(source):,} bytes in memory)", data=bytes(source))
    elif isinstance(source, str | os.PathLike):
        content = _read_path(os.fspath(source), modality, limit)
    else:
        raise refusal(
            modality,
            f"({describe(source)})",
            found="neither a path, nor bytes, nor an object this modality knows",
            next_step="give a path, the bytes of a file or one of the objects in the documentation",
        )
    if not content.data:
        raise refusal(modality, content.label, found="it is empty: 0 bytes")
    if len(content.data) > limit:
        raise _too_large(modality, content.label, len(content.data), limit)
    return content


def refusal(
    modality: str, label: str, *, found: str, next_step: str = "check the file, or leave it out"
) -> MediaError:
    """The error that says an item cannot be used."""
    return MediaError(f"cannot read the {modality} {label}", found=found, next_step=next_step)


@contextmanager
def decoding(modality: str, label: str) -> Generator[None, None, None]:
    """Lets nothing but MediaError out of a decoder; the library's own error stays as the cause."""
    try:
        with hush():
            yield
    except MediaError:
        raise
    except Exception as error:
        raise refusal(
            modality,
            label,
            found=f"its content does not decode ({_first_line(error)})",
            next_step="the file is damaged, cut short or of another kind: write it again",
        ) from error


def describe(thing: object) -> str:
    """A short name for an object in memory: its type, and its shape where it has one."""
    shape = getattr(thing, "shape", None)
    name = f"{type(thing).__module__}.{type(thing).__qualname__}".removeprefix("builtins.")
    return f"{name} {list(shape)}" if isinstance(shape, tuple) else name  # pyright: ignore[reportUnknownArgumentType]


def _read_path(name: str | bytes, modality: str, limit: int) -> Content:
    label = os.fsdecode(name)
    if _URL.match(label):
        raise refusal(
            modality,
            label,
            found="a URL; omnibind opens no network connection for an item",
            next_step="download it and give the path or the bytes",
        )
    path = Path(label)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(modality, label, directory=stat.S_ISDIR(status.st_mode))
        if status.st_size > limit:
            raise _too_large(modality, label, status.st_size, limit)
        with path.open("rb") as file:
            return Content(label=label, data=file.read(limit + 1), path=path)
    except (OSError, ValueError) as error:
        raise refusal(
            modality,
            label[:200],
            found=_first_line(error),
            next_step="check the path, its spelling and your rights to read it",
        ) from error


def _not_a_file(modality: str, label: str, *, directory: bool) -> MediaError:
    if directory:
        return refusal(
            modality, label, found="a directory", next_step="give the files in it, one by one"
        )
    return refusal(
        modality, label, found="a device, pipe or socket", next_step="save it to a file first"
    )


def _too_large(modality: str, label: str, size: int, limit: int) -> MediaError:
    return refusal(
        modality,
        label,
        found=f"{size:,} bytes; at most {limit:,} are read",
        next_step="give a smaller or shorter version",
    )


def _first_line(error: Exception) -> str:
    text = re.sub(r"<_io\.\w+ object at 0x[0-9a-f]+>", "the file", str(error))
    line = text.strip().partition("\n")[0][:200]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
