"""The emoji of things once more, by two other hands: Noto's and Twitter's are flat drawings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from testbed import Picture, training_pictures

__all__ = ["noto_emoji", "things", "twitter_emoji"]

NAMED_BY = "fluent-emoji-3d"
"""The package whose files are listed with captions, under the code points of their emoji."""
FONT = "fonts-noto-color-emoji/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TWITTER = "emoji-datasource-twitter/img/twitter/64"
GROUPS = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
SIZE = 109  # pixels: the only size that the font has pictures of
JOINED = 1.5  # a sequence that the font does not know is drawn as several pictures, side by side


def noto_emoji(data: Path) -> Iterator[tuple[str, Image.Image]]:
    """A caption and a picture for every emoji that the font draws as one."""
    font = ImageFont.truetype(str(data / FONT), SIZE)
    one = font.getlength("\N{CAT FACE}")
    for shown in things(data):
        sign = "".join(chr(int(code, 16)) for code in shown.picture.stem.split("-"))
        if 0 < font.getlength(sign) < JOINED * one:
            yield shown.caption, _drawn(sign, font)


def twitter_emoji(data: Path) -> Iterator[tuple[str, Path]]:
    """A caption and a file for every emoji that there is a file of."""
    for shown in things(data):
        file = data / TWITTER / f"{shown.picture.stem}.png"
        if file.is_file():
            yield shown.caption, file


def things(data: Path) -> Iterator[Picture]:
    """The listed emoji of things, which name those of other hands."""
    for shown in training_pictures(data):
        if shown.package == NAMED_BY and shown.group in GROUPS:
            yield shown


def _drawn(sign: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    picture = Image.new("RGB", (160, 160), "white")
    ImageDraw.Draw(picture).text((80, 80), sign, font=font, embedded_color=True, anchor="mm")
    return picture
