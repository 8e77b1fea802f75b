"""What makes two items the same: a hash of a file's bytes, or of a text's words.

Ours: bytes are hashed, not decoded media, so that a pool of millions is compared without decoding
it. The same picture saved twice is two items; near-duplicates are found by their rows
(`omnibind.training.leakage`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["content_id"]

TEXT = b"omnibind text"
FILE = b"omnibind file"


def content_id(modality: str, given: Path | str | bytes) -> str:
    """32 hexadecimal digits; a text file and the same words typed in are equal.

    Raises:
        OSError: the file cannot be read.
    """
    if modality == "text":
        return _text_id(given)
    digest = hashlib.blake2b(digest_size=16, person=FILE)
    if isinstance(given, Path):
        with given.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    else:
        digest.update(given if isinstance(given, bytes) else given.encode())
    return digest.hexdigest()


def _text_id(given: Path | str | bytes) -> str:
    content = given.read_bytes() if isinstance(given, Path) else given
    if isinstance(content, bytes):
        content = content.decode("utf-8-sig", "backslashreplace")
    words = content.strip().encode("utf-8", "backslashreplace")
    return hashlib.blake2b(words, digest_size=16, person=TEXT).hexdigest()
