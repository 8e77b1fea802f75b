"""Sounds: an `Audio`, its samples in [-1, 1] and their rate, whatever the file was.

libsndfile (through soundfile) decodes what it knows; FFmpeg (through PyAV) decodes MP3, AAC/M4A
and the sound tracks of MP4, WebM and other videos. Samples beyond [-1, 1] are clipped, as any
player does. A file that promises more samples than it holds is refused where its format tells.

Files are read piece by piece. A sound of more than five minutes is held as thirty excerpts of 10 s
(see `omnibind.media.excerpts`), whatever it came from.

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
from omnibind.media.excerpts import Stretches, evenly
from omnibind.media.sound_files import check_extent, decode
from omnibind.media.source import decoding, describe, opened, refusal

LOUDEST = 8.0
"""Samples beyond this are no overshoot but another scale, such as 16-bit integers as floats."""


@dataclass(frozen=True, eq=False)
class Audio:
    """One sound, or the excerpts that are held of a long one.

    Attributes:
        waveform: samples in [-1, 1]; excerpts of one length come one after another.
        rate: samples a second of each channel, in Hz.
        starts: where in the whole sound each excerpt starts, in samples; (0,) if all is held.
        whole: samples a channel of the whole sound; 0 says those that are held.
    """

    waveform: Float[Tensor, "channel time"]
    rate: int
    starts: tuple[int, ...] = (0,)
    whole: int = 0
    _mono: dict[int, Tensor] = field(default_factory=dict[int, Tensor], init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    @property
    def seconds(self) -> float:
        """How long the whole sound lasts, in s."""
        return (self.whole or self.waveform.shape[-1]) / self.rate

    @property
    def pieces(self) -> Float[Tensor, "excerpt channel time"]:
        """The excerpts with all their channels; the whole sound is one."""
        return self.waveform.unflatten(-1, (len(self.starts), -1)).transpose(0, 1)

    def mono(self, rate: int) -> Float[Tensor, " time"]:
        """The mean of the channels at another rate, in Hz; excerpts one after another.

        Computed once for each rate, however many encoders and threads ask. The tensor is shared:
        do not write into it.
        """
        with self._lock:
            if rate not in self._mono:
                self._mono[rate] = _resampled(self.pieces.mean(1), self.rate, rate)
            return self._mono[rate]

    def excerpts(self, rate: int) -> Float[Tensor, "excerpt time"]:
        """The same, each excerpt apart: what `omnibind.media.windows` takes."""
        return self.mono(rate).unflatten(0, (len(self.starts), -1))

    def __reduce__(self) -> tuple[type[Audio], tuple[Tensor, int, tuple[int, ...], int]]:
        return Audio, (self.waveform, self.rate, self.starts, self.whole)


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
        return _again(source)
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
    with opened(source, "audio") as file, decoding("audio", file.label):
        return _checked(*decode(file), file.label)


def cut(media: Audio, seconds: int | float) -> list[tuple[float, Audio]]:
    """All that is held of a sound as windows of one length, each with its start in s.

    They are evenly spread from the first sample to the last of the sound, or of each excerpt.
    A twentieth of a window beyond a whole number of them is not worth one more.

    Raises:
        MediaError: the length is not a number of seconds that holds a sample.
    """
    if not (math.isfinite(seconds) and seconds * media.rate >= 1):
        raise refusal(
            "audio",
            f"({describe(media.waveform)} at {media.rate} Hz)",
            found=f"windows of {seconds} s",
            next_step="give a length in seconds, such as 10",
        )
    length, pieces = round(seconds * media.rate), media.pieces
    room = max(0, pieces.shape[-1] - length)
    count = max(1, -(-(pieces.shape[-1] - length // 20) // length))
    return [
        ((begins + at) / media.rate, Audio(piece[:, at : at + length], media.rate))
        for begins, piece in zip(media.starts, pieces, strict=True)
        for at in evenly(count, room)
    ]


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
    """Equal samples, shape, rate and places of the excerpts, equal digest."""
    places = f" {media.starts} {media.whole}" if media.starts != (0,) else ""
    head = f"{tuple(media.waveform.shape)} {media.rate}{places}".encode()
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
    channels, times = samples.shape
    held = check_extent(channels, times, int(rate), label)
    if len(held.starts) > 1:
        samples = np.concatenate([samples[:, at : at + held.length] for at in held.starts], axis=1)
    return _checked(_scaled(samples, label), int(rate), held, times, label)


def _again(sound: Audio) -> Audio:
    """A sound that somebody made or loaded before, checked like any other."""
    label = f"({describe(sound.waveform)} at {sound.rate} Hz)"
    if len(sound.starts) == 1:
        with decoding("audio", label):
            return _from_array(sound.waveform, sound.rate, label)
    times = sound.waveform.shape[1]
    if times % len(sound.starts) or sound.whole < sound.starts[-1] + times // len(sound.starts):
        raise refusal("audio", label, found="excerpts that do not add up", next_step="load it")
    held = Stretches(starts=sound.starts, length=times // len(sound.starts))
    return _checked(sound.waveform.numpy(), sound.rate, held, sound.whole, label)


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


def _checked(
    samples: NDArray[np.float32], rate: int, held: Stretches, whole: int, label: str
) -> Audio:
    loudest = max(float(samples.max()), -float(samples.min()))
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
    waveform = torch.from_numpy(np.ascontiguousarray(samples))
    return Audio(waveform, rate, held.starts, whole if len(held.starts) > 1 else 0)


def _resampled(
    mono: Float[Tensor, "excerpt old_time"], old: int, new: int
) -> Float[Tensor, " time"]:
    if old == new:
        return mono.flatten()
    length = math.ceil(mono.shape[1] * (new / old))  # librosa's: a sample more is cut, less is zero
    made = torch.zeros(len(mono), length)
    for filled, one in zip(made, mono, strict=True):
        samples = soxr.resample(one.numpy(), old, new, quality="HQ")[:length]
        filled[: len(samples)] = torch.from_numpy(samples)
    return made.flatten()
