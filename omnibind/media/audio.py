"""Sounds: an `Audio`, its samples in [-1, 1] and their rate, whatever the file was.

libsndfile (through soundfile) decodes what it knows; FFmpeg (through PyAV) decodes MP3, AAC/M4A
and the sound tracks of MP4, WebM and other videos. Samples beyond [-1, 1] are clipped, as any
player does. A file that promises more samples than it holds is refused where its format tells.

Rates are changed by soxr HQ and lengths are librosa's, as in the code of the CLAP and WavCaps
papers: equal to it in every sample. torchaudio's filters are within 2e-4 to 5e-2 of it at best.
Ours: all limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import Any, cast

import numpy as np
import soxr
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from omnibind.media.arrays import as_array, is_array
from omnibind.media.sound_files import check_extent, decode
from omnibind.media.source import decoding, describe, read, refusal

LOUDEST = 8.0
"""Samples beyond this are no overshoot but another scale, such as 16-bit integers as floats."""


@dataclass(frozen=True, eq=False)
class Audio:
    """One sound.

    Attributes:
        waveform: samples in [-1, 1].
        rate: samples a second of each channel, in Hz.
    """

    waveform: Float[Tensor, "channel time"]
    rate: int
    _mono: dict[int, Tensor] = field(default_factory=dict[int, Tensor], init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def seconds(self) -> float:
        """How long it lasts, in s."""
        return self.waveform.shape[-1] / self.rate

    def mono(self, rate: int) -> Float[Tensor, " time"]:
        """The mean of the channels at another rate, in Hz.

        Computed once for each rate, however many encoders and threads ask. The tensor is shared:
        do not write into it.
        """
        with self._lock:
            if rate not in self._mono:
                self._mono[rate] = _resampled(self.waveform.mean(0), self.rate, rate)
            return self._mono[rate]

    def __reduce__(self) -> tuple[type[Audio], tuple[Tensor, int]]:
        return Audio, (self.waveform, self.rate)


def load(source: object) -> Audio:
    """Reads a sound.

    Args:
        source: a path, the bytes of a file, an `Audio`, or `(waveform, rate)`: an array or tensor
            `[time]`, `[channel, time]` or `[time, channel]` (the longer axis is time) of float in
            [-1, 1], int16, int32 or uint8, and its rate in Hz.
    Raises:
        MediaError: it holds no sound, is is damaged, cut short or too long, or has NaN samples.
    """
    if isinstance(source, Audio):
        source = (source.waveform, source.rate)
    if isinstance(source, tuple) and len(pair := cast("tuple[Any, ...]", source)) == 2:
        label = f"({describe(pair[0])} at {pair[1]} Hz)"
        with decoding("audio", label):
            return _from_array(*pair, label)
    if is_array(source):
        raise refusal(
            "audio",
            f"({describe(source)})",
            found="samples without a rate",
            next_step="give (waveform, rate in Hz)",
        )
    content = read(source, "audio")
    with decoding("audio", content.label):
        samples, rate = decode(content)
        return _checked(samples, rate, content.label)


def claims(thing: object) -> bool:
    """Whether the object is an `Audio`, `(waveform, rate)`, or samples that lack their rate."""
    if isinstance(thing, Audio):
        return True
    if isinstance(thing, tuple) and len(thing) == 2:
        return is_array(thing[0]) and isinstance(thing[1], int | float | np.number)
    if not is_array(thing) or str(thing.dtype).endswith("uint8"):
        return False
    return thing.ndim == 1 or (thing.ndim == 2 and min(thing.shape) <= 2)


def digest(media: Audio) -> bytes:
    """Equal samples, shape and rate, equal digest."""
    head = f"{tuple(media.waveform.shape)} {media.rate}".encode()
    summary = blake2b(head, digest_size=16, person=b"audio")
    summary.update(media.waveform.contiguous().numpy().data)
    return summary.digest()


def _from_array(waveform: Any, rate: Any, label: str) -> Audio:
    if not is_array(waveform) or waveform.ndim not in (1, 2):
        raise refusal(
            "audio",
            label,
            found="no waveform of one or two axes",
            next_step="give an array [time], [channel, time] or [time, channel] and a rate in Hz",
        )
    if isinstance(rate, bool) or rate != int(rate):
        raise refusal("audio", label, found=f"a rate of {rate!r}", next_step="give Hz as an int")
    samples = as_array(waveform)
    samples = samples[None] if samples.ndim == 1 else samples
    if samples.shape[0] > samples.shape[1] > 0:
        samples = samples.T
    check_extent(samples.shape[0], samples.shape[1], int(rate), label)
    return _checked(_scaled(samples, label), int(rate), label)


def _scaled(samples: NDArray[Any], label: str) -> NDArray[np.float32]:
    """Integers of full scale to [-1, 1), by the power of two that file decoders use."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if samples.dtype.name in ("int16", "int32"):
        return samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    raise refusal(
        "audio",
        label,
        found=f"samples of type {samples.dtype}",
        next_step="give float in [-1, 1], int16, int32 or uint8",
    )


def _checked(samples: NDArray[np.float32], rate: int, label: str) -> Audio:
    check_extent(samples.shape[0], samples.shape[1], rate, label)
    loudest = float(np.abs(samples).max())
    if not np.isfinite(loudest):
        raise refusal(
            "audio", label, found="NaN or infinite samples", next_step="find what wrote them"
        )
    if loudest > LOUDEST:
        raise refusal(
            "audio",
            label,
            found=f"samples up to {loudest:g}, expected [-1, 1]",
            next_step="divide by full scale (32768 for 16-bit samples)",
        )
    samples = np.clip(samples, -1, 1) if loudest > 1 else np.array(samples, order="C")
    return Audio(torch.from_numpy(np.ascontiguousarray(samples)), rate)


def _resampled(mono: Float[Tensor, " old_time"], old: int, new: int) -> Float[Tensor, " time"]:
    if old == new:
        return mono
    samples = soxr.resample(mono.numpy(), old, new, quality="HQ")
    length = math.ceil(len(mono) * (new / old))  # librosa's: a sample more or less is cut or zero
    return torch.from_numpy(np.pad(samples[:length], (0, max(0, length - len(samples)))))
