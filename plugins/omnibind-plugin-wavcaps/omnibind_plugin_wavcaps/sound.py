"""How a sound becomes what WavCaps looks at: log-mel spectrograms of 10 s at 32 kHz."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["CLIP", "RATE", "SLACK", "filled", "log_mel"]

RATE = 32_000
CLIP = 10 * RATE
FRAME, HOP = 1024, 320
BANDS, LOWEST, HIGHEST = 64, 50.0, 14_000.0
SLACK = RATE // 2
"""Samples beyond a whole number of windows that are not worth one more: half a second."""


def filled(sound: Tensor) -> Tensor:
    """The first 10 s of a sound, with zeros after a shorter one: `[320000]`."""
    return pad(sound[:CLIP], (0, max(0, CLIP - len(sound))))


def log_mel(window: Tensor) -> Tensor:
    """Power in 64 Slaney bands from 50 Hz to 14 kHz, in dB: `[320000]` -> `[1001, 64]`.

    Hann frames of 1,024 samples every 320, the first and last centred on the window's ends, which
    are mirrored. Silence is -100 dB.
    """
    around = pad(window[None], (FRAME // 2, FRAME // 2), mode="reflect")[0]
    frames = around.unfold(0, FRAME, HOP) * torch.hann_window(FRAME)
    power = torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)
    return 10 * (power @ triangles()).clamp(min=1e-10).log10()


@cache
def triangles() -> Tensor:
    """Weights of the Fourier bins in each band, of equal area: `[513, 64]`.

    In double precision, as librosa computes them: where a bin touches the edge of a triangle, it
    makes a difference.
    """
    bins = torch.linspace(0, RATE / 2, FRAME // 2 + 1, dtype=torch.float64)[:, None]
    edges = slaney_edges()
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    heights = torch.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    return (heights.clamp(min=0) * 2 / (high - low)).float()


def slaney_edges() -> Tensor:
    """Where bands begin, peak and end, in Hz: linear below 1 kHz, logarithmic above: `[66]`."""
    step = math.log(6.4) / 27
    lowest, highest = LOWEST * 3 / 200, 15 + math.log(HIGHEST / 1000) / step
    mels = torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64)
    return torch.where(mels < 15, mels * 200 / 3, 1000 * (step * (mels - 15)).exp())
