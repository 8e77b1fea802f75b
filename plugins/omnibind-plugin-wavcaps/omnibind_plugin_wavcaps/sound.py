"""How a sound becomes what WavCaps looks at: log-mel spectrograms of 10 s at 32 kHz."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

__all__ = ["CLIP", "RATE", "SLACK", "LogMel", "filled"]

RATE = 32_000
CLIP = 10 * RATE
FRAME, HOP = 1024, 320
WINDOWS_AT_ONCE = 32
BANDS, LOWEST, HIGHEST = 64, 50.0, 14_000.0
SLACK = RATE // 2
"""Samples beyond a whole number of windows that are not worth one more: half a second."""


def filled(sound: Tensor) -> Tensor:
    """The first 10 s of a sound, with zeros after a shorter one: `[320000]`."""
    return pad(sound[:CLIP], (0, max(0, CLIP - len(sound))))


class LogMel(nn.Module):
    """Power in 64 Slaney bands from 50 Hz to 14 kHz, in dB.

    Hann frames of 1,024 samples every 320, the first and last centred on the window's ends, which
    are mirrored. Silence is -100 dB. On a CPU windows go one by one, which takes half the time of
    32 together: its caches hold one.

    Shape:
        `[window, 320000]` -> `[window, 1001, 64]`, float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taper", torch.hann_window(FRAME), persistent=False)
        self.register_buffer("bands", triangles(), persistent=False)

    def forward(self, sounds: Tensor) -> Tensor:
        """Spectrograms of windows."""
        parts = sounds.split(1 if sounds.is_cpu else WINDOWS_AT_ONCE)
        return torch.cat([self._levels(part) for part in parts])

    def _levels(self, sounds: Tensor) -> Tensor:
        around = pad(sounds, (FRAME // 2, FRAME // 2), mode="reflect")
        found = torch.fft.rfft(around.unfold(-1, FRAME, HOP) * self.taper)
        power = found.real.square() + found.imag.square()
        return 10 * (power @ self.bands.float()).clamp(min=1e-10).log10()


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
