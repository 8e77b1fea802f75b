"""What the demo shows: the items of a folder with a manifest, and who made them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import omnibind
from omnibind.errors import SetupError

__all__ = ["MediaFolder", "Shown", "default_media", "read_media"]

MOST_CONCEPTS = 100
"""Beyond this the page would no longer be a page (ours)."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One item: what it is, in which modality, and where it is.

    Attributes:
        concept: what a person calls it; it is the label the figures are counted by.
        modality: the key it stands under in the manifest.
        source: the text itself, or the path of a file inside the folder.
    """

    concept: str
    modality: str
    source: str | Path

    @property
    def name(self) -> str:
        """Its file name, or the text."""
        return self.source.name if isinstance(self.source, Path) else self.source


@dataclass(frozen=True, kw_only=True)
class MediaFolder:
    """A folder of media: its items in the order of the manifest, and its credits as Markdown."""

    items: tuple[Shown, ...]
    credits: str

    def of(self, modality: str) -> list[Shown]:
        """Its items of one modality."""
        return [item for item in self.items if item.modality == modality]

    @property
    def modalities(self) -> tuple[str, ...]:
        """In order of first mention, texts first."""
        named = dict.fromkeys(item.modality for item in self.items)
        return tuple(sorted(named, key=lambda name: name != "text"))


def default_media() -> Path:
    """`examples/media` of the checkout that omnibind runs from, or of the working directory.

    Raises:
        SetupError: neither is there; a wheel carries no media.
    """
    checkout = Path(omnibind.__file__).parents[1]
    for root in (checkout, Path.cwd()):
        folder = root / "examples" / "media"
        if (folder / "manifest.json").is_file():
            return folder
    raise SetupError(
        "media for the demo",
        found="no examples/media here: omnibind is installed without its checkout",
        next_step="name a folder: omnibind demo --media <folder with a manifest.json>",
    )


def read_media(folder: Path) -> MediaFolder:
    """Reads `manifest.json` (a list of objects with `concept` and a key a modality: `text` holds
    words, the others a file of the folder) and, if it is there, `ATTRIBUTION.md`.

    Raises:
        SetupError: no manifest, another form, a file outside of the folder, or too many concepts.
    """
    entries = _manifest(folder)
    items = tuple(
        shown for number, entry in enumerate(entries) for shown in _items(folder, number, entry)
    )
    concepts = {item.concept for item in items}
    if not 2 <= len(concepts) <= MOST_CONCEPTS:
        raise _unusable(folder, f"{len(concepts)} concepts; the demo shows 2 to {MOST_CONCEPTS}")
    credits = folder / "ATTRIBUTION.md"
    text = credits.read_text(encoding="utf-8", errors="replace") if credits.is_file() else ""
    return MediaFolder(items=items, credits=text)


def _manifest(folder: Path) -> list[Any]:
    path = folder / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(folder, f"manifest.json: {type(error).__name__}: {error}") from error
    if not isinstance(content, list):
        raise _unusable(folder, "manifest.json holds no list")
    return cast("list[Any]", content)


def _items(folder: Path, number: int, entry: Any) -> Iterator[Shown]:
    if not isinstance(entry, dict) or not _is_words(cast("dict[str, Any]", entry).get("concept")):
        raise _unusable(folder, f"entry {number} of manifest.json names no concept")
    fields = cast("dict[str, Any]", entry)
    for modality, value in fields.items():
        if modality == "concept":
            continue
        if not _is_words(value):
            raise _unusable(folder, f"entry {number}: {modality} is {value!r}, not a string")
        source = value if modality == "text" else _inside(folder, value)
        yield Shown(concept=fields["concept"], modality=modality, source=source)


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _inside(folder: Path, name: str) -> Path:
    """The page shows what the manifest names, and pages are passed on: nothing from elsewhere."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _unusable(folder, f"{name!r} lies outside of the folder")
    return path


def _unusable(folder: Path, found: str | Sequence[str]) -> SetupError:
    return SetupError(
        f"the demo's media in {folder}",
        found=found,
        next_step='write manifest.json: [{"concept": "cat", "text": "a cat", "image": "cat.jpg", '
        '"audio": "cat.ogg", "points": "cat.obj"}, ...]',
    )
