"""Real files to measure with: many different ones, derived from a folder of a few."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import trimesh
from PIL import Image, ImageEnhance, ImageOps

import omnibind
from omnibind.errors import SetupError
from omnibind.specs import Modality, resolve

__all__ = ["DEFAULT_COUNTS", "Media", "derive", "example_media", "files_of"]

Media = Mapping[str, Sequence[Path | str]]
"""Modality -> its items: files, and words of texts."""
DEFAULT_COUNTS: Mapping[str, int] = {"image": 200, "audio": 60, "points": 60, "text": 200}
PICTURE = (640, 480)
"""Width and height of derived pictures in pixels: what photographs of data sets have."""
POINTS = 10_000
"""Points of a derived cloud: what the authors' clouds have."""
HOW = ("a photo of", "the sound of", "a drawing of", "a model of", "someone beside", "two of")
KINDS = ("a small", "a large", "an old", "a new", "a broken", "a red", "a blue", "a wooden")
WHERE = ("in a field", "at night", "in the rain", "on a table", "far away", "by the sea")


def example_media() -> Path:
    """`examples/media` of the checkout that omnibind runs from, or of the working directory.

    Raises:
        SetupError: neither is there; a wheel carries no media.
    """
    for root in (Path(omnibind.__file__).parents[1], Path.cwd()):
        folder = root / "examples" / "media"
        if folder.is_dir():
            return folder
    raise SetupError(
        "media to measure with",
        found="no examples/media here: omnibind is installed without its checkout",
        next_step="name a folder of your own files: --media <folder>",
    )


def files_of(
    folder: Path, modalities: Mapping[str, Modality], counts: Mapping[str, int]
) -> dict[str, list[Path | str]]:
    """Files of a folder as they are, searched through, in the order of their names.

    Args:
        folder: is searched with all folders in it.
        modalities: cards, for the endings of their files.
        counts: modality -> how many; texts are made up.

    Raises:
        SetupError: there are fewer.
    """
    found: dict[str, list[Path | str]] = {}
    for modality, count in counts.items():
        if modality == "text":
            found[modality] = list(_texts(count, ("thing", "person", "animal", "place")))
            continue
        listed = _listed(folder, modalities[modality])
        if len(listed) < count:
            endings = ", ".join(modalities[modality].extensions)
            raise SetupError(
                f"{count} items of {modality!r} in {folder}",
                found=f"{len(listed)} files that end in {endings}",
                next_step=f"ask for fewer: --items {modality}={len(listed)}",
            )
        found[modality] = list(listed[:count])
    return found


def derive(
    folder: Path,
    into: Path,
    modalities: Mapping[str, Modality],
    counts: Mapping[str, int],
    *,
    seed: int = 0,
) -> dict[str, list[Path | str]]:
    """Writes files of different content: parts of pictures, sounds and shapes, changed a little.

    Args:
        folder: of the files that they are made from.
        into: where they are written: JPEG, WAV and PLY.
        modalities: cards of the built-in modalities.
        counts: modality -> how many.
        seed: the same seed gives the same files.

    Raises:
        SetupError: a modality that files cannot be derived for, or no file to derive them from.
    """
    into.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Path | str]] = {}
    for modality, count in counts.items():
        if modality == "text":
            stems = sorted({path.stem for path in folder.iterdir() if path.suffix})
            found[modality] = list(_texts(count, stems))
            continue
        if modality not in CHANGES:
            raise SetupError(
                f"{count} items of {modality!r} to measure with",
                found=f"files are derived for {', '.join(CHANGES)} and text",
                next_step="name a folder of your own files: --media <folder>",
            )
        sources = _listed(folder, modalities[modality])
        if not sources:
            raise SetupError(
                f"{count} items of {modality!r} derived from {folder}",
                found="no file of it there",
                next_step="name a folder that has some",
            )
        load = resolve(modalities[modality].load)
        decoded = [load(path) for path in sources[:count]]
        found[modality] = [
            CHANGES[modality](
                decoded[k % len(decoded)], np.random.default_rng((seed, k)), into / f"{k:05}"
            )
            for k in range(count)
        ]
    return found


def _listed(folder: Path, modality: Modality) -> list[Path]:
    every = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in every if path.suffix.lower() in modality.extensions]


def _texts(count: int, things: Sequence[str]) -> list[str]:
    every = list(product(HOW, KINDS, things, WHERE))
    order = np.random.default_rng(0).permutation(len(every))
    made: list[str] = []
    for k in range(count):
        how, kind, thing, where = every[order[k % len(every)]]
        again = f", number {k // len(every) + 1}" if k >= len(every) else ""
        made.append(f"{how} {kind} {thing} {where}{again}")
    return made


def _picture(picture: Image.Image, random: np.random.Generator, path: Path) -> Path:
    """A part of it, perhaps mirrored, darker or brighter."""
    width, height = picture.size
    share = random.uniform(0.6, 1.0)
    left = random.uniform(0, 1 - share) * width
    top = random.uniform(0, 1 - share) * height
    box = (left, top, left + share * width, top + share * height)
    part = picture.resize(PICTURE, Image.Resampling.BICUBIC, box=box)
    part = ImageOps.mirror(part) if random.random() < 0.5 else part
    path = path.with_suffix(".jpg")
    ImageEnhance.Brightness(part).enhance(random.uniform(0.6, 1.4)).save(path, quality=90)
    return path


def _sound(sound: Any, random: np.random.Generator, path: Path) -> Path:
    """A part of it, perhaps softer."""
    wave = sound.waveform.numpy()
    length = wave.shape[-1]
    kept = int(random.uniform(0.6, 1.0) * length)
    start = int(random.integers(0, length - kept + 1))
    path = path.with_suffix(".wav")
    part = wave[:, start : start + kept] * random.uniform(0.3, 1.0)
    soundfile.write(path, part.T, sound.rate, subtype="PCM_16")
    return path


def _shape(shape: Any, random: np.random.Generator, path: Path) -> Path:
    """Some of its points, turned about the vertical and scaled."""
    chosen = random.permutation(len(shape.xyz))[:POINTS]
    angle = random.uniform(0, 2 * np.pi)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    xyz = shape.xyz.numpy()[chosen] @ turn * random.uniform(0.5, 2.0)
    rgb = None if shape.rgb is None else (shape.rgb.numpy()[chosen] * 255).astype(np.uint8)
    path = path.with_suffix(".ply")
    trimesh.PointCloud(xyz, rgb).export(path)
    return path


CHANGES: Mapping[str, Callable[[Any, np.random.Generator, Path], Path]] = {
    "image": _picture,
    "audio": _sound,
    "points": _shape,
}
