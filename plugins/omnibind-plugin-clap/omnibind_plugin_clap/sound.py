"""How a sound becomes the pictures CLAP looks at: log-mel spectrograms of 10 s at 48 kHz."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchaudio.functional import melscale_fbanks

__all__ = ["CLIP", "FRAMES", "RATE", "SLACK", "Scale", "filled", "fused", "log_mel", "quantised"]

RATE = 48_000
CLIP = 10 * RATE
FRAME, HOP = 1024, 480
BANDS, LOWEST, HIGHEST = 64, 50.0, 14_000.0
FRAMES = CLIP // HOP + 1
SLACK = RATE // 2
"""Samples beyond a whole number of windows that are not worth one more: half a second."""
FRAMES_AT_ONCE = 4096

Scale = Literal["htk", "slaney"]


def quantised(sound: Tensor) -> Tensor:
    """The sound in 16-bit steps towards zero, as the authors kept theirs: `[time]`."""
    return (sound.clamp(-1, 1) * 32767).trunc() / 32767


def filled(sound: Tensor) -> Tensor:
    """A sound of at most 10 s, repeated as often as it fits whole, then zeros: `[480000]`."""
    if len(sound) == CLIP:
        return sound
    repeated = sound.repeat(CLIP // len(sound))
    return pad(repeated, (0, CLIP - len(repeated)))


def log_mel(sound: Tensor, scale: Scale) -> Tensor:
    """Power in 64 bands from 50 Hz to 14 kHz, in dB, at least -100: `[time]` -> `[frame, 64]`.

    Hann frames of 1,024 samples every 480, the first and last centred on the sound's ends, which
    are mirrored. Frames go in blocks: hours need no more memory than minutes.
    """
    around = pad(sound[None], (FRAME // 2, FRAME // 2), mode="reflect")[0]
    taper, bands = torch.hann_window(FRAME), triangles(scale)
    blocks = around.unfold(0, FRAME, HOP).split(FRAMES_AT_ONCE)
    power = torch.cat([_power(block * taper) @ bands for block in blocks])
    return 10 * power.clamp(min=1e-10).log10()


def fused(mel: Tensor, starts: tuple[int, int, int] | None = None) -> Tensor:
    """A long spectrogram as four: all of it shrunk, then a crop of each third: `[4, 1001, 64]`.

    Args:
        mel: `[frame, 64]` with more than 1,001 frames.
        starts: first frames of the crops. The authors draw them; without them each crop is in
            the middle of its range, so that the same sound gives the same row.
    """
    crops = [mel[start : start + FRAMES] for start in starts or _middles(len(mel) - FRAMES + 1)]
    return torch.stack([shrunk(mel), *crops])


def shrunk(mel: Tensor, *, antialias: bool = False) -> Tensor:
    """All frames squeezed into 1,001, bilinear and without a low-pass, as OmniBind's torchvision
    0.16 did; `antialias` is what newer versions do.
    """
    size = (FRAMES, mel.shape[1])
    return interpolate(mel[None, None], size, mode="bilinear", antialias=antialias)[0, 0]


def _power(frames: Tensor) -> Tensor:
    return torch.view_as_real(torch.fft.rfft(frames)).square().sum(-1)


def _middles(places: int) -> tuple[int, ...]:
    """The middle of each third of the places a crop can start; a third may be empty: 0."""
    thirds = torch.arange(places).tensor_split(3)
    return tuple(int(third[len(third) // 2]) if len(third) else 0 for third in thirds)


@cache
def triangles(scale: Scale) -> Tensor:
    """Weights of the Fourier bins in each band: `[513, 64]`.

    The fused model learnt from torchaudio's bands (HTK's formula, peaks of 1), the other from
    librosa's (Slaney's formula, equal areas), which are computed in double precision: where a bin
    touches the edge of a triangle, single precision halves its weight.
    """
    if scale == "htk":
        return melscale_fbanks(FRAME // 2 + 1, LOWEST, HIGHEST, BANDS, RATE, mel_scale="htk")
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
