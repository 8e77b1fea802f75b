"""The two audio encoders of CLAP: HTSAT, with and without fusion of long sounds."""

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
from omnibind_plugin_clap.sound import (
    CLIP,
    FRAMES,
    RATE,
    SLACK,
    LogMel,
    Scale,
    filled,
    fused,
    heard,
    log_mel,
    quantised,
    steps,
)

__all__ = ["ClapAudio", "general", "music"]

WINDOWS_AT_ONCE = 32
DROPPED = {
    "optimizer.*": "training state",
    "*text_branch.*": "of the text encoder",
    "*text_projection.*": "of the text encoder",
    "*_transform.*": "layers of the training loss; rows are taken before them",
    "*logit_scale_?": "temperature of the training loss",
    "*.spectrogram_extractor.*": "Fourier transform as a convolution; finish computes it",
    "*.logmel_extractor.*": "mel bands; finish computes them",
    "*.tscam_conv.*": "classifier of the tower's own pre-training",
    "*audio_branch.head.*": "classifier of the tower's own pre-training",
    "*.attn_mask": "follows from the sizes",
}
PUBLISHED = re.compile(r"(?:state_dict\.)?(?:module\.)?(audio_branch|audio_projection)\.(.+)")


class ClapAudio(nn.Module):
    """CLAP's audio encoder: log-mel pictures through HTSAT and two linear layers.

    Shape:
        `mels` `[window, picture, 1001, 64]`, `longer` `[window]`, `count` `[item]` ->
        `[item, dim]`: the mean of an item's unit window rows, at unit norm again.
    Attributes:
        long: `windows` (ours): the mean over windows of 10 s. `official`: what the authors do,
            with the middle where they draw at random: four fused pictures, or one crop.
    Source:
        arXiv:2211.06687; the tower is transformers' `ClapAudioModel`. The authors' fused model
        has mel bands of HTK's formula, the other of Slaney's.
    """

    def __init__(self, config: ClapAudioConfig) -> None:
        super().__init__()
        self.tower = tower(config)
        self.projection = projection(config.hidden_size, config.projection_dim)
        self.fuses = config.enable_fusion
        self.scale: Scale = "htk" if self.fuses else "slaney"
        self.mel = LogMel(self.scale)
        self.long: Literal["windows", "official"] = "windows"

    def preprocess(self, media: Audio) -> dict[str, Tensor]:
        """Windows of 10 s, mono at 48 kHz, in 16-bit steps; `official`: a spectrogram."""
        if self.long == "official":
            return self.official(quantised(media.mono(RATE)))
        cut = windows(media.excerpts(RATE), CLIP, slack=SLACK)
        return _sample("steps", [filled(steps(window)) for window in cut])

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Log-mel of every window. The `official` way has it: there all of a sound enters it."""
        made = dict(batch)
        if "steps" in made:
            made["mels"] = self.mel(heard(made.pop("steps")))[:, None]
        return made

    def log_mel(self, sound: Tensor) -> Tensor:
        """`[time]` -> `[frame, 64]` in dB, on the mel scale this model was trained with."""
        return log_mel(sound, self.scale)

    def official(self, sound: Tensor, starts: tuple[int, ...] | None = None) -> dict[str, Tensor]:
        """One window for a sound of any length.

        Args:
            sound: `[time]`, quantised.
            starts: where the authors' random crops begin: three frames with fusion, one sample
                without; the middle by default.
        """
        if len(sound) <= CLIP:
            return _sample("mels", [self._pictures(self.log_mel(filled(sound)))])
        if not self.fuses:
            start = starts[0] if starts else (len(sound) - CLIP) // 2
            return _sample("mels", [self.log_mel(sound[start : start + CLIP])[None]])
        mel = self.log_mel(sound)
        if len(mel) == FRAMES:
            return _sample("mels", [self._pictures(mel)])
        return _sample("mels", [fused(mel, starts)], longer=True)

    def _pictures(self, mel: Tensor) -> Tensor:
        return mel.expand(4 if self.fuses else 1, -1, -1)

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all items one after another, and how many each has."""
        return joined(items)

    def features(self, mels: Tensor, longer: Tensor) -> Tensor:
        """Pooled tower features before the projection: `[window, width]`."""
        mels = mels.to(self.tower.audio_encoder.batch_norm.weight.dtype)
        return self.tower(input_features=mels, is_longer=longer).pooler_output

    def window_rows(self, batch: dict[str, Tensor]) -> Tensor:
        """A unit row for every window: `[window, dim]`."""
        blocks = zip(
            batch["mels"].split(WINDOWS_AT_ONCE),
            batch["longer"].split(WINDOWS_AT_ONCE),
            strict=True,
        )
        rows = [self.projection(self.features(*block)) for block in blocks]
        return normalize(torch.cat(rows).float(), dim=-1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(mean_rows(self.window_rows(batch), batch["count"]), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `audio_branch` and `audio_projection` of a published checkpoint."""
        report = load_state(self, dict(apart(state)), rename=_renamed, dropped=DROPPED)
        used = dict.fromkeys(key.partition(":")[0] for key in report.used)
        return LoadReport(used=tuple(used), dropped=report.dropped)


def _sample(name: str, windows: list[Tensor], *, longer: bool = False) -> dict[str, Tensor]:
    return {name: torch.stack(windows), "longer": torch.full((len(windows),), longer)}


def _renamed(key: str) -> str | None:
    match = PUBLISHED.fullmatch(key)
    if not match:
        return None
    part, name = match.groups()
    if part == "audio_projection":
        return f"projection.{name}"
    return f"tower.audio_encoder.{renamed(name)}"


def general(size: Size, assets: Mapping[str, Path]) -> ClapAudio:
    """CLAP for any sound: 96 channels, attentional feature fusion."""
    sizes = TINY if size == "tiny" else {}
    return ClapAudio(ClapAudioConfig(enable_fusion=True, fusion_type="aff_2d", **sizes))


def music(size: Size, assets: Mapping[str, Path]) -> ClapAudio:
    """CLAP for music and speech: a larger tower, no fusion."""
    full = {"patch_embeds_hidden_size": 128, "depths": [2, 2, 12, 2], "hidden_size": 1024}
    return ClapAudio(ClapAudioConfig(**(TINY if size == "tiny" else full)))
