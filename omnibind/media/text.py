"""Text: a `str` that says something, or why it does not.

A `str` is the text itself; a `Path` is a text file; bytes are the content of one. Surrounding
white space is dropped, so that a file and the same words typed in are equal.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from omnibind.media.source import read, refusal

MAX_CHARACTERS = 1_000_000
"""Longest text that is taken, in characters (ours)."""

_BARE_URL = re.compile(r"[a-z][a-z0-9+.-]+://\S+", re.I)


def load(source: object) -> str:
    """Reads a text.

    Args:
        source: the text itself, the `Path` of a UTF-8 file, or the bytes of one.
    Raises:
        MediaError: empty, not UTF-8, binary, too long, or nothing but a URL.
    """
    if isinstance(source, str):
        return _checked(source, _label(source))
    content = read(source, "text", limit=4 * MAX_CHARACTERS + 3)
    try:
        return _checked(content.data.decode("utf-8-sig"), content.label)
    except UnicodeDecodeError as error:
        raise refusal(
            "text",
            content.label,
            found=f"not UTF-8: byte {error.start} is 0x{content.data[error.start]:02x}",
            next_step="save it as UTF-8, or give the text as a str",
        ) from error


def claims(thing: object) -> bool:
    """Whether the object is a text: every `str` is."""
    return isinstance(thing, str)


def digest(media: str) -> bytes:
    """Equal texts, equal digest."""
    return blake2b(media.encode(), digest_size=16, person=b"text").digest()


def _checked(text: str, label: str) -> str:
    found, next_step = _fault(text)
    if found:
        raise refusal("text", label, found=found, next_step=next_step)
    return text.strip()


def _fault(text: str) -> tuple[str, str]:
    if len(text) > MAX_CHARACTERS:
        found = f"{len(text):,} characters; at most {MAX_CHARACTERS:,} are taken"
        return found, "split it into passages"
    if not text.strip():
        return "no words: it is empty or white space", "leave it out"
    if "\0" in text:
        return f"a NUL character at position {text.index(chr(0))}", "give text, not binary data"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "half a surrogate pair, which UTF-8 cannot hold", "decode the text with its encoding"
    if _BARE_URL.fullmatch(text.strip()):
        return "nothing but a URL", "download it and give its content, or add words to the address"
    return "", ""


def _label(text: str) -> str:
    return repr(text[:40] + "…" if len(text) > 40 else text)
