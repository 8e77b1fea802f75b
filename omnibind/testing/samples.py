"""Small real media, the same on every machine: what tests and contracts feed to encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
import trimesh
from PIL import Image, ImageDraw

from omnibind.media.audio import Audio
from omnibind.media.points import Points, load

__all__ = ["pictures", "samples", "shapes", "sounds", "texts", "write_samples"]

RATE = 16_000


def texts() -> list[str]:
    """Captions of different lengths."""
    return ["a cat", "A dog barking at a passing car.", "the sound of rain " * 6, "chair"]


def pictures() -> list[Image.Image]:
    """Drawn pictures of different sizes and shapes."""
    return [_picture(*size) for size in ((64, 64), (96, 48), (40, 80))]


def sounds() -> list[Audio]:
    """A tone, a chirp and noise, of different lengths, rates and numbers of channels."""
    time = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 440 * time)
    chirp = np.sin(2 * np.pi * (200 + 800 * time) * time)[: RATE // 2]
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3 * RATE))
    return [_sound(tone, RATE), _sound(chirp, 8_000), _sound(noise, 44_100)]


def shapes() -> list[Points]:
    """A box, a ball with colours, and a bare cloud."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    colours = np.abs(ball.vertices).clip(0, 1)
    cloud = np.random.default_rng(0).normal(size=(300, 3))
    return [
        load(trimesh.creation.box(extents=(1.0, 2.0, 0.5))),
        load((np.asarray(ball.vertices), colours)),
        load((cloud, None)),
    ]


SAMPLES: Mapping[str, Callable[[], list[object]]] = {
    "text": lambda: list(texts()),
    "image": lambda: list(pictures()),
    "audio": lambda: list(sounds()),
    "points": lambda: list(shapes()),
}


def samples(modality: str) -> list[object]:
    """Decoded items of one of the built-in modalities, or KeyError."""
    return SAMPLES[modality]()


def write_samples(folder: Path) -> dict[str, list[Path]]:
    """Writes files of every built-in modality, in several formats; modality -> paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[Path]] = {modality: [] for modality in SAMPLES}

    def path(modality: str, name: str) -> Path:
        paths[modality].append(folder / name)
        return folder / name

    for number, text in enumerate(texts()):
        path("text", f"text{number}.txt").write_text(text, encoding="utf-8")
    for picture, ending in zip(pictures(), ("png", "jpg", "webp"), strict=True):
        picture.save(path("image", f"picture.{ending}"))
    for sound, ending in zip(sounds(), ("wav", "flac", "ogg"), strict=True):
        soundfile.write(path("audio", f"sound.{ending}"), sound.waveform.T.numpy(), sound.rate)
    for ending in ("obj", "ply", "glb"):
        trimesh.creation.box(extents=(1.0, 2.0, 0.5)).export(path("points", f"box.{ending}"))
    np.savez(path("points", "cloud.npz"), xyz=shapes()[2].xyz.numpy())
    return paths


def _picture(width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (width, height), (240, 240, 230))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((width // 8, height // 8, width // 2, height // 2), fill=(200, 40, 40))
    draw.rectangle((width // 2, height // 2, width - 4, height - 4), fill=(20, 90, width % 256))
    return picture


def _sound(waveform: np.ndarray, rate: int) -> Audio:
    return Audio(torch.from_numpy(np.atleast_2d(waveform).astype(np.float32)), rate)
