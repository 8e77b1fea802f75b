"""Toy encoders: real tiny networks on real decoded media, for tests of everything around them.

One network serves every modality: media become parts `[part, feature]` (words, a small picture,
frames, points), each part goes through a layer, their mean through another.

A card names a builder by modality and width: `omnibind.testing.toys:text_16`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from omnibind.media.audio import Audio
from omnibind.media.points import Points
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["FEATURES", "WIDTHS", "Toy"]

RATE = 16_000
WINDOW = 512
HOP = 256
SIDE = 8
WORDS = 256
CLOUD = 256
NAME = re.compile(r"(?P<modality>text|image|audio|points)_(?P<dim>[1-9]\d*)")
WIDTHS: Mapping[Size, int] = {"full": 64, "tiny": 16}


class Toy(nn.Module):
    """Two layers around a mean over parts.

    Shape:
        `parts` `[item, part, feature]`, `mask` `[item, part]` -> `[item, dim]`, unit norm.
    """

    def __init__(self, read: Callable[..., Tensor], features: int, width: int, dim: int) -> None:
        super().__init__()
        self.read = read
        self.first = nn.Linear(features, width)
        self.last = nn.Linear(width, dim, bias=False)

    def preprocess(self, media: str | Image.Image | Audio | Points) -> dict[str, Tensor]:
        """The parts of one item."""
        return {"parts": self.read(media)}

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Pads to the item with the most parts."""
        parts = [sample["parts"] for sample in samples]
        mask = [torch.ones(len(part)) for part in parts]
        pad = nn.utils.rnn.pad_sequence
        return {"parts": pad(parts, batch_first=True), "mask": pad(mask, batch_first=True)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows."""
        dtype = self.first.weight.dtype
        parts, mask = batch["parts"].to(dtype), batch["mask"].unsqueeze(-1).to(dtype)
        hidden = torch.tanh(self.first(parts)) * mask
        return F.normalize(self.last(hidden.sum(1) / mask.sum(1)), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes its own keys."""
        return load_state(self, state)


def _words(text: str) -> Tensor:
    """A word is the signs of its hash's 32 bits."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())[:WORDS]
    hashes = torch.tensor([zlib.crc32(word.encode()) for word in words])
    return (hashes.unsqueeze(-1) >> torch.arange(32) & 1).float() * 2 - 1


def _picture(picture: Image.Image) -> Tensor:
    """One part: 8 x 8 pixels, in [-1, 1]."""
    small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return torch.from_numpy(small.astype(np.float32)).reshape(1, -1) / 127.5 - 1


def _frames(audio: Audio) -> Tensor:
    """Log-mel frames of 32 ms, 32 bands."""
    wave = audio.mono(RATE)
    wave = F.pad(wave, (0, max(0, WINDOW - len(wave))))
    frames = wave.unfold(0, WINDOW, HOP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(frames).abs().square()
    return torch.log10(power @ _bands() + 1e-6) / 3 + 1


@cache
def _bands() -> Tensor:
    return melscale_fbanks(WINDOW // 2 + 1, 50.0, RATE / 2, 32, RATE)


def _cloud(points: Points) -> Tensor:
    """256 points: xyz in the unit ball around their mean, rgb in [-1, 1] (0 where unknown)."""
    xyz, rgb = points.sample(CLOUD)
    xyz = xyz - xyz.mean(0)
    xyz = xyz / xyz.norm(dim=-1).max().clamp(min=1e-9)
    return torch.cat([xyz, torch.zeros_like(xyz) if rgb is None else rgb * 2 - 1], dim=-1)


FEATURES: Mapping[str, tuple[Callable[..., Tensor], int]] = {
    "text": (_words, 32),
    "image": (_picture, SIDE * SIDE * 3),
    "audio": (_frames, 32),
    "points": (_cloud, 6),
}


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], Toy]:
    """The builder that a card names as `<modality>_<dim>`."""
    match = NAME.fullmatch(name)
    if not match:
        raise AttributeError(f"module 'omnibind.testing.toys' has no attribute {name!r}")
    read, features = FEATURES[match["modality"]]

    def build(size: Size, assets: Mapping[str, Path]) -> Toy:
        return Toy(read, features, WIDTHS[size], int(match["dim"]))

    return build
