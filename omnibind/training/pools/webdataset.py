"""A WebDataset archive as a pool: members read in memory, never extracted.

Members `0001.jpg`, `0001.json`, `0001.txt` that follow one another are one sample. The member whose
ending the modality reads is the item, the `.json` its metadata.
"""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from omnibind.errors import MediaError
from omnibind.specs import Modality
from omnibind.training.pools.listed import Listed, Unlisted, as_json, printable

__all__ = ["ENDINGS", "archive_items"]

ENDINGS = (".tar", ".tgz", ".tar.gz")
MAX_BYTES = 512 * 1024**2
"""Largest member that is read, in bytes (ours; that of a file)."""


def archive_items(file: Path, modality: Modality) -> Iterator[Listed | Unlisted]:
    """Lists an archive; one that is damaged ends with an `Unlisted` where it cannot go on."""
    try:
        with tarfile.open(file, "r:*") as archive:
            for _, members in groupby(_files(archive), key=_sample):
                yield from _items(file, archive, list(members), modality)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = f"the archive cannot be read any further: {type(error).__name__}: {error}"
        yield Unlisted(source=printable(str(file.absolute())), reason=reason)


def _files(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        archive.members = []  # pyright: ignore[reportAttributeAccessIssue] - else all are kept
        if member.isfile():
            yield member


def _sample(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _items(
    file: Path, archive: tarfile.TarFile, members: list[tarfile.TarInfo], modality: Modality
) -> Iterator[Listed | Unlisted]:
    wanted = [m for m in members if PurePosixPath(m.name).suffix.lower() in modality.extensions]
    metadata = next((_metadata(archive, m) for m in members if m.name.endswith(".json")), "{}")
    for member in wanted:
        yield Listed(
            source=printable(f"{file.absolute()}!{member.name}"),
            state=f"{member.size}:{member.mtime}",
            read=partial(_read, archive, member),
            metadata=metadata,
        )


def _metadata(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    try:
        content: Any = json.loads(_read(archive, member))
    except ValueError:
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
