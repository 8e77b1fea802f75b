"""Pictures on their way to a network: bytes while they travel, standardised numbers on arrival.

A picture of 224 x 224 pixels takes 150 kB as bytes and 602 kB as the numbers a network reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as transforms

from omnibind.media.image import shrunk

__all__ = ["levels", "middle", "standardised", "stout"]

SLIMMEST = 32


def middle(picture: Image.Image, side: int) -> Image.Image:
    """The shorter edge at so many pixels (bicubic), then the middle square; slim ones `stout`."""
    return _cropped(shrunk(stout(picture), side), side, side)


def stout(picture: Image.Image) -> Image.Image:
    """The middle of a picture more than 32 times as long as wide, which would not fit into memory
    once its shorter side has grown; others as they are. Ours.
    """
    most = SLIMMEST * min(picture.size)
    if max(picture.size) <= most:
        return picture
    return _cropped(picture, min(picture.height, most), min(picture.width, most))


def levels(picture: Image.Image) -> UInt8[Tensor, "3 height width"]:
    """The bytes of an RGB picture."""
    return transforms.pil_to_tensor(picture)


def standardised(
    pixels: UInt8[Tensor, "*item 3 height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "*item 3 height width"]:
    r"""Numbers as networks read them, for the bytes of one picture or of many.

    $$ y_c = \frac{x_c / 255 - \mu_c}{\sigma_c} $$

    The same operations in the same order as torchvision's `to_tensor` and `normalize`: equal to
    them on a CPU in every bit.

    Args:
        pixels: left as they are.
        mean: of each colour, of levels in [0, 1].
        std: likewise.
    """
    numbers = pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    for colour, middle, spread in zip(numbers.unbind(-3), mean, std, strict=True):
        colour.sub_(middle).div_(spread)  # a number each, so that nothing more has to travel
    return numbers


def _cropped(picture: Image.Image, height: int, width: int) -> Image.Image:
    return cast("Image.Image", transforms.center_crop(cast("Any", picture), [height, width]))
