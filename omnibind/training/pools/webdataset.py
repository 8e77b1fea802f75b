"""A WebDataset archive as a pool: members read in memory, never extracted.

Members `0001.jpg`, `0001.json`, `0001.txt` that follow one another are one sample. The member whose
ending the modality reads is the item, the `.json` its metadata. Hidden ones are passed over.

A compressed archive can be read forwards only: its members are held as they go by, a sample at a
time, even where only their names are asked for.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from omnibind.errors import MediaError
from omnibind.specs import Modality
from omnibind.training.pools.listed import Listed, Unlisted, as_json, printable

__all__ = ["ENDINGS", "archive_items"]

BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error)
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
"""How gzip, bzip2 and xz files begin."""
ENDINGS = (".tar", ".tgz", ".tar.gz")
MAX_BYTES = 512 * 1024**2
"""Largest member that is read, in bytes (ours; that of a file)."""


def archive_items(file: Path, modality: Modality) -> Iterator[Listed | Unlisted]:
    """Lists an archive; one that is damaged ends with an `Unlisted` where it cannot go on."""
    try:
        compressed = _compressed(file)
        with tarfile.open(file, "r|*" if compressed else "r:*") as archive:
            endings = (*modality.extensions, ".json") if compressed else ()
            for _, members in groupby(_files(archive, endings), key=_sample):
                yield from _items(file, list(members), modality)
    except BROKEN as error:
        reason = f"the archive cannot be read any further: {type(error).__name__}: {error}"
        yield Unlisted(source=printable(str(file.absolute())), reason=reason)


@dataclass(frozen=True)
class _Member:
    """A file of an archive."""

    name: str
    state: str
    read: Callable[[], bytes]

    @property
    def ending(self) -> str:
        return PurePosixPath(self.name).suffix.lower()


def _compressed(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(max(map(len, COMPRESSED))).startswith(COMPRESSED)


def _files(archive: tarfile.TarFile, held: tuple[str, ...]) -> Iterator[_Member]:
    """Files that are not hidden; those with endings that are `held` are read as they go by."""
    for info in archive:
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - else all are kept
        if info.isfile() and not _hidden(info.name):
            member = _Member(info.name, f"{info.size}:{info.mtime}", partial(_read, archive, info))
            yield replace(member, read=_held(member.read)) if member.ending in held else member


def _hidden(name: str) -> bool:
    return any(part.startswith(".") and part != ".." for part in PurePosixPath(name).parts)


def _held(read: Callable[[], bytes]) -> Callable[[], bytes]:
    """Reads at once; what went wrong is raised when somebody asks."""
    try:
        return partial(bytes, read())
    except (MediaError, *BROKEN) as error:
        return partial(_raise, error)


def _raise(error: Exception) -> bytes:
    raise error


def _sample(member: _Member) -> str:
    path = PurePosixPath(member.name)
    return str(path.with_name(path.name.partition(".")[0]))


def _items(file: Path, members: list[_Member], modality: Modality) -> Iterator[Listed | Unlisted]:
    wanted = [member for member in members if member.ending in modality.extensions]
    metadata = next((_metadata(m) for m in members if m.name.endswith(".json")), "{}")
    for member in wanted:
        yield Listed(
            source=printable(f"{file.absolute()}!{member.name}"),
            state=member.state,
            read=member.read,
            metadata=metadata,
        )


def _metadata(member: _Member) -> str:
    try:
        content: Any = json.loads(member.read())
    except (ValueError, MediaError):
        return as_json({"unreadable": member.name})
    return as_json(content if isinstance(content, dict) else {"json": content})  # pyright: ignore[reportUnknownArgumentType]


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_BYTES:
        raise MediaError(
            f"cannot read the member {member.name}",
            found=f"{member.size:,} bytes; at most {MAX_BYTES:,} are read",
            next_step="give a smaller or shorter version",
        )
    content = archive.extractfile(member)
    data = content.read() if content else b""
    if len(data) < member.size:
        raise EOFError(f"{len(data)} of {member.size} bytes of {member.name}")
    return data
