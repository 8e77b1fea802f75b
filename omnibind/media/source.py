"""Reads or opens a source, or says why it cannot.

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
from io import BufferedIOBase, BytesIO
from pathlib import Path

from omnibind.errors import MediaError
from omnibind.media.noise import hush

MAX_BYTES = 512 * 1024**2
"""Largest file that is read whole, in bytes (ours)."""
HEAD = 64

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


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One file that is read piece by piece.

    Attributes:
        label: what messages call it.
        head: its first bytes, never empty.
        file: at its start, and seekable.
    """

    label: str
    head: bytes
    file: BufferedIOBase


def read(source: object, modality: str, *, limit: int = MAX_BYTES) -> Content:
    """Reads a path or bytes, at most `limit` bytes of it.

    Raises:
        MediaError: there is nothing at the path that could be read, or too much.
    """
    label, path = _named(source, modality)
    if path is None:
        content = Content(label=label, data=bytes(source))  # pyright: ignore[reportArgumentType]
    else:
        with _readable(label, modality), _there(label, path, modality, limit) as file:
            content = Content(label=label, data=file.read(limit + 1), path=path)
    if not content.data:
        raise _empty(modality, label)
    if len(content.data) > limit:
        raise _too_large(modality, label, len(content.data), limit)
    return content


@contextmanager
def opened(source: object, modality: str) -> Generator[Opened, None, None]:
    """Opens a path or bytes of any size, for decoders that take a file piece by piece.

    Raises:
        MediaError: there is nothing at the path that could be read.
    """
    label, path = _named(source, modality)
    with _readable(label, modality):
        file = BytesIO(source) if path is None else _there(label, path, modality)  # pyright: ignore[reportArgumentType]
    with file:
        with _readable(label, modality):
            head = file.read(HEAD)
            file.seek(0)
        if not head:
            raise _empty(modality, label)
        yield Opened(label=label, head=head, file=file)


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


def _named(source: object, modality: str) -> tuple[str, Path | None]:
    """What messages call a source, and its path unless it is bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        return f"({len(source):,} bytes in memory)", None
    if not isinstance(source, str | os.PathLike):
        raise refusal(
            modality,
            f"({describe(source)})",
            found="neither a path, nor bytes, nor an object this modality knows",
            next_step="give a path, the bytes of a file or one of the objects in the documentation",
        )
    label = os.fsdecode(os.fspath(source))
    if _URL.match(label):
        raise refusal(
            modality,
            label,
            found="a URL; omnibind opens no network connection for an item",
            next_step="download it and give the path or the bytes",
        )
    return label, Path(label)


def _there(label: str, path: Path, modality: str, limit: int | None = None) -> BufferedIOBase:
    """A regular file that is there, opened."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise _not_a_file(modality, label, directory=stat.S_ISDIR(status.st_mode))
    if limit is not None and status.st_size > limit:
        raise _too_large(modality, label, status.st_size, limit)
    return path.open("rb")


@contextmanager
def _readable(label: str, modality: str) -> Generator[None, None, None]:
    """Says what the system says when a path cannot be opened or read."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise refusal(
            modality,
            label[:200],
            found=_first_line(error),
            next_step="check the path, its spelling and your rights to read it",
        ) from error


def _empty(modality: str, label: str) -> MediaError:
    return refusal(modality, label, found="it is empty: 0 bytes")


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
