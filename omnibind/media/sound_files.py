"""Decodes a sound or video file, block by block: what is held of it, and its rate.

What may be opened is a list, for FFmpeg knows formats that name other files and network addresses.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from av.error import FFmpegError
from numpy.typing import NDArray

from omnibind.errors import MediaError
from omnibind.media.excerpts import Stretches
from omnibind.media.source import Opened, refusal

MAX_SECONDS = 24 * 3600
"""Longest sound, in s (ours)."""
MAX_CHANNELS = 32
RATES = range(1_000, 768_001)
"""Rates that are believed, in Hz (ours)."""

_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mp3,aac,flac,ogg,wav,aiff,au,caf,asf,avi,mpegts,mpeg,"
    "flv,ac3,eac3,amr"
)
_CODECS = (
    "aac,aac_latm,mp1float,mp2float,mp3float,mp1,mp2,mp3,ac3,eac3,alac,flac,vorbis,opus,wmav1,"
    "wmav2,amrnb,amrwb,adpcm_ms,adpcm_ima_wav,pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,"
    "pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_alaw,pcm_mulaw"
)
_UNKNOWN_TO_LIBSNDFILE = (1, 4)  # unrecognised format, unsupported encoding
_STREAMED = 0x7F00_0000  # size fields beyond this are placeholders of programs that write to pipes

Samples = NDArray[np.float32]


def decode(source: Opened) -> tuple[Samples, int, Stretches, int]:
    """What is held, `[channel, time]`; its rate in Hz; which stretches these are; of how many.

    Raises:
        MediaError: refused by a limit, or cut short. Decoders raise what they like besides.
    """
    if _is_libsndfiles(source.head):
        try:
            return _decode_sound(source)
        except soundfile.LibsndfileError as error:
            if error.code not in _UNKNOWN_TO_LIBSNDFILE:
                raise
    return _decode_track(source)


def check_extent(channels: int, times: int, rate: int, label: str) -> Stretches:
    """What to hold of a sound, or a refusal by its header, before anything is decoded."""
    found = ""
    if rate not in RATES:
        found = f"a rate of {rate:,} Hz; believed are {RATES[0]:,} to {RATES[-1]:,} Hz"
    elif not 1 <= channels <= MAX_CHANNELS:
        found = f"{channels} channels; 1 to {MAX_CHANNELS} are read"
    elif times < 1:
        found = "no samples: its length is zero"
    elif times > MAX_SECONDS * rate:
        found = f"{times:,} samples ({times / rate:,.0f} s); at most {MAX_SECONDS:,} s are read"
    elif not (held := Stretches.of(channels, times, rate)).starts:
        found = f"{times / rate:,.0f} s of {channels} channels at {rate:,} Hz: too much at a time"
    else:
        return held
    raise refusal(
        "audio", label, found=found, next_step="mend it, or cut out the part that matters"
    )


def _is_libsndfiles(data: bytes) -> bool:
    # MP3 is not among them: libsndfile's decoder prints to the terminal.
    return data[:4] in (b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"riff") or (
        data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE"
    )


class _Forgiving:
    """A file that lets a damaged header seek to before the start."""

    def __init__(self, file: Any) -> None:
        self.tell, self.read, self.readinto = file.tell, file.read, file.readinto
        self._seek = file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._seek(max(offset, 0) if whence == 0 else offset, whence)


def _decode_sound(source: Opened) -> tuple[Samples, int, Stretches, int]:
    source.file.seek(0)
    stream: Any = _Forgiving(source.file)
    with soundfile.SoundFile(stream) as sound:
        file: Any = sound
        held = check_extent(file.channels, file.frames, file.samplerate, source.label)
        for claimed, there in re.findall(r": (\d+) \(should be (\d+)\)", file.extra_info):
            if int(there) + 8 < int(claimed) < _STREAMED:
                raise _cut_short(source.label, f"{claimed} bytes", f"{there}")
        samples = np.empty((file.channels, len(held.starts) * held.length), np.float32)
        for number, start in enumerate(held.starts):
            if start:
                file.seek(start)
            block = file.read(held.length, dtype="float32", always_2d=True).T
            if block.shape[1] < held.length:
                there = f"{start + block.shape[1]}"
                raise _cut_short(source.label, f"{file.frames} samples", there)
            samples[:, number * held.length : (number + 1) * held.length] = block
        return samples, file.samplerate, held, file.frames


def _decode_track(source: Opened) -> tuple[Samples, int, Stretches, int]:
    """Once where all is held; long sounds twice, for their length has to be known first."""
    with _track(source) as (container, track):
        codec = track.codec_context
        channels, rate = codec.channels, codec.sample_rate
        blocks, times = _while_whole(_blocks(container, track), rate, source.label)
        held = check_extent(channels, times, rate, source.label)
        if container.format.name.startswith("mov") and track.duration:
            promised = float(track.duration * track.time_base)
            if times / rate < 0.95 * promised - 0.5:
                raise _cut_short(source.label, f"{promised:.1f} s", f"{times / rate:.1f} s")
    if len(held.starts) == 1:
        return np.concatenate(blocks, axis=1), rate, held, times
    with _track(source) as (container, track):
        samples = _excerpts(_blocks(container, track), channels, held)
    return samples, rate, held, times


@contextmanager
def _track(source: Opened) -> Generator[tuple[Any, Any]]:
    """The container and its first sound track, from the start."""
    source.file.seek(0)
    options = {"format_whitelist": _CONTAINERS, "codec_whitelist": _CODECS}
    with _open(source, options) as container:
        if not container.streams.audio:
            raise refusal("audio", source.label, found="no sound track", next_step="check the file")
        track = container.streams.audio[0]
        codec = track.codec_context
        if codec.name not in _CODECS.split(","):
            raise refusal(
                "audio",
                source.label,
                found=f"a sound track of codec {codec.name!r}, which is not read",
                next_step="convert it to WAV, FLAC or M4A",
            )
        check_extent(codec.channels, 1, codec.sample_rate, source.label)
        yield container, track


def _open(source: Opened, options: dict[str, str]) -> Any:
    try:
        return av.open(source.file, options=options)
    except (FFmpegError, ValueError) as error:
        raise refusal(
            "audio",
            source.label,
            found=f"no sound or video file that is known; it starts with {source.head[:8]!r}",
            next_step="check what the file really is, or convert it to WAV",
        ) from error


def _blocks(container: Any, track: Any) -> Iterator[Samples]:
    resampler: Any = av.AudioResampler(format="fltp")  # pyright: ignore[reportUnknownMemberType]
    for frame in container.decode(track):
        for part in resampler.resample(frame):
            yield part.to_ndarray()


def _while_whole(blocks: Iterable[Samples], rate: int, label: str) -> tuple[list[Samples], int]:
    """The blocks, for as long as all of the sound could be held, and its samples a channel."""
    kept: list[Samples] = []
    times = 0
    for block in blocks:
        times += block.shape[1]
        kept.append(block)
        if len(check_extent(block.shape[0], times, rate, label).starts) > 1:
            kept.clear()
    return kept, times


def _excerpts(blocks: Iterable[Samples], channels: int, held: Stretches) -> Samples:
    """The held stretches, one after another, out of all blocks."""
    samples = np.zeros((channels, len(held.starts) * held.length), np.float32)
    begins = 0
    for block in blocks:
        ends = begins + block.shape[1]
        first = max(0, bisect_right(held.starts, begins) - 1)
        for number in range(first, bisect_left(held.starts, ends)):
            start = held.starts[number]
            low, high = max(start, begins), min(start + held.length, ends)
            if low < high:
                place = number * held.length - start
                samples[:, place + low : place + high] = block[:, low - begins : high - begins]
        begins = ends
    return samples


def _cut_short(label: str, promised: str, held: str) -> MediaError:
    return refusal(
        "audio",
        label,
        found=f"cut short: it promises {promised} and holds {held}",
        next_step="copy or record the file again",
    )
