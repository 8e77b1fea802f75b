"""Unpacks a Qt resource collection (.rcc), the container that GCompris keeps its media in.

The file is big-endian: a header with three offsets (tree, data, names), a table of nodes where a
folder points at its first child, and blobs that are plain, zlib or zstd. Sounds and pictures are
plain; zstd entries (interface texts) are passed over.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ZLIB, FOLDER, ZSTD = 1, 2, 4
NODE_BYTES = 22  # format 2 and later: 14 bytes and a modification time


def unpack_resources(collection: Path, into: Path, *, below: str = "") -> None:
    """Writes every readable entry under the folder `below` of a collection into a folder."""
    for path, blob in entries(collection.read_bytes()):
        if path.is_relative_to(below):
            target = into / path.relative_to(below)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(blob)


def entries(raw: bytes) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yields each file's path and content.

    Raises:
        ValueError: the bytes are no resource collection of format 2 or later.
    """
    magic, version, tree, data, names = struct.unpack_from(">4s4I", raw)
    if magic != b"qres" or version < 2:
        raise ValueError(f"asked for a Qt resource collection of format 2+, found {raw[:8]!r}")

    def walk(node: int, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
        at = tree + node * NODE_BYTES
        name_at, flags = struct.unpack_from(">IH", raw, at)
        path = folder / _name(raw, names + name_at) if node else folder
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", raw, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        elif not flags & ZSTD:
            (blob_at,) = struct.unpack_from(">I", raw, at + 10)
            blob = _blob(raw, data + blob_at)
            yield path, zlib.decompress(blob[4:]) if flags & ZLIB else blob

    yield from walk(0, PurePosixPath())


def _name(raw: bytes, at: int) -> str:
    (length,) = struct.unpack_from(">H", raw, at)
    return raw[at + 6 : at + 6 + 2 * length].decode("utf-16-be")


def _blob(raw: bytes, at: int) -> bytes:
    (length,) = struct.unpack_from(">I", raw, at)
    return raw[at + 4 : at + 4 + length]
