"""How a sound becomes the pictures CLAP looks at: log-mel spectrograms of 10 s at 48 kHz."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

__all__ = [
    "CLIP",
    "FRAMES",
    "RATE",
    "SLACK",
    "LogMel",
    "Scale",
    "filled",
    "fused",
    "heard",
    "log_mel",
    "quantised",
    "steps",
]

RATE = 48_000
CLIP = 10 * RATE
FRAME, HOP = 1024, 480
BANDS, LOWEST, HIGHEST = 64, 50.0, 14_000.0
FRAMES = CLIP // HOP + 1
SLACK = RATE // 2
"""Samples beyond a whole number of windows that are not worth one more: half a second."""
FRAMES_AT_ONCE, WINDOWS_AT_ONCE = 4096, 32
TOP = 32767

Scale = Literal["htk", "slaney"]


class LogMel(nn.Module):
    """Power in 64 bands from 50 Hz to 14 kHz, in dB, at least -100.

    Hann frames of 1,024 samples every 480, the first and last centred on the sound's ends, which
    are mirrored. Frames go in blocks: hours need no more memory than minutes. On a CPU windows go
    one by one, which takes half the time of 32 together: its caches hold one.

    Shape:
        `[window, time]` -> `[window, frame, 64]`, float32.
    """

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.register_buffer("taper", torch.hann_window(FRAME), persistent=False)
        self.register_buffer("bands", triangles(scale), persistent=False)

    def forward(self, sounds: Tensor) -> Tensor:
        """Spectrograms of windows."""
        parts = sounds.split(1 if sounds.is_cpu else WINDOWS_AT_ONCE)
        return torch.cat([self._levels(part) for part in parts])

    def _levels(self, sounds: Tensor) -> Tensor:
        around = pad(sounds, (FRAME // 2, FRAME // 2), mode="reflect")
        blocks = around.unfold(-1, FRAME, HOP).split(FRAMES_AT_ONCE, dim=-2)
        bands = self.bands.float()
        power = torch.cat([_power(block * self.taper) @ bands for block in blocks], dim=-2)
        return 10 * power.clamp(min=1e-10).log10()


def steps(sound: Tensor) -> Tensor:
    """The sound in 16-bit steps towards zero, as the authors kept theirs: int16, `[time]`."""
    return (sound.clamp(-1, 1) * TOP).to(torch.int16)


def heard(stepped: Tensor) -> Tensor:
    """Such steps as samples in [-1, 1]: `[..., time]`, float32."""
    return stepped.float() / TOP


def quantised(sound: Tensor) -> Tensor:
    """Samples that went through such steps."""
    return heard(steps(sound))


def filled(sound: Tensor) -> Tensor:
    """A sound of at most 10 s, repeated as often as it fits whole, then zeros: `[480000]`."""
    if len(sound) == CLIP:
        return sound
    repeated = sound.repeat(CLIP // len(sound))
    return pad(repeated, (0, CLIP - len(repeated)))


def log_mel(sound: Tensor, scale: Scale) -> Tensor:
    """The spectrogram of one sound on the CPU, of any length: `[time]` -> `[frame, 64]`."""
    return _on_the_cpu(scale)(sound[None])[0]


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


@cache
def _on_the_cpu(scale: Scale) -> LogMel:
    return LogMel(scale)


def _power(frames: Tensor) -> Tensor:
    found = torch.fft.rfft(frames)
    return found.real.square() + found.imag.square()


def _middles(places: int) -> tuple[int, ...]:
    """The middle of each third of the places a crop can start; a third may be empty: 0."""
    thirds = torch.arange(places).tensor_split(3)
    return tuple(int(third[len(third) // 2]) if len(third) else 0 for third in thirds)


def triangles(scale: Scale) -> Tensor:
    """Weights of the Fourier bins in each band: `[513, 64]`.

    The fused model learnt from torchaudio's bands (HTK's formula, peaks of 1), the other from
    librosa's (Slaney's formula, equal areas), which are computed in double precision: where a bin
    touches the edge of a triangle, single precision halves its weight.
    """
    edges = htk_edges() if scale == "htk" else slaney_edges()
    bins = torch.linspace(0, RATE / 2, FRAME // 2 + 1, dtype=edges.dtype)[:, None]
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    heights = torch.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)).clamp(min=0)
    return heights if scale == "htk" else (heights * 2 / (high - low)).float()


def htk_edges() -> Tensor:
    """Where bands begin, peak and end, in Hz: logarithmic from 700 Hz up: `[66]`, float32."""
    lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (LOWEST, HIGHEST))
    return 700 * (10 ** (torch.linspace(lowest, highest, BANDS + 2) / 2595) - 1)


def slaney_edges() -> Tensor:
    """The same, linear below 1 kHz and logarithmic above: `[66]`, float64."""
    step = math.log(6.4) / 27
    lowest, highest = LOWEST * 3 / 200, 15 + math.log(HIGHEST / 1000) / step
    mels = torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64)
    return torch.where(mels < 15, mels * 200 / 3, 1000 * (step * (mels - 15)).exp())
