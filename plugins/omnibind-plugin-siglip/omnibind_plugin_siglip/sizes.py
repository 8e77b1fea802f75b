"""What the name of a published SigLIP says: widths, parameters, FLOPs. No torch in here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omnibind.errors import UnknownNameError

__all__ = ["CONTEXT", "Siglip", "Tower"]

CONTEXT = 64
"""Tokens a text tower reads, the end among them."""
NAME = re.compile(r"siglip(?P<two>2?)-(?P<size>[a-z0-9-]+)-patch(?P<patch>\d+)-(?P<side>\d+)")


@dataclass(frozen=True)
class Tower:
    """A transformer: width, blocks, heads, width inside a block's two layers."""

    width: int
    layers: int
    heads: int
    hidden: int

    @property
    def params(self) -> int:
        """Of all blocks."""
        return self.layers * (self._two_layers + 4 * self.width * (self.width + 2))

    @property
    def _two_layers(self) -> int:
        return 2 * self.width * self.hidden + self.width + self.hidden

    def flops(self, tokens: int) -> float:
        """2 x multiply-add of all blocks."""
        each = 2 * (4 * self.width**2 + 2 * self.width * self.hidden)
        return float(self.layers * tokens * (each + 4 * tokens * self.width))

    @property
    def pooling(self) -> int:
        """Parameters of attention pooling: a query, attention, a norm, two layers."""
        return self._two_layers + 4 * self.width * (self.width + 1) + 3 * self.width


TOWERS = {
    "base": Tower(768, 12, 12, 3072),
    "large": Tower(1024, 24, 16, 4096),
    "so400m": Tower(1152, 27, 16, 4304),
    "giant-opt": Tower(1536, 40, 16, 6144),
}


@dataclass(frozen=True)
class Siglip:
    """One published model.

    Attributes:
        second: whether it is a SigLIP 2.
        vision, text: its towers.
        patch, side: pixels of a patch and of a picture, each way.
        vocabulary: entries of its tokenizer.
    """

    second: bool
    vision: Tower
    text: Tower
    patch: int
    side: int
    vocabulary: int

    @classmethod
    def named(cls, name: str) -> Siglip:
        """From a name such as `siglip2-base-patch16-256`.

        Raises:
            UnknownNameError: no such name, or a size that is not known here.
        """
        found = NAME.fullmatch(name)
        if not found or found["size"] not in TOWERS:
            raise UnknownNameError(
                "SigLIP of the size in",
                name,
                TOWERS,
                next_step="name it as siglip[2]-SIZE-patchP-PIXELS",
            )
        second, size = bool(found["two"]), found["size"]
        return cls(
            second=second,
            vision=TOWERS[size],
            text=TOWERS["so400m" if size == "giant-opt" else size],
            patch=int(found["patch"]),
            side=int(found["side"]),
            vocabulary=256_000 if second else 32_000,
        )

    @property
    def _tokens(self) -> int:
        return (self.side // self.patch) ** 2

    @property
    def image_params(self) -> int:
        """Parameters of the picture tower: patches, positions, blocks, norm, pooling."""
        width = self.vision.width
        stem = 3 * self.patch**2 * width + width + self._tokens * width
        return stem + self.vision.params + 2 * width + self.vision.pooling

    @property
    def text_params(self) -> int:
        """Parameters of the text tower: tables, blocks, norm, last layer, temperature, bias."""
        width, dim = self.text.width, self.vision.width
        return (self.vocabulary + CONTEXT + 2) * width + self.text.params + (width + 1) * dim + 2

    @property
    def image_flops(self) -> float:
        """FLOPs of one picture."""
        width, tokens = self.vision.width, self._tokens
        stem = 6 * self.patch**2 * width * tokens
        pooling = 4 * width * (tokens * (width + 1) + width + self.vision.hidden)
        return stem + self.vision.flops(tokens) + pooling

    @property
    def text_flops(self) -> float:
        """FLOPs of one text."""
        return self.text.flops(CONTEXT) + 2 * self.text.width * self.vision.width
