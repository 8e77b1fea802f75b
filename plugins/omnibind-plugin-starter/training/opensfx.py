"""Opens OpenTTD's sound collections: one file that holds many WAV files."""

from __future__ import annotations

from pathlib import Path
from struct import iter_unpack, unpack_from

__all__ = ["unpack_sounds"]

PLACE = 0x7FFFFFFF
"""Without the highest bit, which says only that names follow."""


def unpack_sounds(collection: Path, into: Path) -> None:
    """Writes every sound of a collection under the name of its source file: osfx_00.wav, ...

    Args:
        collection: a `.cat` file: places and sizes, then a name, a WAV and a file name each.
        into: an existing folder.
    """
    packed = collection.read_bytes()
    (length,) = unpack_from("<I", packed)
    for start, _ in iter_unpack("<II", packed[: length & PLACE]):
        place = start & PLACE
        place += 1 + packed[place]
        (size,) = unpack_from("<I", packed, place + 4)
        end = place + 8 + size
        name = packed[end + 2 : end + 2 + packed[end + 1]]
        sound = Path(name.rstrip(b"\0").decode("ascii")).name
        (into / sound).write_bytes(packed[place:end])
