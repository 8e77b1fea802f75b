"""How a sound becomes what ImageBind looks at: log-mel spectrograms of 2 s at 16 kHz."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchaudio.compliance.kaldi import fbank
from torchaudio.functional import resample

from omnibind.media.audio import Audio

__all__ = ["CLIP", "RATE", "SLACK", "official_clips", "resampled", "spectrogram"]

RATE = 16_000
CLIP = 2 * RATE
FRAME, BANDS, FRAMES = 400, 128, 204
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


def spectrogram(clip: Tensor) -> Tensor:
    """Log energies in 128 mel bands, standardised: `[time]` -> `[1, 128, 204]`.

    Kaldi's filter banks, Hann frames of 25 ms every 10 ms, then zeros up to 204 frames. Ours: a
    clip shorter than one frame is filled with silence first.
    """
    energies = fbank(
        pad(clip, (0, max(0, FRAME - len(clip))))[None],
        sample_frequency=RATE,
        htk_compat=True,
        window_type="hanning",
        num_mel_bins=BANDS,
        use_energy=False,
        dither=0.0,
        frame_length=25,
        frame_shift=10,
    )
    filled = pad(energies, (0, 0, 0, FRAMES - len(energies)))
    return ((filled.mT - MEAN) / STD)[None]
