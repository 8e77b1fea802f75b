"""The audio encoder of ImageBind: spectrograms of 2 s through a ViT-B."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnibind.media.audio import Audio
from omnibind.media.windows import joined, mean_rows, windows
from omnibind.specs import Size
from omnibind.weights import LoadReport
from omnibind_plugin_imagebind.sound import (
    CLIP,
    SLACK,
    Spectrogram,
    filled,
    official_clips,
    resampled,
)
from omnibind_plugin_imagebind.trunk import Patches, Trunk, load_trunk

__all__ = ["ImageBindAudio", "build"]

TOKENS = 12 * 19


class ImageBindAudio(nn.Module):
    """ImageBind's audio encoder.

    Shape:
        `windows` `[window, 1, 128, 204]`, `count` `[item]` -> `[item, dim]`: the mean of an
        item's unit window rows, at unit norm again.
    Attributes:
        long: `windows` (ours): the mean over windows of 2 s of all channels. `official`: three
            clips of the first channel.
        step: where the official clips start: 3, at thirds of the time beyond 2 s, so that the end
            is never heard, as OmniBind's release does; 2, at halves, as ImageBind's own.
    Source:
        arXiv:2305.05665.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        stem = Patches(width, stride=10)
        self.trunk = Trunk(stem, tokens=TOKENS, width=width, layers=layers, heads=heads, dim=dim)
        self.spectrogram = Spectrogram()
        self.long: Literal["windows", "official"] = "windows"
        self.step: Literal[2, 3] = 3

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        """Windows of 2 s at 16 kHz, and how many frames of each are filled."""
        both = resampled(media)
        if self.long == "official":
            clips = official_clips(both.flatten(1), self.step)
        else:
            clips = windows(both[1], CLIP, slack=SLACK)
        sounds, frames = zip(*map(filled, clips), strict=True)
        return {"sounds": torch.stack(sounds), "frames": torch.tensor(frames)}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Spectrograms of every window."""
        made = dict(batch)
        return {"windows": self.spectrogram(made.pop("sounds"), made.pop("frames")), **made}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all items one after another, and how many each has."""
        return joined(items)

    def window_rows(self, batch: dict[str, Tensor]) -> Tensor:
        """A unit row for every window: `[window, dim]`."""
        return self.trunk(batch["windows"])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(mean_rows(self.window_rows(batch), batch["count"]), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `audio` part of the published file."""
        return load_trunk(self, state, "audio")


def build(size: Size, assets: Mapping[str, Path]) -> ImageBindAudio:
    """ImageBind's audio encoder."""
    if size == "tiny":
        return ImageBindAudio(width=32, layers=2, heads=4, dim=1024)
    return ImageBindAudio(width=768, layers=12, heads=12, dim=1024)
