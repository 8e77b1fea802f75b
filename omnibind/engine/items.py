"""Which modality an item belongs to, and how it is named in a message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from omnibind.errors import MediaError
from omnibind.specs import Modality, resolve

__all__ = ["Item", "is_there", "recognise", "short_name"]

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a call: its position, what was given, and the modality it is read as."""

    index: int
    source: object
    modality: Modality

    @property
    def name(self) -> str:
        """A short name for messages."""
        return short_name(self.source)


def recognise(
    index: int, source: object, modalities: Mapping[str, Modality], modality: str | None = None
) -> Item:
    """Finds the modality of an item, unless the caller has said it.

    A `Path` is a file. A `str` is a file where one is there, else a text; one that looks like a
    file or a URL but is none is refused, because a typing error should not become a caption.

    Raises:
        MediaError: nothing claims it, several do, or it looks like a file that is not there.
    """
    if modality is not None:
        return Item(index=index, source=source, modality=modalities[modality])
    if isinstance(source, Path):
        return Item(index=index, source=source, modality=_by_extension(source, modalities))
    if isinstance(source, str):
        return _recognise_string(index, source, modalities)
    claiming = [m for m in modalities.values() if resolve(m.claims)(source)]
    if len(claiming) == 1:
        return Item(index=index, source=source, modality=claiming[0])
    names = ", ".join(m.name for m in claiming) or "no modality"
    raise MediaError(
        f"the modality of {short_name(source)}",
        found=f"{names} claims it",
        next_step=f"say modality=..., one of {', '.join(modalities)}",
    )


def short_name(source: object, length: int = 60) -> str:
    """What an item is called in a message: its path, the start of a text, or its type."""
    if isinstance(source, Path):
        return str(source)
    if isinstance(source, str):
        line = " ".join(source.split())
        return line if len(line) <= length else line[: length - 1] + "…"
    if isinstance(source, bytes):
        return f"{len(source)} bytes"
    shape = getattr(source, "shape", None) or getattr(source, "size", None)
    described = f" {tuple(shape)}" if isinstance(shape, tuple) else ""
    return f"{type(source).__name__}{described}"


def _recognise_string(index: int, text: str, modalities: Mapping[str, Modality]) -> Item:
    if URL.match(text):
        raise MediaError(
            f"the item {short_name(text)!r}",
            found="a URL: nothing is fetched from the network",
            next_step="download it and give the file, or say modality='text' for the words",
        )
    path = Path(text)
    if is_there(path):
        return Item(index=index, source=path, modality=_by_extension(path, modalities))
    if _looks_like_a_file(text, modalities):
        raise MediaError(
            f"the item {short_name(text)!r}",
            found="no such file",
            next_step="correct the path, or say modality='text' for the words",
        )
    return Item(index=index, source=text, modality=modalities["text"])


def _looks_like_a_file(text: str, modalities: Mapping[str, Modality]) -> bool:
    if "\n" in text or len(text) > 1024:
        return False
    known = Path(text).suffix.lower() in {e for m in modalities.values() for e in m.extensions}
    rooted = text.startswith(("/", "./", "../", "~"))
    return (known and (rooted or " " not in text)) or (rooted and " " not in text)


def _by_extension(path: Path, modalities: Mapping[str, Modality]) -> Modality:
    suffix = path.suffix.lower()
    for modality in modalities.values():
        if suffix in modality.extensions:
            return modality
    found = "a directory" if path.is_dir() else f"the ending {suffix!r}" if suffix else "no ending"
    if not is_there(path):
        found = "no such file"
    raise MediaError(
        f"the modality of {path}",
        found=found,
        next_step="list its files" if path.is_dir() else "say the modality, or rename the file",
    )


def is_there(path: Path) -> bool:
    """Whether something has this path; words that no path can be are none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
