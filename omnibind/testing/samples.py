"""Small real media for tests, made on the spot and the same every time: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from omnibind.errors import UnknownNameError
from omnibind.plugins import builtin
from omnibind.specs import resolve

__all__ = ["long_media", "media", "pictures", "shapes", "sounds", "texts", "write_samples"]

RATE = 16_000
Sound = tuple[NDArray[np.float32], int]
Shape = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def texts() -> dict[str, str]:
    """Texts by name: one word, sentences, several lines, signs beyond ASCII."""
    return {
        "word": "trumpet",
        "short": "a red disc",
        "long": "a blue square beside a green triangle, while a bell rings far away " * 4,
        "lines": "first line\nsecond line, with numbers 1 2 3",
        "signs": "Ein Käse für 3 € 🧀",
    }


def pictures() -> dict[str, Image.Image]:
    """RGB pictures by name, of several sizes and proportions."""
    return {
        "disc": _drawn((64, 48), lambda d: d.ellipse((16, 8, 48, 40), fill="red")),
        "square": _drawn((48, 48), lambda d: d.rectangle((8, 8, 32, 32), fill="blue")),
        "triangle": _drawn((40, 80), lambda d: d.polygon([(4, 60), (20, 9), (36, 60)], "green")),
        "stripes": _drawn((96, 32), _stripes),
        "grain": Image.fromarray(_random(4).integers(0, 256, (33, 57, 3)).astype(np.uint8)),
    }


def sounds() -> dict[str, Sound]:
    """Sounds by name: float32 `[time]` or `[channel, time]` in [-1, 1], and the rate in Hz."""
    time = np.arange(RATE // 2, dtype=np.float64) / RATE
    slow = np.arange(22_050, dtype=np.float64) / 44_100
    return {
        "tone": (_float(0.5 * np.sin(2 * np.pi * 440 * time)), RATE),
        "chirp": (_float(0.5 * np.sin(2 * np.pi * (200 + 3000 * slow) * slow)), 44_100),
        "noise": (_float(_random(5).uniform(-0.4, 0.4, RATE)), RATE),
        "click": (_float(np.exp(-time[:1600] * 400)), RATE),
        "stereo": (_float([0.3 * np.sin(1500 * time), 0.3 * np.sin(2300 * time)]), RATE),
    }


def shapes() -> dict[str, Shape]:
    """Clouds by name: float32 xyz and rgb in [0, 1] `[point, 3]`; rgb is None for one of them."""
    import trimesh  # half a second, which toy spaces do without

    return {
        "box": _cloud(trimesh.creation.box((1, 2, 0.5)), 500, (0.9, 0.2, 0.1)),
        "ball": _cloud(trimesh.creation.icosphere(subdivisions=2), 3000, (0.1, 0.3, 0.9)),
        "cone": _cloud(trimesh.creation.cone(1, 2), 1000, (0.2, 0.8, 0.2)),
        "ring": (_cloud(trimesh.creation.torus(2, 0.4), 700, (0.0, 0.0, 0.0))[0], None),
        "few": _cloud(trimesh.creation.cylinder(0.5, 3), 12, (0.5, 0.5, 0.5)),
    }


def media(modality: str) -> list[Any]:
    """Decoded samples of a built-in modality, as `preprocess` receives them.

    Raises:
        UnknownNameError: another modality.
    """
    load = {card.name: card.load for card in builtin.provide_modalities()}
    if modality not in load:
        raise UnknownNameError(
            "sample media of the modality",
            modality,
            load,
            next_step="give some of your own: define `items(self, modality)` in your test class",
        )
    raw: Mapping[str, Callable[[], Mapping[str, Any]]] = {
        "text": texts,
        "image": pictures,
        "audio": sounds,
        "points": shapes,
    }
    return [resolve(load[modality])(sample) for sample in raw[modality]().values()]


def long_media(modality: str) -> list[Any]:
    """Decoded media longer than any encoder's clip; none for modalities without length in time."""
    if modality != "audio":
        return []
    noise = _float(_random(7).uniform(-0.4, 0.4, 12 * RATE))
    return [resolve("omnibind.media.audio:load")((noise, RATE))]


def write_samples(folder: Path) -> dict[str, list[Path]]:
    """Writes the samples as files, several formats a modality.

    Returns:
        modality -> paths, in the order of the samples; the folder is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "text": [_text(folder / f"{name}.txt", text) for name, text in texts().items()],
        "image": [
            _picture(folder / f"{name}{suffix}", picture)
            for (name, picture), suffix in _with(pictures(), ".png", ".jpg", ".webp", ".gif")
        ],
        "audio": [
            _sound(folder / f"{name}{suffix}", sound)
            for (name, sound), suffix in _with(sounds(), ".wav", ".flac", ".ogg", ".mp3")
        ],
        "points": [
            *(
                _shape(folder / f"{name}{suffix}", shape)
                for (name, shape), suffix in _with(shapes(), ".npz", ".ply", ".xyz")
            ),
            *(_mesh(folder / f"mesh{suffix}") for suffix in (".obj", ".stl", ".glb", ".off")),
        ],
    }


def _with(samples: Mapping[str, Any], *suffixes: str) -> list[tuple[tuple[str, Any], str]]:
    return [(pair, suffixes[k % len(suffixes)]) for k, pair in enumerate(samples.items())]


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _float(values: Any) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _drawn(size: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    picture = Image.new("RGB", size, (250, 245, 230))
    draw(ImageDraw.Draw(picture))
    return picture


def _stripes(draw: ImageDraw.ImageDraw) -> None:
    for left in range(0, 96, 12):
        draw.rectangle((left, 0, left + 5, 32), fill=(20, 20, 60))


def _cloud(mesh: Any, count: int, colour: tuple[float, float, float]) -> Shape:
    import trimesh

    xyz = _float(trimesh.sample.sample_surface(mesh, count, seed=6)[0])
    return xyz, np.tile(_float(colour), (count, 1))


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _picture(path: Path, picture: Image.Image) -> Path:
    picture.save(path)
    return path


def _sound(path: Path, sound: Sound) -> Path:
    waveform, rate = sound
    soundfile.write(path, waveform.T, rate)
    return path


def _shape(path: Path, shape: Shape) -> Path:
    xyz, rgb = shape
    if path.suffix == ".npz":
        np.savez(path, xyz=xyz) if rgb is None else np.savez(path, xyz=xyz, rgb=rgb)
    elif path.suffix == ".xyz":
        np.savetxt(path, xyz if rgb is None else np.hstack([xyz, rgb]), fmt="%.6f")
    else:
        import trimesh

        colours = None if rgb is None else (rgb * 255).astype(np.uint8)
        trimesh.PointCloud(xyz, colours).export(path)
    return path


def _mesh(path: Path) -> Path:
    import trimesh

    trimesh.creation.capsule(1, 0.5).export(path)
    return path
