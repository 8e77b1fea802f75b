"""Decodes the bytes of a sound or video file to samples and their rate.

What may be opened is a list, for FFmpeg knows formats that name other files and network addresses.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import av
import numpy as np
import soundfile  # pyright: ignore[reportMissingTypeStubs]
from av.error import FFmpegError
from numpy.typing import NDArray

from omnibind.errors import MediaError
from omnibind.media.source import Content, refusal

MAX_SAMPLES = 64 * 1024**2
"""Most samples over all channels: 23 min of mono at 48 kHz (ours)."""
MAX_SECONDS = 3600
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


def decode(content: Content) -> tuple[Samples, int]:
    """Samples `[channel, time]` and their rate in Hz.

    Raises:
        MediaError: refused by a limit, or cut short. Decoders raise what they like besides.
    """
    if _is_libsndfiles(content.data):
        try:
            return _decode_sound(content)
        except soundfile.LibsndfileError as error:
            if error.code not in _UNKNOWN_TO_LIBSNDFILE:
                raise
    return _decode_track(content)


def check_extent(channels: int, times: int, rate: int, label: str) -> None:
    """Refuses a sound by its header, before anything is decoded."""
    found = ""
    if rate not in RATES:
        found = f"a rate of {rate:,} Hz; believed are {RATES[0]:,} to {RATES[-1]:,} Hz"
    elif not 1 <= channels <= MAX_CHANNELS:
        found = f"{channels} channels; 1 to {MAX_CHANNELS} are read"
    elif times < 1:
        found = "no samples: its length is zero"
    elif channels * times > MAX_SAMPLES or times > MAX_SECONDS * rate:
        found = (
            f"{channels} x {times:,} samples ({times / rate:,.0f} s); at most {MAX_SAMPLES:,} "
            f"samples and {MAX_SECONDS:,} s are read"
        )
    if found:
        raise refusal(
            "audio", label, found=found, next_step="mend it, or cut out the part that matters"
        )


def _is_libsndfiles(data: bytes) -> bool:
    # MP3 is not among them: libsndfile's decoder prints to the terminal.
    return data[:4] in (b"fLaC", b"OggS", b"FORM", b".snd", b"caff", b"riff") or (
        data[:4] in (b"RIFF", b"RIFX", b"RF64") and data[8:12] == b"WAVE"
    )


class _Bytes(BytesIO):
    """Bytes that let a damaged header seek to before the start, as files of the system do not."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return super().seek(max(offset, 0) if whence == 0 else offset, whence)


def _decode_sound(content: Content) -> tuple[Samples, int]:
    with soundfile.SoundFile(_Bytes(content.data)) as sound:
        file: Any = sound
        check_extent(file.channels, file.frames, file.samplerate, content.label)
        for claimed, held in re.findall(r": (\d+) \(should be (\d+)\)", file.extra_info):
            if int(held) + 8 < int(claimed) < _STREAMED:
                raise _cut_short(content.label, f"{claimed} bytes", f"{held}")
        samples = file.read(dtype="float32", always_2d=True).T
        if samples.shape[1] < file.frames:
            raise _cut_short(content.label, f"{file.frames} samples", f"{samples.shape[1]}")
        return samples, file.samplerate


def _decode_track(content: Content) -> tuple[Samples, int]:
    options = {"format_whitelist": _CONTAINERS, "codec_whitelist": _CODECS}
    with _open(content, options) as container:
        if not container.streams.audio:
            raise refusal(
                "audio", content.label, found="no sound track", next_step="check the file"
            )
        track = container.streams.audio[0]
        codec = track.codec_context
        if codec.name not in _CODECS.split(","):
            raise refusal(
                "audio",
                content.label,
                found=f"a sound track of codec {codec.name!r}, which is not read",
                next_step="convert it to WAV, FLAC or M4A",
            )
        rate = codec.sample_rate
        check_extent(codec.channels, 1, rate, content.label)
        samples = np.concatenate(_blocks(container, track, rate, content.label), axis=1)
        if container.format.name.startswith("mov") and track.duration:
            promised = float(track.duration * track.time_base)
            if samples.shape[1] / rate < 0.95 * promised - 0.5:
                held = f"{samples.shape[1] / rate:.1f} s"
                raise _cut_short(content.label, f"{promised:.1f} s", held)
        return samples, rate


def _open(content: Content, options: dict[str, str]) -> Any:
    try:
        return av.open(BytesIO(content.data), options=options)
    except (FFmpegError, ValueError) as error:
        raise refusal(
            "audio",
            content.label,
            found=f"no sound or video file that is known; it starts with {content.data[:8]!r}",
            next_step="check what the file really is, or convert it to WAV",
        ) from error


def _blocks(container: Any, track: Any, rate: int, label: str) -> list[Samples]:
    resampler: Any = av.AudioResampler(format="fltp")  # pyright: ignore[reportUnknownMemberType]
    blocks: list[Samples] = []
    held = 0
    for frame in container.decode(track):
        for part in resampler.resample(frame):
            block = part.to_ndarray()
            held += block.shape[1]
            check_extent(block.shape[0], held, rate, label)
            blocks.append(block)
    check_extent(1, held, rate, label)
    return blocks


def _cut_short(label: str, promised: str, held: str) -> MediaError:
    return refusal(
        "audio",
        label,
        found=f"cut short: it promises {promised} and holds {held}",
        next_step="copy or record the file again",
    )
