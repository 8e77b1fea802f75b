"""Sounds of every length, rate and number of channels become rows, the same ones every time."""

from __future__ import annotations

import pytest
import torch
from omnibind_plugin_wavcaps import sound
from omnibind_plugin_wavcaps.audio import WavCapsAudio, build
from omnibind_plugin_wavcaps.sound import CLIP, RATE, SLACK
from torch import Tensor

from omnibind.engine.finishing import batch_of, sample_of
from omnibind.media.audio import Audio
from omnibind.media.windows import windows


@pytest.fixture
def encoder() -> WavCapsAudio:
    torch.manual_seed(0)
    return build("tiny", {}).eval()


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> Audio:
    generator = torch.Generator().manual_seed(1)
    return Audio(torch.rand(channels, int(seconds * rate), generator=generator) - 0.5, rate)


def rows(encoder: WavCapsAudio, *sounds: Audio) -> Tensor:
    with torch.inference_mode():
        return encoder(batch_of(encoder, [encoder.preprocess(item) for item in sounds]))


@pytest.mark.parametrize(
    ("item", "count"),
    [
        (noise(1e-4), 1),
        (noise(2.5), 1),
        (noise(10), 1),
        (noise(10.4), 1),
        (noise(35), 4),
        (noise(3, rate=22_050), 1),
        (noise(3, rate=44_100, channels=2), 1),
        (noise(3, channels=8), 1),
        (Audio(torch.zeros(1, RATE), RATE), 1),
    ],
    ids=["0.1 ms", "short", "10 s", "10.4 s", "35 s", "22 kHz", "stereo", "8 channels", "silence"],
)
def test_any_sound_becomes_one_unit_row(encoder: WavCapsAudio, item: Audio, count: int) -> None:
    assert sample_of(encoder, item, early=True)["mels"].shape == (count, 1, 1001, 64)
    row = rows(encoder, item)
    assert row.isfinite().all()
    assert row.norm(dim=-1).item() == pytest.approx(1)


def test_of_a_long_sound_every_excerpt_gives_a_window(encoder: WavCapsAudio) -> None:
    item = Audio(noise(30).waveform, RATE, (0, 150 * RATE, 300 * RATE), 310 * RATE)
    assert sample_of(encoder, item, early=True)["mels"].shape == (3, 1, 1001, 64)
    encoder.long = "official"
    assert sample_of(encoder, item, early=True)["mels"].shape == (1, 1, 1001, 64)
    encoder.long = "windows"


def test_stereo_is_the_mean_of_its_channels(encoder: WavCapsAudio) -> None:
    stereo = noise(2, channels=2)
    mono = Audio(stereo.waveform.mean(0, keepdim=True), RATE)
    assert torch.equal(rows(encoder, stereo), rows(encoder, mono))


def test_a_long_sound_is_the_mean_of_its_windows(encoder: WavCapsAudio) -> None:
    item = noise(25)
    parts = [Audio(w[None], RATE) for w in windows(item.waveform, CLIP, slack=SLACK)]
    mean = rows(encoder, *parts).mean(0)
    assert torch.allclose(rows(encoder, item)[0], mean / mean.norm(), atol=1e-6)


def test_rows_of_single_windows_can_be_had(encoder: WavCapsAudio) -> None:
    with torch.inference_mode():
        batch = batch_of(encoder, [encoder.preprocess(noise(25)), encoder.preprocess(noise(1))])
        assert encoder.window_rows(batch).shape == (4, 1024)
    assert batch["count"].tolist() == [3, 1]


def test_the_authors_way_takes_the_first_ten_seconds(encoder: WavCapsAudio) -> None:
    item = noise(25)
    start = Audio(item.waveform[:, :CLIP], RATE)
    encoder.long = "official"
    assert torch.equal(rows(encoder, item), rows(encoder, start))


def test_silence_lies_at_the_floor() -> None:
    assert sound.LogMel()(sound.filled(torch.zeros(5))[None]).unique().tolist() == [-100]


def test_half_precision_gives_nearly_the_same_row(encoder: WavCapsAudio) -> None:
    full = rows(encoder, noise(2))
    assert torch.allclose(rows(encoder.bfloat16(), noise(2)), full, atol=1e-2)
