"""Previews hold what the browser needs, and clouds keep their form."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from omnibind.demo.clouds import normals, thinned
from omnibind.demo.folder import Shown
from omnibind.demo.previews import preview


def _content(uri):
    return b64decode(uri.partition(",")[2])


def _sphere(count, seed=0):
    xyz = np.random.default_rng(seed).normal(size=(count, 3))
    return xyz / np.linalg.norm(xyz, axis=1, keepdims=True)


def _shown(modality, source):
    return Shown(concept="thing", modality=modality, source=source)


def test_normals_of_a_ball_point_away_from_its_centre():
    ball = 0.9 * _sphere(20_000)
    found = normals(ball, ball[:500])
    assert np.abs((found * ball[:500] / 0.9).sum(1)).min() > 0.98


def test_a_thinned_cloud_has_about_as_many_points_as_wanted_and_no_gaps():
    ball = _sphere(60_000)
    kept, spacing = thinned(ball, 4000)
    assert len(kept) == pytest.approx(4000, rel=0.05)
    nearest = np.linalg.norm(ball[::100, None] - ball[None, kept], axis=2).min(1)
    assert nearest.max() < 2.2 * spacing


def test_a_cloud_with_few_points_keeps_them_all():
    assert len(thinned(_sphere(7), 1000)[0]) == 7


def test_a_shape_becomes_positions_normals_and_colours(tmp_path):
    xyz = _sphere(5000) * 40 + 100
    np.savez(tmp_path / "ball.npz", xyz=xyz, rgb=np.full((5000, 3), 0.5))
    shown = preview(_shown("points", tmp_path / "ball.npz"), 1)
    content, count = b64decode(shown["cloud"]), shown["points"]
    assert len(content) == 12 * count
    placed = np.frombuffer(content, "<i2", 3 * count).reshape(-1, 3) / 32767
    assert np.linalg.norm(placed, axis=1) == pytest.approx(1, abs=0.02)


def test_many_shapes_share_the_room_of_one_page(tmp_path):
    np.savez(tmp_path / "ball.npz", xyz=_sphere(20_000))
    assert preview(_shown("points", tmp_path / "ball.npz"), 100)["points"] < 2300


def test_a_long_sound_is_cut_and_its_heights_are_in_per_cent(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.sin(np.arange(16_000 * 30)) / 2, 16_000)
    shown = preview(_shown("audio", tmp_path / "long.wav"), 1)
    assert (shown["seconds"], shown["whole"]) == (10, 30)
    assert max(shown["heights"]) == 100
    samples, rate = soundfile.read(BytesIO(_content(shown["sound"])))
    assert len(samples) / rate == pytest.approx(10, abs=0.2)


def test_a_sound_of_a_rate_that_mp3_has_not_is_resampled(tmp_path):
    soundfile.write(tmp_path / "odd.wav", np.zeros(96_000), 96_000)
    shown = preview(_shown("audio", tmp_path / "odd.wav"), 1)
    assert shown["seconds"] == 1
    assert soundfile.info(BytesIO(_content(shown["sound"]))).samplerate == 44100


def test_a_libsndfile_without_mp3_gives_wav(tmp_path, monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV"})
    soundfile.write(tmp_path / "one.wav", np.zeros(20), 8000)
    assert preview(_shown("audio", tmp_path / "one.wav"), 1)["sound"].startswith("data:audio/wav")


def test_a_picture_is_scaled_down_and_never_up(tmp_path):
    for side, expected in ((1000, 400), (50, 50)):
        Image.new("RGBA", (side, side // 2)).save(tmp_path / "one.png")
        shown = preview(_shown("image", tmp_path / "one.png"), 1)
        assert Image.open(BytesIO(_content(shown["picture"]))).size == (expected, expected // 2)


def test_a_modality_of_a_plugin_is_shown_by_name_alone():
    assert preview(_shown("smell", "rose"), 1) == {}
