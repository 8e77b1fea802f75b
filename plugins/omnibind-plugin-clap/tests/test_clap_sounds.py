"""Sounds of every length, rate and number of channels become rows, the same ones every time."""

from __future__ import annotations

import pytest
import torch
from omnibind_plugin_clap import sound
from omnibind_plugin_clap.audio import ClapAudio, general, music
from omnibind_plugin_clap.sound import CLIP, FRAMES, RATE, SLACK
from torch import Tensor

from omnibind.engine.finishing import batch_of, sample_of
from omnibind.media.audio import Audio
from omnibind.media.windows import windows


@pytest.fixture(params=[general, music], ids=["general", "music"], scope="module")
def encoder(request: pytest.FixtureRequest) -> ClapAudio:
    torch.manual_seed(0)
    return request.param("tiny", {}).eval()


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> Audio:
    generator = torch.Generator().manual_seed(1)
    return Audio(torch.rand(channels, int(seconds * rate), generator=generator) - 0.5, rate)


def rows(encoder: ClapAudio, *sounds: Audio) -> Tensor:
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
def test_any_sound_becomes_one_unit_row(encoder: ClapAudio, item: Audio, count: int) -> None:
    assert sample_of(encoder, item, early=True)["mels"].shape == (count, 1, FRAMES, 64)
    row = rows(encoder, item)
    assert row.isfinite().all()
    assert row.norm(dim=-1).item() == pytest.approx(1)


def test_of_a_long_sound_every_excerpt_gives_a_window(encoder: ClapAudio) -> None:
    item = Audio(noise(30).waveform, RATE, (0, 150 * RATE, 300 * RATE), 310 * RATE)
    assert sample_of(encoder, item, early=True)["mels"].shape == (3, 1, FRAMES, 64)
    encoder.long = "official"
    pictures = 4 if encoder.fuses else 1
    assert encoder.preprocess(item)["mels"].shape == (1, pictures, FRAMES, 64)
    encoder.long = "windows"


def test_stereo_is_the_mean_of_its_channels(encoder: ClapAudio) -> None:
    stereo = noise(2, channels=2)
    mono = Audio(stereo.waveform.mean(0, keepdim=True), RATE)
    assert torch.equal(rows(encoder, stereo), rows(encoder, mono))


def test_a_long_sound_is_the_mean_of_its_windows(encoder: ClapAudio) -> None:
    item = noise(25)
    parts = [Audio(w[None], RATE) for w in windows(item.waveform, CLIP, slack=SLACK)]
    mean = rows(encoder, *parts).mean(0)
    assert torch.allclose(rows(encoder, item)[0], mean / mean.norm(), atol=1e-6)


def test_rows_of_single_windows_can_be_had(encoder: ClapAudio) -> None:
    with torch.inference_mode():
        batch = batch_of(encoder, [encoder.preprocess(noise(25)), encoder.preprocess(noise(1))])
        assert encoder.window_rows(batch).shape == (4, 512)
    assert batch["count"].tolist() == [3, 1]


def test_up_to_ten_seconds_the_authors_way_and_ours_agree() -> None:
    item = noise(4)
    for encoder in (general("tiny", {}).eval(), music("tiny", {}).eval()):
        ours = rows(encoder, item)
        encoder.long = "official"
        assert torch.allclose(rows(encoder, item), ours, atol=1e-6)


def test_the_authors_way_of_a_long_sound_is_one_window_and_repeatable() -> None:
    for build, pictures in ((general, 4), (music, 1)):
        encoder = build("tiny", {}).eval()
        encoder.long = "official"
        sample = encoder.preprocess(noise(13))
        assert sample["mels"].shape == (1, pictures, FRAMES, 64)
        assert sample["longer"].tolist() == [pictures == 4]
        assert torch.equal(rows(encoder, noise(13)), rows(encoder, noise(13)))


def test_only_long_sounds_of_a_batch_are_fused() -> None:
    encoder = general("tiny", {}).eval()
    encoder.long = "official"
    together = rows(encoder, noise(3), noise(13))
    assert torch.allclose(together[1:], rows(encoder, noise(13)), atol=1e-6)


def test_a_sound_hardly_over_ten_seconds_is_not_fused() -> None:
    encoder = general("tiny", {}).eval()
    encoder.long = "official"
    assert not encoder.preprocess(noise(480_200 / RATE))["longer"].any()


def test_crops_begin_in_the_middle_of_each_third() -> None:
    mel = torch.arange(FRAMES + 8.0)[:, None].expand(-1, 64)
    assert sound.fused(mel)[1:, 0, 0].tolist() == [1, 4, 7]


def test_one_frame_too_many_still_makes_three_crops() -> None:
    mel = torch.arange(FRAMES + 1.0)[:, None].expand(-1, 64)
    assert sound.fused(mel)[1:, 0, 0].tolist() == [0, 1, 0]


def test_a_short_sound_is_repeated_whole_then_silence() -> None:
    filled = sound.filled(torch.ones(200_000))
    assert (int(filled.sum()), len(filled)) == (400_000, CLIP)


def test_samples_step_towards_zero_by_sixteen_bits() -> None:
    stepped = sound.quantised(torch.tensor([0.99999, -0.99999, 2.0, 0.5])) * 32767
    assert stepped.tolist() == pytest.approx([32766, -32766, 32767, 16383])


def test_spectrograms_do_not_depend_on_how_they_are_computed_in_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    item = noise(2).waveform[0]
    whole = sound.log_mel(item, "slaney")
    monkeypatch.setattr(sound, "FRAMES_AT_ONCE", 7)
    assert torch.allclose(sound.log_mel(item, "slaney"), whole, atol=1e-4)


def test_half_precision_gives_nearly_the_same_row() -> None:
    encoder = general("tiny", {}).eval()
    full = rows(encoder, noise(2))
    assert torch.allclose(rows(encoder.bfloat16(), noise(2)), full, atol=1e-2)
