"""What a browser can show of an item: a small picture, a sound, a cloud of points, words."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from omnibind.demo.clouds import normals, thinned
from omnibind.demo.folder import Shown
from omnibind.media import audio, image, points, text

__all__ = ["Preview", "preview"]

Preview = Mapping[str, Any]

SIDE = 400
"""Longest side of a picture, in pixels."""
SECONDS = 10
BARS = 96
"""Heights that draw a sound."""
MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
SHAPE_BYTES = 2_500_000
"""Room for all shapes of a page together, before base64."""


def preview(item: Shown, shapes: int) -> Preview:
    """JSON that `page.js` draws; a modality it does not know is shown by its name.

    Args:
        item: its file is decoded as the encoders see it.
        shapes: how many clouds share the page.

    Raises:
        MediaError: it cannot be decoded.
    """
    if item.modality == "points":
        return _cloud(item.source, max(1000, min(10_000, SHAPE_BYTES // (12 * max(1, shapes)))))
    draw = _PREVIEWS.get(item.modality)
    return draw(item.source) if draw else {}


def _words(source: Any) -> Preview:
    return {"words": text.load(source)[:400]}


def _picture(source: Any) -> Preview:
    picture = image.load(source)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=84, optimize=True, progressive=True)
    return {"picture": _data_uri("image/jpeg", file.getvalue())}


def _sound(source: Any) -> Preview:
    sound = audio.load(source)
    rate = sound.rate if sound.rate in MP3_RATES else 44100
    samples = sound.mono(rate)[: SECONDS * rate].numpy()
    edges = np.linspace(0, len(samples), BARS + 1).astype(int)[:-1]
    heights = np.maximum.reduceat(np.abs(samples), np.minimum(edges, len(samples) - 1))
    loudest = max(float(heights.max()), 1e-6)
    return {
        "sound": _data_uri(*_encoded(samples, rate)),
        "heights": np.rint(heights / loudest * 100).astype(int).tolist(),
        "seconds": round(len(samples) / rate, 2),
        "whole": round(sound.seconds, 2),
    }


def _encoded(samples: NDArray[np.float32], rate: int) -> tuple[str, bytes]:
    """MP3, which every browser plays; WAV where libsndfile was built without it."""
    file = BytesIO()
    if "MP3" in soundfile.available_formats():
        soundfile.write(file, samples, rate, format="MP3", compression_level=0.6)
        return "audio/mpeg", file.getvalue()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return "audio/wav", file.getvalue()


def _cloud(source: Any, count: int) -> Preview:
    """Points as 16-bit positions, 8-bit normals and colours, one array after the other."""
    shape = points.load(source)
    whole = shape.xyz.double().numpy()
    low, high = whole.min(0), whole.max(0)
    whole -= (low + high) / 2
    whole /= max(float(np.linalg.norm(whole, axis=1).max()), 1e-12)
    chosen, spacing = thinned(whole, count)
    parts = [
        _whole_numbers(whole[chosen], 32767, "<i2"),
        _whole_numbers(normals(whole, whole[chosen]), 127, "i1"),
    ]
    if shape.rgb is not None:
        parts.append(_whole_numbers(shape.rgb.double().numpy()[chosen], 255, "u1"))
    return {
        "cloud": b64encode(b"".join(parts)).decode(),
        "points": len(chosen),
        "spacing": round(spacing, 5),
        "coloured": shape.rgb is not None,
    }


def _whole_numbers(values: NDArray[np.float64], scale: int, kind: str) -> bytes:
    return np.rint(values * scale).astype(kind).tobytes()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


_PREVIEWS: Mapping[str, Callable[[Any], Preview]] = {
    "text": _words,
    "image": _picture,
    "audio": _sound,
}
