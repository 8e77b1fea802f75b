"""An encoder that is nothing but quick: the row of a text is its length, twice."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omnibind.engine import Item, recognise
from omnibind.plugins import load_registry
from omnibind.specs import EncoderSpec

__all__ = ["Length", "length_card", "texts"]


class Length(nn.Module):
    """The length of a text."""

    def __init__(self, size: str, assets: object) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Its one number."""
        return {"length": torch.tensor(float(len(media)))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """`[item, 2]`, not of unit norm."""
        return batch["length"][:, None] * self.scale


def length_card(key: str = "length", build: str = f"{__name__}:Length") -> EncoderSpec:
    """A card of such an encoder, or of another of the same shape."""
    return EncoderSpec(
        key=key, modality="text", dim=2, params=2, flops_per_item=1.0, build=build, weights=()
    )


def texts(count: int) -> list[Item]:
    """Of one letter, of two, and so on."""
    modalities = load_registry().modalities
    return [recognise(k, "x" * (k + 1), modalities, "text") for k in range(count)]
