"""Writes what `omnibind bind` and `omnibind evaluate` read: unpaired pools, labelled benchmarks.

    python fetch.py && python pools.py --out DIR
    omnibind bind starter --pool image=DIR/images.csv ... --exclude DIR/benchmarks.csv --out bound
    omnibind evaluate DIR/concepts.csv

DIR/images.csv, audio.csv, points.csv   paths of training items; nothing says what they show
DIR/texts.txt                           captions and names, in one list with the nouns of WordNet
DIR/drawn/                              letters, digits and signs, as PNG
DIR/tuxpaint.csv                        test: stamps, their sounds, every caption once (as written)
DIR/tuxpaint-folded.csv                 the same, captions that differ in case alone taken as one
DIR/tuxpaint-sounds.csv                 test: the stamps that sound, and the captions of these alone
DIR/concepts.csv, concepts48.csv        test: 24 and 48 things in every modality
DIR/further-sounds.csv                  test: further sounds of things, and their names
DIR/furniture.csv                       test: shapes of other things, their icons and names
DIR/benchmarks.csv                      every picture, sound and shape of these, to exclude
DIR/icons.csv                           test: the 24, with rendered icons in place of pictures
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from clipart import clipart
from glyphs import drawn_glyphs
from PIL.Image import Image
from testbed import (
    DEFAULT_DATA,
    concepts,
    furniture,
    other_sounds,
    sweethome,
    training_pictures,
    training_sounds,
    tuxpaint,
)
from wordnet import nouns

__all__ = ["main"]

Labelled = tuple[str, str, str]
"""Path or text, modality, label."""
GLYPH_SHARE = 4
"""One drawn letter of so many is in the pool: they all look alike."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default: {DEFAULT_DATA}")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    data, out = asked.data.absolute(), asked.out
    (out / "drawn").mkdir(parents=True, exist_ok=True)
    write_pools(data, out)
    write_benchmarks(data, out)


def write_pools(data: Path, out: Path) -> None:
    """Unpaired training items, a file a modality."""
    glyphs = list(drawn_glyphs(data))[::GLYPH_SHARE]
    pictures = [one.picture for one in training_pictures(data)]
    pictures += [file for _, file in clipart(data)]
    pictures += drawn(glyphs, out / "drawn")
    shapes, sounds = sweethome(data, split="train"), training_sounds(data)
    _write(out / "images.csv", ["path"], ([str(file)] for file in pictures))
    _write(out / "audio.csv", ["path"], ([str(one.sound)] for one in sounds))
    _write(out / "points.csv", ["path"], ([str(one.model)] for one in shapes if not one.demo))
    said = [one.caption for one in training_pictures(data)] + [one.caption for one in sounds]
    said += [caption for caption, _ in (*clipart(data), *glyphs)] + [one.name for one in shapes]
    texts = sorted(dict.fromkeys([*said, *nouns(data)]))
    (out / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")


def drawn(pictures: Iterable[tuple[str, Image]], folder: Path) -> list[Path]:
    """Keeps drawn pictures as files, named after what is in them."""
    found: list[Path] = []
    for _, picture in pictures:
        digest = hashlib.sha256(picture.tobytes()).hexdigest()[:16]
        found.append(folder.absolute() / f"{digest}.png")
        if not found[-1].is_file():
            picture.save(found[-1])
    return list(dict.fromkeys(found))


def write_benchmarks(data: Path, out: Path) -> None:
    """Labelled test items; those that share a label are right answers to each other."""
    stamps = list(tux_paint(data, "image"))
    folded = {item.lower(): (item, m, label.lower()) for item, m, label in stamps}
    labelled(out / "tuxpaint.csv", stamps)
    labelled(out / "tuxpaint-folded.csv", folded.values())
    labelled(out / "tuxpaint-sounds.csv", tux_paint(data, "audio"))
    labelled(out / "concepts.csv", things(data, core=True))
    labelled(out / "concepts48.csv", things(data, core=False))
    labelled(out / "icons.csv", things(data, core=True, icons=True))
    labelled(out / "furniture.csv", named(data))
    labelled(out / "further-sounds.csv", heard(data))
    tested = [*things(data, core=False), *things(data, core=False, icons=True)]
    tested += [*stamps, *tux_paint(data, "audio"), *named(data), *heard(data)]
    files = dict.fromkeys(item for item, modality, _ in tested if modality != "text")
    _write(out / "benchmarks.csv", ["path"], ([file] for file in files))


def tux_paint(data: Path, modality: str) -> Iterator[Labelled]:
    """Stamps or their sounds, and every caption of these once."""
    shown = [
        (stamp.picture if modality == "image" else stamp.sound, stamp.caption)
        for stamp in tuxpaint(data)
    ]
    shown = [(file, caption) for file, caption in shown if file]
    yield from ((str(file), modality, caption) for file, caption in shown)
    for caption in sorted({caption for _, caption in shown}):
        yield caption, "text", caption


def things(data: Path, *, core: bool, icons: bool = False) -> Iterator[Labelled]:
    """Every item of every concept."""
    for one in concepts(data, core=core):
        for modality, items in (
            ("image", one.icons if icons else one.pictures),
            ("audio", one.sounds),
            ("points", one.shapes),
            ("text", one.texts),
        ):
            for item in items:
                yield str(item), modality, one.name


def named(data: Path) -> Iterator[Labelled]:
    """Shapes and icons of furniture, and every name once: without its number, in lower case."""
    names: dict[str, str] = {}
    for one in furniture(data):
        name = re.sub(r"[\s\d]+$", "", one.name)
        names.setdefault(name.lower(), name)
        yield str(one.model), "points", name.lower()
        yield str(one.icon), "image", name.lower()
    for label, name in names.items():
        yield name, "text", label


def heard(data: Path) -> Iterator[Labelled]:
    """Further sounds to test on, and every name of these once."""
    sounds = other_sounds(data)
    yield from ((str(file), "audio", name) for name, file in sounds)
    yield from ((name, "text", name) for name in dict.fromkeys(name for name, _ in sounds))


def labelled(path: Path, items: Iterable[Labelled]) -> None:
    """A table as `omnibind evaluate` reads it, and `omnibind bind --exclude`."""
    rows = [
        ["", item, m, label.replace("|", "/")] if m == "text" else [item, "", m, label]
        for item, m, label in items
    ]
    _write(path, ["path", "text", "modality", "label"], rows)


def _write(path: Path, columns: list[str], rows: Iterable[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


if __name__ == "__main__":
    main()
