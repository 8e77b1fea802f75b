"""How a sound becomes what ImageBind looks at: log-mel spectrograms of 2 s at 16 kHz."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchaudio.compliance.kaldi import get_mel_banks
from torchaudio.functional import resample

from omnibind.media.audio import Audio

__all__ = ["CLIP", "RATE", "SLACK", "Spectrogram", "filled", "official_clips", "resampled"]

RATE = 16_000
CLIP = 2 * RATE
FRAME, HOP, BINS = 400, 160, 512
BANDS, LOWEST, FRAMES = 128, 20.0, 204
RAISE = 0.97
WINDOWS_AT_ONCE = 160
MEAN, STD = -4.268, 9.138
SLACK = RATE // 2
"""Samples beyond a whole number of windows that are not worth one more: half a second."""
MAX_STEPS = 1000
"""Above this, torchaudio's kernel for a ratio of two rates would take gigabytes."""


def resampled(sound: Audio) -> Tensor:
    """The first channel and the mean of all at 16 kHz: `[2, excerpt, time]`, by torchaudio.

    Ours: where the two rates have no ratio of small integers, the nearest such ratio.
    """
    pieces = sound.pieces
    both = torch.stack([pieces[:, 0], pieces.mean(1)])
    ratio = Fraction(RATE, sound.rate)
    if ratio > 1:
        ratio = 1 / (1 / ratio).limit_denominator(MAX_STEPS)
    else:
        ratio = ratio.limit_denominator(MAX_STEPS)
    return resample(both, ratio.denominator, ratio.numerator)


def official_clips(both: Tensor, step: int) -> list[Tensor]:
    """Three clips of 2 s of the first channel, a third (`step` 3) or half (2) of the slack apart.

    From each the mean of all channels is taken away, and stays away where the next one overlaps.
    A shorter sound is one clip, thrice.

    Args:
        both: `[2, time]`: the first channel, and the mean of all.
        step: parts of the time beyond 2 s that lie between two starts.
    """
    both = both.clone()
    clips: list[Tensor] = []
    for number in range(3):
        start = number * max(0, both.shape[1] - CLIP) // step
        clip = both[:, start : start + CLIP]
        clip -= clip[1].mean()
        clips.append(clip[0].clone())
    return clips


def filled(clip: Tensor) -> tuple[Tensor, int]:
    """A clip of at most 2 s with zeros after it, `[32000]`, and the number of frames it fills.

    Ours: a clip shorter than one frame is filled with silence first.
    """
    return pad(clip, (0, CLIP - len(clip))), 1 + max(0, len(clip) - FRAME) // HOP


class Spectrogram(nn.Module):
    """Log energies in 128 mel bands, standardised, as Kaldi computes its filter banks.

    Hann frames of 25 ms every 10 ms, each less its mean and with its high tones raised
    (x[t] - 0.97 x[t-1]); frames that a clip does not fill, and those up to 204, are zeros before
    they are standardised. On a CPU clips go one by one, which its caches hold.

    Shape:
        `[window, 32000]`, and `[window]` filled frames -> `[window, 1, 128, 204]`, float32.
    """

    def __init__(self) -> None:
        super().__init__()
        bands, _ = get_mel_banks(BANDS, BINS, RATE, LOWEST, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("taper", torch.hann_window(FRAME, periodic=False), persistent=False)
        self.register_buffer("bands", pad(bands, (0, 1)).T.contiguous(), persistent=False)

    def forward(self, clips: Tensor, frames: Tensor) -> Tensor:
        """Spectrograms of clips."""
        size = 1 if clips.is_cpu else WINDOWS_AT_ONCE
        parts = zip(clips.split(size), frames.split(size), strict=True)
        return torch.cat([self._levels(*part) for part in parts])[:, None]

    def _levels(self, clips: Tensor, frames: Tensor) -> Tensor:
        cut = clips.unfold(-1, FRAME, HOP)
        cut = cut - cut.mean(-1, keepdim=True)
        before = torch.cat([cut[..., :1], cut[..., :-1]], dim=-1)
        found = torch.fft.rfft((cut - RAISE * before) * self.taper, BINS)
        energies = (found.real.square() + found.imag.square()) @ self.bands.float()
        levels = energies.clamp(min=torch.finfo(energies.dtype).eps).log()
        place = torch.arange(levels.shape[1], device=clips.device)
        levels = levels.where((place < frames[:, None])[..., None], 0)
        return (pad(levels, (0, 0, 0, FRAMES - levels.shape[1])).mT - MEAN) / STD
