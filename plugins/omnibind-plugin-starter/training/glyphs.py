"""Pictures of letters, digits and signs in the typefaces that Debian carries, to train on.

    from glyphs import drawn_glyphs
    for caption, picture in drawn_glyphs(data): ...

ImageNet has no letters: without these a picture of an A is a nail or a bow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters

from PIL import Image, ImageDraw, ImageFont

__all__ = ["drawn_glyphs"]

PACKAGES = ("fonts-dejavu-core", "fonts-freefont-ttf")
SIDE = 256
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIGNS = {
    "+": "a plus sign",
    "\u2212": "a minus sign",
    "\u00d7": "a multiplication sign",
    "\u00f7": "a division sign",
    "=": "an equals sign",
    "<": "a less-than sign",
    ">": "a greater-than sign",
    "?": "a question mark",
    "!": "an exclamation mark",
    "$": "a dollar sign",
    "\u20ac": "a euro sign",
    "\u00a3": "a pound sign",
    "\u00a5": "a yen sign",
    "\u00a2": "a cent sign",
}


def drawn_glyphs(data: Path) -> Iterator[tuple[str, Image.Image]]:
    """A caption and a picture for every sign in every typeface: filled, coloured or outlined."""
    for face in sorted(face for package in PACKAGES for face in (data / package).rglob("*.ttf")):
        for sign, caption in _captions().items():
            yield caption, _drawn(face, sign)


def _captions() -> dict[str, str]:
    letters = {letter: f"the letter {letter.upper()}" for letter in ascii_letters}
    digits = {str(k): f"the number {k}, {name}" for k, name in enumerate(DIGITS)}
    return letters | digits | SIGNS


def _drawn(face: Path, sign: str) -> Image.Image:
    chance = random.Random(f"{face.name} {sign}")
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    colour = chance.choice(["black", "black", *(_colour(chance) for _ in range(2))])
    outlined = chance.random() < 0.4
    ImageDraw.Draw(picture).text(
        (SIDE / 2, SIDE / 2),
        sign,
        fill="white" if outlined else colour,
        font=ImageFont.truetype(str(face), size=chance.randint(190, 250)),
        anchor="mm",
        stroke_width=chance.randint(2, 6) if outlined else 0,
        stroke_fill=colour,
    )
    return picture


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(200), chance.randrange(200), chance.randrange(200)
