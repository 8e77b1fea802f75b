"""Sounds of every length, rate and number of channels become rows, the same ones every time."""

from __future__ import annotations

import pytest
import torch
from omnibind_plugin_imagebind.audio import ImageBindAudio, build
from omnibind_plugin_imagebind.sound import CLIP, RATE, official_clips
from torch import Tensor

from omnibind.engine.finishing import batch_of, sample_of
from omnibind.media.audio import Audio

SHARED = {"rtol": 0, "atol": 1e-5}


@pytest.fixture
def encoder() -> ImageBindAudio:
    torch.manual_seed(0)
    return build("tiny", {}).eval()


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> Audio:
    generator = torch.Generator().manual_seed(1)
    return Audio(torch.rand(channels, int(seconds * rate), generator=generator) - 0.5, rate)


def rows(encoder: ImageBindAudio, *sounds: Audio) -> Tensor:
    with torch.inference_mode():
        return encoder(batch_of(encoder, [encoder.preprocess(item) for item in sounds]))


@pytest.mark.parametrize("long", ["windows", "official"])
@pytest.mark.parametrize(
    ("item", "count"),
    [
        (noise(1e-4), 1),
        (noise(0.9), 1),
        (noise(2), 1),
        (noise(2.4), 1),
        (noise(7), 4),
        (noise(3, rate=44_100, channels=2), 2),
        (noise(3, rate=47_999), 2),
        (noise(3, channels=8), 2),
        (Audio(torch.zeros(1, RATE), RATE), 1),
        (Audio(torch.full((1, 3 * RATE), 0.5), RATE), 2),
    ],
    ids=[
        "0.1 ms",
        "short",
        "2 s",
        "2.4 s",
        "7 s",
        "stereo",
        "odd rate",
        "8 channels",
        "silence",
        "constant",
    ],
)
def test_any_sound_becomes_one_unit_row(
    encoder: ImageBindAudio, item: Audio, count: int, long: str
) -> None:
    encoder.long = long
    made = sample_of(encoder, item, early=True)["windows"]
    assert made.shape == (3 if long == "official" else count, 1, 128, 204)
    assert made.isfinite().all()
    assert rows(encoder, item).norm(dim=-1).item() == pytest.approx(1, abs=1e-5)


def test_of_a_long_sound_every_excerpt_gives_a_window(encoder: ImageBindAudio) -> None:
    item = Audio(noise(30).waveform, RATE, (0, 150 * RATE, 300 * RATE), 310 * RATE)
    assert sample_of(encoder, item, early=True)["windows"].shape == (3, 1, 128, 204)
    encoder.long = "official"
    assert sample_of(encoder, item, early=True)["windows"].shape == (3, 1, 128, 204)
    encoder.long = "windows"


def test_a_short_sound_has_one_row_both_ways(encoder: ImageBindAudio) -> None:
    ours = rows(encoder, noise(1.5))
    encoder.long = "official"
    torch.testing.assert_close(rows(encoder, noise(1.5)), ours, **SHARED)


@pytest.mark.parametrize(("step", "starts"), [(3, [0, 42_666, 85_333]), (2, [0, 64_000, 128_000])])
def test_official_clips_start_at_thirds_or_at_halves(step: int, starts: list[int]) -> None:
    clicks = torch.zeros(2, 10 * RATE)
    clicks[:, starts] = 1
    clips = official_clips(clicks, step)
    assert [int(clip.argmax()) for clip in clips] == [0, 0, 0]
    assert {len(clip) for clip in clips} == {CLIP}


def test_the_official_clips_hear_the_first_channel_and_the_windows_all(
    encoder: ImageBindAudio,
) -> None:
    first = noise(1)
    both = Audio(torch.cat([first.waveform, torch.zeros(1, RATE)]), RATE)
    quieter = rows(encoder, both)
    encoder.long = "official"
    torch.testing.assert_close(rows(encoder, both), rows(encoder, first), **SHARED)
    assert not torch.allclose(quieter, rows(encoder, first), atol=1e-3)


def test_preprocess_leaves_the_sound_as_it_was(encoder: ImageBindAudio) -> None:
    item = noise(3)
    before = item.waveform.clone()
    encoder.long = "official"
    encoder.preprocess(item)
    assert torch.equal(item.waveform, before)
