"""The golden case of resampling, which several audio spaces share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torchaudio.functional import resample  # pyright: ignore[reportUnknownVariableType]

from omnibind.media import audio

__all__ = ["run"]


def run(
    case: dict[str, Any], folder: Path, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Each file at each rate: the mean of the channels, but ImageBind's 16 kHz by channel."""
    outputs: dict[str, Tensor] = {}
    for check in case["checks"]:
        sound = audio.load(folder / check["given"]["file"])
        for name, facts in check["outputs"].items():
            rate = int(name.rpartition(".")[2].removesuffix("k")) * 1000
            by_channel = len(facts["shape"]) == 2 or rate == 16_000
            made = resample(sound.waveform, sound.rate, rate) if by_channel else sound.mono(rate)
            outputs[name] = made.reshape(facts["shape"])
    return outputs
