"""What sets of drawings share: files found by the letters of their names, frames cut out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageFont

__all__ = ["MARGIN", "cut_out", "drawn_by", "has"]

MARGIN = 0.1
"""White that is left around what is cut out, as a share of its longer side."""
MISSING = "\U0010fffd"
"""What no typeface has: it draws what stands for that."""


def drawn_by(package: str, data: Path) -> Callable[[str], Path | None]:
    """Name of a thing -> what the package draws of it; only letters and digits count."""
    files = {_squeezed(file.stem): file for file in sorted((data / package / "drawn").iterdir())}
    return lambda name: files.get(_squeezed(name))


def cut_out(file: Path, columns: int = 1, lines: int = 1) -> Image.Image:
    """The opaque part of the first frame, on white: figures are small in their frames."""
    with Image.open(file) as opened:
        shown = opened.convert("RGBA")
    shown = shown.crop((0, 0, shown.width // columns, shown.height // lines))
    shown = shown.crop(shown.getchannel("A").getbbox())
    margin = round(MARGIN * max(shown.size))
    made = Image.new("RGB", (shown.width + 2 * margin, shown.height + 2 * margin), "white")
    made.paste(shown, (margin, margin), shown)
    return made


def has(font: ImageFont.FreeTypeFont, sign: str) -> bool:
    """Whether a typeface draws a sign."""
    return bytes(font.getmask(sign)) != bytes(font.getmask(MISSING))


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
