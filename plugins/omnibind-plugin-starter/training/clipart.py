"""Clip art of the Open Clip Art Library, captioned by its authors' titles, to train on.

    from clipart import clipart
    for caption, file in clipart(data): ...

A title counts where it is English: most of its words are lemmas of WordNet. Where it is none, the
keywords stand in; a file that is named by one or two words is called by them. Folders of buttons,
gradients, flags and interface icons are left out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

__all__ = ["clipart"]

DRAWINGS = "openclipart-svg/usr/share/openclipart/svg"
PICTURES = "openclipart-png/usr/share/openclipart/png"
FOLDERS = (
    *("animals", "buildings", "containers", "decorations", "education", "electronics", "food"),
    *("office", "people", "plants", "recreation", "science", "signs_and_symbols/map_symbols"),
    *("tools", "transportation", "unsorted"),
)
LEFT_OUT = ("recreation/games/cards", "transportation/aiga-symbols", "unsorted/duplicates")
WORDS = "wordnet-base/usr/share/wordnet"
MOST_PIXELS = 4_000_000
NO_TITLE = re.compile(r"various clipart|s[iu]bmission|aiga|untitled|drawing|^clipart$", re.I)
NO_KEYWORD = re.compile(r"hash|unsorted|^svg$|png|^icons?$|symbol|architett|^menu$|clip", re.I)
TOO_WIDE = frozenset(
    {"animal", "decoration", "food", "game", "office", "people", "recreation", "sports", "tool"}
)
FOREIGN = re.compile(r"archit|_arc_|_arch|_fra_|_figo_", re.I)


def clipart(data: Path) -> Iterator[tuple[str, Path]]:
    """A caption and a PNG file for every drawing that has a caption, by path."""
    words = _lemmas(data / WORDS)
    for folder in FOLDERS:
        for drawing in sorted((data / DRAWINGS / folder).rglob("*.svg")):
            place = drawing.relative_to(data / DRAWINGS)
            picture = data / PICTURES / place.with_suffix(".png")
            if _usable(picture) and not place.as_posix().startswith(LEFT_OUT):
                caption = _caption(drawing, words)
                if caption:
                    yield caption, picture


def _usable(picture: Path) -> bool:
    """Some are drawn at hundreds of millions of pixels."""
    if not picture.is_file():
        return False
    with picture.open("rb") as file:
        width, height = struct.unpack(">16xII", file.read(24))
    return width * height <= MOST_PIXELS


def _caption(drawing: Path, words: frozenset[str]) -> str:
    described = drawing.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"<metadata.*?</metadata>", described, re.S)
    titles = re.findall(r"<dc:title>\s*(.*?)\s*</dc:title>", found[0] if found else "", re.S)
    listed = re.findall(r"<rdf:li>\s*(.*?)\s*</rdf:li>", found[0] if found else "", re.S)
    title = _plain(titles[0]) if titles else ""
    name = [word for word in re.findall(r"[a-z]+", drawing.stem.lower()) if word != "bw"]
    named = len(name) <= 2 and all(word in words for word in name)
    if named and not set(name) & set(title.split()):
        return " ".join(name)
    if title and not NO_TITLE.search(title) and _english(title, words, drawing.name):
        return title
    keywords = [word for word in map(_plain, listed) if word in words]
    keywords = [word for word in dict.fromkeys(keywords) if not NO_KEYWORD.search(word)]
    return "" if set(keywords) <= TOO_WIDE else " ".join(keywords[:3])


def _plain(said: str) -> str:
    said = re.sub(r"^Clipart by Nicu Buculei - ", "", said)
    said = re.sub(r"&\w+;|[^A-Za-z'\- ]|\bB and W\b|\b(icon|clip ?art|symbol|bw)\b", " ", said)
    return " ".join(said.split()).strip("- '").lower()


def _english(title: str, words: frozenset[str], file: str) -> bool:
    said = re.findall(r"[a-z]{2,}", title)
    known = sum(_known(word, words) for word in said)
    needed = len(said) if FOREIGN.search(file) else 0.6 * len(said)
    return bool(said) and known >= max(1, needed)


def _known(word: str, words: frozenset[str]) -> bool:
    return word in words or word.removesuffix("s") in words or word in {"with", "and", "of", "the"}


def _lemmas(folder: Path) -> frozenset[str]:
    found: set[str] = set()
    for part in ("noun", "verb", "adj"):
        with (folder / f"index.{part}").open(encoding="utf-8") as file:
            found |= {line.partition(" ")[0] for line in file if line[0] != " "}
    return frozenset(found)
