"""Depth maps: how far away each point of a view is, in metres; 0 where nothing is known.

Files are 16-bit PNG or TIFF pictures in millimetres, TIFF pictures or PFM files of floats in
metres, or `.npy` arrays. Say `modality="depth"` for all but PFM: their endings are those of others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from omnibind.media.arrays import as_array, is_array
from omnibind.media.image import check_pixels
from omnibind.media.source import Content, decoding, describe, read, refusal

__all__ = ["Depth", "claims", "digest", "load"]

PFM = re.compile(rb"Pf\s+(\d+)\s+(\d+)\s+(-?[\d.]+(?:[eE][-+]?\d+)?)\s")
MOST_BYTES = 256 * 1024**2


@dataclass(frozen=True, eq=False)
class Depth:
    """One depth map.

    Attributes:
        metres: distances, 0 where unknown; at least one is known.
    """

    metres: Float[Tensor, "height width"]


def load(source: object) -> Depth:
    """Reads a depth map.

    Args:
        source: a path, the bytes of a file, a `Depth`, or an array or tensor `[height, width]`:
            float in metres or unsigned 16-bit in millimetres. NaN and infinity are unknown.
    Raises:
        MediaError: no depth map, damaged, too small or too large, negative, or all unknown.
    """
    if isinstance(source, Depth):
        source = source.metres
    if is_array(source):
        label = f"({describe(source)})"
        with decoding("depth", label):
            return _checked(as_array(source), label)
    content = read(source, "depth", limit=MOST_BYTES)
    with decoding("depth", content.label):
        return _checked(_decoded(content), content.label)


def claims(thing: object) -> bool:
    """Whether the object is a `Depth`; arrays may be anything, so they need `modality="depth"`."""
    return isinstance(thing, Depth)


def digest(media: Depth) -> bytes:
    """Equal distances, equal digest."""
    summary = blake2b(f"{tuple(media.metres.shape)}".encode(), digest_size=16, person=b"depth")
    summary.update(media.metres.contiguous().numpy().data)
    return summary.digest()


def _decoded(content: Content) -> NDArray[Any]:
    if content.data.startswith(b"\x93NUMPY"):
        return np.load(BytesIO(content.data), allow_pickle=False)
    if content.data.startswith(b"Pf"):
        return _from_pfm(content.data)
    with Image.open(BytesIO(content.data), formats=("PNG", "TIFF")) as picture:
        check_pixels(picture.size, content.label)
        if picture.mode.startswith("I;16"):
            return np.asarray(picture).astype(np.uint16)
        if picture.mode == "F":
            return np.asarray(picture)
        raise refusal(
            "depth",
            content.label,
            found=f"a picture of mode {picture.mode}",
            next_step="save it with 16 bits in millimetres, or as floats in metres",
        )


def _from_pfm(data: bytes) -> NDArray[np.float32]:
    """A portable float map: rows from the bottom up, little-endian where the scale is negative."""
    head = PFM.match(data)
    if head is None:
        raise ValueError("its header is no PFM header")
    width, height, order = int(head[1]), int(head[2]), "<f4" if head[3].startswith(b"-") else ">f4"
    values = np.frombuffer(data, order, count=width * height, offset=head.end())
    return values.reshape(height, width)[::-1].astype(np.float32)


def _checked(values: NDArray[Any], label: str) -> Depth:
    found = ""
    if values.ndim != 2 or min(values.shape) < 2:
        found = f"an array of shape {list(values.shape)}, expected [height, width], each 2 or more"
    elif values.dtype.kind != "f" and values.dtype != np.uint16:
        found = f"numbers of type {values.dtype}"
    else:
        check_pixels((values.shape[1], values.shape[0]), label)
        metres = values.astype(np.float32) / (1 if values.dtype.kind == "f" else 1000)
        metres = np.where(np.isfinite(metres), metres, np.float32(0))
        if (metres < 0).any():
            found = f"distances down to {metres.min():g} m"
        elif not metres.any():
            found = "not one known distance"
        else:
            return Depth(torch.from_numpy(np.ascontiguousarray(metres, dtype=np.float32)))
    step = "give [height, width]: float in metres or uint16 in millimetres, 0 where unknown"
    raise refusal("depth", label, found=found, next_step=step)
