"""Drawn pictures whose file names say what is seen, to train on: emoji by more hands, game art.

    from drawings import DRAWINGS
    for name, shown in DRAWINGS.items():
        for caption, picture in shown(data): ...

The emoji are those of emoji.py under the same captions. Game icons, which are silhouettes, count
where the first sense of their name is a thing in WordNet. What else there is was picked by name:
`labels/openmoji_extras.txt` and `labels/wesnoth.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from drawn import cut_out, drawn_by
from emoji import things
from PIL import Image

__all__ = ["DRAWINGS", "MORE_HANDS"]

MORE_HANDS = ("openmoji", "emojione-v1", "noto-v1", "fxemoji", "streamline-emojis")
"""Packages that draw the emoji of things once more."""

LABELS = Path(__file__).parent / "labels"
WESNOTH = "wesnoth-1.16-data/usr/share/games/wesnoth/1.16/data/core/images"
WORDS = "wordnet-base/usr/share/wordnet"
THINGS = frozenset({"05", "06", "08", "13", "17", "20"})
"""WordNet's files of animals, artifacts, body parts, food, objects and plants."""
Shown = Iterator[tuple[str, Path | Image.Image]]


def emoji_by(package: str, data: Path) -> Shown:
    """A caption and a file for every emoji of a thing that the package draws."""
    drawn = drawn_by(package, data)
    for one in things(data):
        file = drawn(one.caption)
        if file is not None:
            yield one.caption, file


def openmoji_extras(data: Path) -> Shown:
    """What OpenMoji draws beyond emoji."""
    for name in _listed("openmoji_extras.txt"):
        yield name.replace("-", " "), data / "openmoji" / "drawn" / f"{name}.png"


def game_icons(data: Path) -> Shown:
    """Silhouettes of things."""
    files, no_things = _first_senses(data / WORDS), frozenset(_listed("no_things.txt"))
    for file in sorted((data / "game-icons" / "drawn").iterdir()):
        name = file.stem
        if files.get(name.replace("-", "_")) in THINGS and name not in no_things:
            yield name.replace("-", " "), file


def wesnoth(data: Path) -> Shown:
    """One picture of each thing, building, creature and person, cut out."""
    with (LABELS / "wesnoth.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield row["caption"], cut_out(data / WESNOTH / row["path"])


def _listed(name: str) -> list[str]:
    return (LABELS / name).read_text(encoding="utf-8").split()


def _first_senses(folder: Path) -> dict[str, str]:
    """Every noun with the file that its commonest sense is in."""
    with (folder / "data.noun").open(encoding="utf-8") as lines:
        files = {line[:8]: line[9:11] for line in lines if line[0] != " "}
    found: dict[str, str] = {}
    with (folder / "index.noun").open(encoding="utf-8") as lines:
        for line in lines:
            if line[0] != " ":
                noun, _, _, pointers, *rest = line.split()
                found[noun] = files[rest[int(pointers) + 2]]
    return found


DRAWINGS: dict[str, Callable[[Path], Shown]] = {
    **{name: partial(emoji_by, name) for name in MORE_HANDS},
    "openmoji-extras": openmoji_extras,
    "wesnoth": wesnoth,
    "game-icons": game_icons,
}
