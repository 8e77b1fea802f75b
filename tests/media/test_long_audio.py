"""Long sounds are held as excerpts: the same ones from every source, in bounded memory."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from omnibind.errors import MediaError
from omnibind.media import audio, excerpts, sound_files
from omnibind.media.audio import Audio
from omnibind.media.source import opened
from omnibind.media.windows import windows

RATE = 1000


def ramp(seconds: float) -> np.ndarray:
    """Every sample says where it is, to 16 bits; two channels, the second upside down."""
    place = np.arange(round(seconds * RATE)) % 32_768
    return np.stack([place, -place]).astype(np.float32) / 32_768


def encoded(samples: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    if kind != "alac":
        soundfile.write(file, samples.T, RATE, format=kind, subtype="PCM_16")
        return file.getvalue()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("alac", rate=RATE, layout="stereo")
        stream.format = "s16p"
        frame = av.AudioFrame.from_ndarray((samples * 32_768).astype(np.int16), "s16p", "stereo")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


def test_up_to_five_minutes_all_is_held() -> None:
    sound = audio.load((ramp(300), RATE))
    assert (sound.waveform.shape, sound.starts) == ((2, 300 * RATE), (0,))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "alac", "memory"])
def test_longer_sounds_are_thirty_excerpts_from_the_first_to_the_last_sample(
    kind: str, tmp_path: Path
) -> None:
    samples = ramp(4000)
    (tmp_path / "long").write_bytes(encoded(samples, kind) if kind != "memory" else b"x")
    sound = audio.load((samples, RATE) if kind == "memory" else tmp_path / "long")
    assert (len(sound.starts), sound.starts[0], sound.starts[-1]) == (30, 0, 3990 * RATE)
    assert sound.seconds == 4000
    parts = [samples[:, start : start + 10 * RATE] for start in sound.starts]
    assert torch.equal(sound.pieces, torch.from_numpy(np.stack(parts)))


def test_a_long_file_its_bytes_its_samples_and_the_sound_itself_are_equal(tmp_path: Path) -> None:
    data = encoded(ramp(301), "FLAC")
    (tmp_path / "a.flac").write_bytes(data)
    sound = audio.load(data)
    sources = [
        tmp_path / "a.flac",
        data,
        (ramp(301), RATE),
        sound,
        pickle.loads(pickle.dumps(sound)),
    ]
    assert len({audio.digest(audio.load(source)) for source in sources}) == 1


def test_windows_of_a_long_sound_lie_where_they_lie_in_the_whole() -> None:
    whole = torch.from_numpy(ramp(900)[:1])
    length, places = 2 * RATE, [k * (898 * RATE) // 29 for k in range(30)]
    made = windows(audio.load((whole, RATE)).excerpts(RATE), length)
    expected = [whole[0, place : place + length] for place in places]
    apart = [int((a[0] - b[0]).abs() * 32_768) for a, b in zip(made, expected, strict=True)]
    assert {len(one) for one in made} == {length}
    assert max(apart) <= 1  # whole numbers are cut off twice


def test_many_channels_have_fewer_excerpts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "MAX_HELD", 8 * 10 * RATE)
    sound = audio.load((np.concatenate([ramp(60)] * 2), RATE))
    assert (len(sound.starts), sound.waveform.shape) == (2, (4, 20 * RATE))


def test_excerpts_are_resampled_each_on_its_own() -> None:
    sound = audio.load((ramp(400), RATE))
    first = Audio(sound.waveform[:, : 10 * RATE], RATE)
    assert torch.equal(sound.excerpts(1600)[0], first.mono(1600))


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_a_long_file_that_is_cut_short_is_refused(kind: str) -> None:
    data = encoded(ramp(600), kind)
    with pytest.raises(MediaError):
        audio.load(data[: len(data) * 2 // 3])


def test_excerpts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(MediaError, match="do not add up"):
        audio.load(Audio(torch.zeros(1, 30), RATE, starts=(0, 50), whole=40))


@pytest.mark.parametrize("minutes", [2, 7])
def test_windows_on_request_cover_all_that_is_held(minutes: int) -> None:
    sound = audio.load((ramp(60 * minutes), RATE))
    cut = audio.cut(sound, 4)
    assert {part.waveform.shape for _, part in cut} == {(2, 4 * RATE)}
    assert (cut[0][0], cut[-1][0]) == (0, 60 * minutes - 4)
    assert len(cut) == (30 if minutes == 2 else 90)
    start, part = cut[7]
    assert part.waveform[0, 0] * 32_768 == round(start * RATE) % 32_768


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e-9])
def test_windows_without_a_length_are_refused(seconds: float) -> None:
    with pytest.raises(MediaError, match="give a length in seconds"):
        audio.cut(audio.load((ramp(1), RATE)), seconds)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells no peak")
@pytest.mark.parametrize("kind", ["wav", "matroska"])
def test_twenty_minutes_are_decoded_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """Stereo at 44.1 kHz: 423 MB of samples. In a process of its own, whose peak is its own."""
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, 2 * 441_000), np.int16)
    with av.open(tmp_path / "long", "w", format=kind) as container:
        stream = container.add_stream("pcm_s16le", rate=44_100, layout="stereo")
        for _ in range(120):
            frame = av.AudioFrame.from_ndarray(noise, "s16", "stereo")
            frame.sample_rate = 44_100
            container.mux(stream.encode(frame))
    command = [sys.executable, "-c", GROWTH, str(tmp_path / "long")]
    grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 100 * 1024**2 < int(grown) < 260 * 1024**2


GROWTH = """
import sys, numpy
from omnibind.media import audio

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

audio.load((numpy.zeros(9), 8000)).mono(48_000)
before = peak()
sound = audio.load(sys.argv[1])
assert len(sound.starts) == 30
print(peak() - before)
"""


def test_what_is_held_is_known_before_anything_is_decoded(tmp_path: Path) -> None:
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(encoded(ramp(1), "WAV"))
    with opened(tmp_path / "a.wav", "audio") as source:
        samples, rate, held, times = sound_files.decode(source)
    assert (samples.shape, rate, held.length, times) == ((2, RATE), RATE, RATE, RATE)
