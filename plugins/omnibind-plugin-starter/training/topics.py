"""Captioned pictures of topics that the other sources lack: planets, chess, road signs, buildings.

    from topics import TOPICS
    for name, shown in TOPICS.items():
        for caption, picture in shown(data): ...

`labels/topics.csv` names every picture, captioned by hand; its column `how` says what is done to
one: of a sheet of frames the first is taken, a map is wrapped round a ball, Saturn gets its rings.
Notes are drawn here, of two typefaces. Faces are the emoji of other hands, under plain names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from drawn import MARGIN, cut_out, drawn_by, has
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["TOPICS", "files_of"]

LABELS = Path(__file__).parent / "labels" / "topics.csv"
BALL = 192
"""How wide a drawn planet is in pixels."""
RINGS = 1.24, 2.27
"""Where Saturn's rings begin and end, in radii of the planet."""
FONTS = (
    "fonts-freefont-ttf/usr/share/fonts/truetype/freefont/FreeSerif.ttf",
    "fonts-dejavu-core/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
)
NOTES = {
    "\U0001d11e": "a treble clef",
    "\U0001d122": "a bass clef",
    "\u266d": "a flat sign of music",
    "\u266f": "a sharp sign of music",
    "\u266e": "a natural sign of music",
    "\U0001d15d": "a whole note",
    "\U0001d15e": "a half note",
    "\u2669": "a quarter note",
    "\u266a": "an eighth note",
    "\u266b": "two eighth notes with a beam",
    "\u266c": "two sixteenth notes with a beam",
    "\U0001d13d": "a quarter rest",
    "\U0001d13e": "an eighth rest",
}
FACES = {
    "grinning face": "a happy face",
    "grinning face with big eyes": "a happy, laughing face",
    "slightly smiling face": "a smiling face",
    "smiling face with smiling eyes": "a smiling, glad face",
    "star struck": "an excited face",
    "frowning face": "a sad face",
    "slightly frowning face": "a sad face",
    "disappointed face": "a sad, disappointed face",
    "crying face": "a sad, crying face",
    "angry face": "an angry face",
    "pouting face": "an angry, mad face",
    "enraged face": "an angry, mad face",
    "face screaming in fear": "a scared face",
    "sleeping face": "a sleeping face",
}
FACES_BY = ("openmoji", "emojione-v1", "noto-v1", "fxemoji")
Pixels = NDArray[np.float64]
Shown = Iterator[tuple[str, Path | Image.Image]]


def files_of(package: str) -> set[str]:
    """What the pictures of a package are made of: paths in it."""
    rings = (_rings(Path(row["path"])) for row in _rows(package) if row["how"].startswith("rings"))
    return {*(row["path"] for row in _rows(package)), *map(str, rings)}


def listed(package: str, data: Path) -> Shown:
    """What is listed of a package, on white."""
    for row in _rows(package):
        file = data / package / row["path"]
        how, _, rest = row["how"].partition(" ")
        if file.suffix == ".svg":  # fetch.py has drawn it
            yield row["caption"], file.with_suffix(".png")
        elif how == "ball":
            yield row["caption"], _ball(file, int(rest))
        elif how == "rings":
            yield row["caption"], _ringed(file, int(rest))
        elif file.suffix == ".png":
            columns, _, lines = rest.partition("x")
            yield row["caption"], cut_out(file, int(columns or 1), int(lines or 1))
        else:
            yield row["caption"], file


def notes(data: Path) -> Shown:
    """Signs of music, alone and on five lines."""
    for name in FONTS:
        font = ImageFont.truetype(str(data / name), 96)
        for sign, caption in NOTES.items():
            if has(font, sign):
                for lines in (False, True):
                    yield caption, _drawn(sign, font, lines=lines)


def faces(data: Path) -> Shown:
    """Faces with a mood, by several hands."""
    for package in FACES_BY:
        drawn = drawn_by(package, data)
        for name, caption in FACES.items():
            file = drawn(name)
            if file is not None:
                yield caption, file


def _rows(package: str) -> list[dict[str, str]]:
    with LABELS.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["package"] == package]


def _rings(planet: Path) -> Path:
    return planet.with_name(f"{planet.stem}_rings_radial.png")


def _ball(file: Path, turn: int) -> Image.Image:
    """A map of a planet, seen as a ball from `turn` degrees east, on white."""
    x, y = np.meshgrid(*[np.linspace(-1 - MARGIN, 1 + MARGIN, BALL)] * 2)
    return Image.fromarray(_globe(file, x, y, turn).astype(np.uint8))


def _ringed(file: Path, tilt: int) -> Image.Image:
    """The same within its rings, which are tilted towards us and lean to the left."""
    x, y = np.meshgrid(np.linspace(-2.5, 2.5, 2 * BALL), np.linspace(-1.5, 1.5, 6 * BALL // 5))
    seen = _globe(file, x, y, 0)
    with Image.open(_rings(file)) as opened:
        strip = np.asarray(opened.convert("RGBA"))[0].astype(float)
    inner, outer = RINGS
    place = (np.hypot(x, y / np.sin(np.radians(tilt))) - inner) / (outer - inner)
    colour = strip[(place.clip(0, 1) * (len(strip) - 1)).round().astype(int)]
    behind = (y < 0) & (np.hypot(x, y) < 1)
    share = colour[..., 3:] / 255 * ((place >= 0) & (place <= 1) & ~behind)[..., None]
    made = Image.fromarray((seen * (1 - share) + colour[..., :3] * share).astype(np.uint8))
    return made.rotate(tilt, Image.Resampling.BICUBIC, expand=True, fillcolor="white")


def _globe(file: Path, x: Pixels, y: Pixels, turn: int) -> Pixels:
    """The colours of a ball of radius 1, whose rim is dim, and white beside it."""
    with Image.open(file) as opened:
        chart = np.asarray(opened.convert("RGB"))
    near = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    longitude = (np.arctan2(x, near) / (2 * np.pi) + turn / 360) % 1
    latitude = np.arcsin(np.clip(y, -1, 1)) / np.pi + 0.5
    column = (longitude * (chart.shape[1] - 1)).round().astype(int)
    line = (latitude * (chart.shape[0] - 1)).round().astype(int)
    seen = chart[line, column] * (0.3 + 0.7 * near[..., None])
    seen[near == 0] = 255
    return seen


def _drawn(sign: str, font: ImageFont.FreeTypeFont, *, lines: bool) -> Image.Image:
    picture = Image.new("RGB", (200, 200), "white")
    pen = ImageDraw.Draw(picture)
    if lines:
        for height in range(60, 141, 20):
            pen.line((10, height, 190, height), fill="black", width=2)
    left, top, right, bottom = pen.textbbox((0, 0), sign, font=font)
    pen.text((100 - (left + right) / 2, 100 - (top + bottom) / 2), sign, font=font, fill="black")
    return picture


PACKAGES = (
    "pysiogame",
    "oxygen-icon-theme",
    "josm",
    "pychess",
    "kstars-data",
    "stellarium-data",
    "widelands-data",
    "unknown-horizons",
    "lincity-ng-data",
    "freecol",
)
TOPICS: dict[str, Callable[[Path], Shown]] = {
    **{name: partial(listed, name) for name in PACKAGES},
    "notes": notes,
    "faces": faces,
}
