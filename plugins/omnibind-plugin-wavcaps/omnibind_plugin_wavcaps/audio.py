"""The audio encoder of WavCaps: HTSAT and two linear layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import ClapAudioConfig

from omnibind.htsat import TINY, apart, projection, renamed, tower
from omnibind.media.audio import Audio
from omnibind.media.windows import joined, mean_rows, windows
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_wavcaps.sound import CLIP, RATE, SLACK, LogMel, filled

__all__ = ["WavCapsAudio", "build"]

WINDOWS_AT_ONCE = 32
DROPPED = {
    "optimizer.*": "training state",
    "*text_encoder.*": "of the text encoder",
    "*text_proj.*": "of the text encoder",
    "temp": "temperature of the training loss",
    "model.temp": "temperature of the training loss",
    "*.audio_feats_extractor.*": "Fourier transform and mel bands; finish computes them",
    "*.tscam_conv.*": "classifier of the tower's own pre-training",
    "*.audio_enc.head.*": "classifier of the tower's own pre-training",
    "*.attn_mask": "follows from the sizes",
}
PUBLISHED = re.compile(r"(?:model\.)?(audio_encoder\.audio_enc|audio_proj)\.(.+)")


class WavCapsAudio(nn.Module):
    """WavCaps' audio encoder: log-mel spectrograms through HTSAT and two linear layers.

    Shape:
        `mels` `[window, 1, 1001, 64]`, `count` `[item]` -> `[item, dim]`: the mean of an item's
        unit window rows, at unit norm again.
    Attributes:
        long: `windows` (ours): the mean over windows of 10 s. `official`: the first 10 s, as
            OmniBind's released code takes them.
    Source:
        arXiv:2303.17395; the tower is transformers' `ClapAudioModel` without fusion.
    """

    def __init__(self, config: ClapAudioConfig) -> None:
        super().__init__()
        self.tower = tower(config)
        self.projection = projection(config.hidden_size, config.projection_dim)
        self.mel = LogMel()
        self.long: Literal["windows", "official"] = "windows"

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        """Windows of 10 s, mono at 32 kHz."""
        if self.long == "official":
            cut = [media.mono(RATE)[:CLIP]]
        else:
            cut = windows(media.excerpts(RATE), CLIP, slack=SLACK)
        return {"sounds": torch.stack([filled(window) for window in cut])}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Log-mel of every window."""
        made = dict(batch)
        return {"mels": self.mel(made.pop("sounds"))[:, None], **made}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all items one after another, and how many each has."""
        return joined(items)

    def features(self, mels: Tensor) -> Tensor:
        """Pooled tower features before the projection: `[window, width]`."""
        mels = mels.to(self.tower.audio_encoder.batch_norm.weight.dtype)
        return self.tower(input_features=mels).pooler_output

    def window_rows(self, batch: dict[str, Tensor]) -> Tensor:
        """A unit row for every window: `[window, dim]`."""
        blocks = batch["mels"].split(WINDOWS_AT_ONCE)
        rows = [self.projection(self.features(block)) for block in blocks]
        return normalize(torch.cat(rows).float(), dim=-1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(mean_rows(self.window_rows(batch), batch["count"]), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `audio_encoder` and `audio_proj` of a published checkpoint."""
        report = load_state(self, dict(apart(state)), rename=_renamed, dropped=DROPPED)
        used = dict.fromkeys(key.partition(":")[0] for key in report.used)
        return LoadReport(used=tuple(used), dropped=report.dropped)


def _renamed(key: str) -> str | None:
    match = PUBLISHED.fullmatch(key)
    if not match:
        return None
    part, name = match.groups()
    if part == "audio_proj":
        return f"projection.{name}"
    return f"tower.audio_encoder.{renamed(name)}"


def build(size: Size, assets: Mapping[str, Path]) -> WavCapsAudio:
    """WavCaps' audio encoder; its full sizes are the defaults of transformers."""
    return WavCapsAudio(ClapAudioConfig(projection_dim=1024, **(TINY if size == "tiny" else {})))
