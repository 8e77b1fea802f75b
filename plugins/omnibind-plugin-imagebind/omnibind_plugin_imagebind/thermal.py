"""Thermal pictures: how warm each point of a view looks, from 0 to 1.

Any file or object that is a picture can be one; colour becomes grey. Say `modality="thermal"`.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnibind.errors import MediaError
from omnibind.media import image

__all__ = ["Thermal", "claims", "digest", "load"]


@dataclass(frozen=True, eq=False)
class Thermal:
    """One thermal picture.

    Attributes:
        level: brightness in [0, 1]; brighter is warmer.
    """

    level: Float[Tensor, "height width"]


def load(source: object) -> Thermal:
    """Reads a thermal picture.

    Args:
        source: a `Thermal`, or whatever can be read as a picture (see `omnibind.media.image`).
    Raises:
        MediaError: it is no picture, is damaged, or is too small or too large.
    """
    if isinstance(source, Thermal):
        return source
    try:
        grey = image.load(source).convert("L")
    except MediaError as error:
        asked = error.asked.replace("the image", "the thermal picture", 1)
        raise MediaError(asked, found=error.found, next_step=error.next_step) from error
    return Thermal(torch.from_numpy(np.array(grey, dtype=np.float32) / 255))


def claims(thing: object) -> bool:
    """Whether the object is a `Thermal`; other pictures need `modality="thermal"`."""
    return isinstance(thing, Thermal)


def digest(media: Thermal) -> bytes:
    """Equal levels, equal digest."""
    summary = blake2b(f"{tuple(media.level.shape)}".encode(), digest_size=16, person=b"thermal")
    summary.update(media.level.contiguous().numpy().data)
    return summary.digest()
