"""Pictures of letters, digits, signs, notes, chess pieces: typefaces that Debian carries.

    from glyphs import drawn_glyphs
    for caption, picture in drawn_glyphs(data): ...

ImageNet has no letters: without these a picture of an A is a nail or a bow.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from string import ascii_letters

from drawn import has
from PIL import Image, ImageDraw, ImageFont

__all__ = ["drawn_glyphs"]

PACKAGES = ("fonts-dejavu-core", "fonts-freefont-ttf")
SIDE = 256
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTED = "äöüÄÖÜñãõÑÃÕáéíóúç"
MARKS = {
    "\u0301": "an accent",
    "\u0303": "a tilde",
    "\u0308": "an umlaut",
    "\u0327": "a cedilla",
}
PIECES = {
    "king": "♔♚",
    "queen": "♕♛",
    "rook": "♖♜",
    "bishop": "♗♝",
    "knight": "♘♞",
    "pawn": "♙♟",
}
SIGNS = {
    "+": "plus, a plus sign",
    "\u2212": "minus, a minus sign",
    "\u00d7": "times, a multiplication sign",
    "\u00f7": "divided by, a division sign",
    "=": "equals, an equals sign",
    "\u2260": "not equal to",
    "<": "less than, a less-than sign",
    ">": "greater than, a greater-than sign",
    "\u2264": "less than or equal to",
    "\u2265": "greater than or equal to",
    "ß": "the German letter sharp s, sz",
    "?": "a question mark",
    "!": "an exclamation mark",
    "$": "a dollar sign",
    "\u20ac": "a euro sign",
    "\u00a3": "a pound sign",
    "\u00a5": "a yen sign",
    "\u00a2": "a cent sign",
}
SYMBOLS = {
    "♩": "a quarter note, music",
    "♪": "an eighth note, music",
    "♫": "two eighth notes, music",
    "♬": "sixteenth notes, music",
    "𝅝": "a whole note, music",
    "𝅗𝅥": "a half note, music",
    "𝄽": "a quarter rest, music",
    "♭": "a flat, music",
    "♮": "a natural, music",
    "♯": "a sharp, music",
    "𝄞": "the treble clef, music",
    "𝄢": "the bass clef, music",
    "★": "a star",
    "☾": "the moon, a crescent",
    "☀": "the sun",
    "♻": "the recycling symbol",
    "☠": "a skull and crossbones",
    "☮": "the peace sign",
    "☺": "a happy face",
    "☹": "a sad face",
    "☂": "an umbrella",
    "☎": "a telephone",
    "✂": "a pair of scissors",
    "✈": "an airplane",
    "❄": "a snowflake",
    "❤": "a heart",
    "☃": "a snowman",
    "✉": "an envelope",
    "⚓": "an anchor",
    "→": "an arrow",
}


def drawn_glyphs(data: Path) -> Iterator[tuple[str, Image.Image]]:
    """A caption and a picture for every sign in every typeface: filled, coloured or outlined."""
    faces = sorted(face for package in PACKAGES for face in (data / package).rglob("*.ttf"))
    for number, face in enumerate(faces):
        font = ImageFont.truetype(str(face), size=SIDE)
        for sign, caption in _captions(short=number % 2 == 1).items():
            if has(font, sign):
                yield caption, _drawn(face, sign)


def _captions(*, short: bool) -> dict[str, str]:
    letters = {letter: f"the letter {letter}" for letter in ascii_letters}
    digits = {str(k): name if short else f"the number {k}, {name}" for k, name in enumerate(DIGITS)}
    pieces = {sign: f"a {name}, a chess piece" for name, signs in PIECES.items() for sign in signs}
    accented = {letter: _accented(letter) for letter in ACCENTED}
    return letters | digits | accented | SIGNS | SYMBOLS | pieces


def _accented(letter: str) -> str:
    base, mark = unicodedata.normalize("NFD", letter)
    return f"the letter {base} with {MARKS[mark]}"


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
