"""The encoders of ImageBind that the release only sketches: depth, heat and movement.

The networks are the published ones. How their inputs were scaled was not published in a form this
plugin could use, so every step of `preprocess` here is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad
from torchvision.transforms import functional as pictures

from omnibind.media.windows import joined, mean_rows, windows
from omnibind.specs import Size
from omnibind.weights import LoadReport
from omnibind_plugin_imagebind.depth import Depth
from omnibind_plugin_imagebind.imu import SIGNALS, Movement
from omnibind_plugin_imagebind.thermal import Thermal
from omnibind_plugin_imagebind.trunk import Patches, Pieces, Trunk, load_trunk

__all__ = ["ImageBindDepth", "ImageBindMovement", "ImageBindThermal", "depth", "imu", "thermal"]

SIDE, PATCH = 224, 16
RATE, CLIP, STEPS = 400, 2000, 8


class ImageBindDepth(nn.Module):
    """ImageBind's depth encoder.

    Shape:
        `plane` `[item, 1, 224, 224]` -> `[item, dim]`, unit rows.
    Source:
        arXiv:2305.05665, which turns distance into disparity. Ours: the nearest point is 1.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.trunk = _plane_trunk(width, layers, heads, dim)

    def preprocess(self, media: Depth) -> dict[str, Tensor]:
        """Disparity of the middle square in [0, 1]: 1 the nearest point, 0 unknown."""
        known = media.metres > 0
        disparity = torch.where(known, media.metres.clamp(min=1e-6).reciprocal(), 0.0)
        return {"plane": _middle(disparity / disparity.max())}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.trunk(batch["plane"])

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `depth` part of the published file."""
        return load_trunk(self, state, "depth")


class ImageBindThermal(nn.Module):
    """ImageBind's encoder of thermal pictures.

    Shape:
        `plane` `[item, 1, 224, 224]` -> `[item, dim]`, unit rows.
    Source:
        arXiv:2305.05665. Ours: levels in [0, 1], not standardised.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.trunk = _plane_trunk(width, layers, heads, dim)

    def preprocess(self, media: Thermal) -> dict[str, Tensor]:
        """Levels of the middle square in [0, 1]."""
        return {"plane": _middle(media.level)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.trunk(batch["plane"])

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `thermal` part of the published file."""
        return load_trunk(self, state, "thermal")


class ImageBindMovement(nn.Module):
    """ImageBind's encoder of movement.

    Shape:
        `windows` `[window, 6, 2000]`, `count` `[item]` -> `[item, dim]`: the mean of an item's
        unit window rows, at unit norm again.
    Source:
        arXiv:2305.05665: 5 s as 2,000 readings. Ours: readings in SI units as they are, windows
        over longer recordings, the last reading held after shorter ones.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        stem = Pieces(width, signals=SIGNALS, steps=STEPS)
        sizes = {"width": width, "layers": layers, "heads": heads, "dim": dim}
        self.trunk = Trunk(stem, tokens=CLIP // STEPS, **sizes)

    def preprocess(self, media: Movement) -> dict[str, Tensor]:
        """Windows of 5 s at 400 Hz, evenly spread, at most 30."""
        readings = _at_rate(media)
        missing = max(0, CLIP - readings.shape[1])
        held = pad(readings[None], (0, missing), mode="replicate")
        return {"windows": torch.stack(windows(held, CLIP))}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The windows of all items one after another, and how many each has."""
        return joined(items)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(mean_rows(self.trunk(batch["windows"]), batch["count"]), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `imu` part of the published file."""
        return load_trunk(self, state, "imu")


def _plane_trunk(width: int, layers: int, heads: int, dim: int) -> Trunk:
    tokens = (SIDE // PATCH) ** 2
    stem = Patches(width, stride=PATCH)
    return Trunk(stem, tokens=tokens, width=width, layers=layers, heads=heads, dim=dim)


def _middle(plane: Tensor) -> Tensor:
    """The middle square of `[height, width]`, at 224 x 224: `[1, 224, 224]`."""
    square = pictures.center_crop(plane[None], [min(plane.shape)])
    return pictures.resize(square, [SIDE, SIDE], antialias=True)


def _at_rate(media: Movement) -> Tensor:
    """Readings at 400 Hz, on lines between the given ones: `[6, time]`."""
    given = np.arange(media.readings.shape[1]) / media.rate
    wanted = np.arange(int(given[-1] * RATE) + 1) / RATE
    signals = [np.interp(wanted, given, signal) for signal in media.readings.numpy()]
    return torch.from_numpy(np.stack(signals).astype(np.float32))


def depth(size: Size, assets: Mapping[str, Path]) -> ImageBindDepth:
    """ImageBind's depth encoder."""
    if size == "tiny":
        return ImageBindDepth(width=32, layers=2, heads=4, dim=1024)
    return ImageBindDepth(width=384, layers=12, heads=8, dim=1024)


def thermal(size: Size, assets: Mapping[str, Path]) -> ImageBindThermal:
    """ImageBind's encoder of thermal pictures."""
    if size == "tiny":
        return ImageBindThermal(width=32, layers=2, heads=4, dim=1024)
    return ImageBindThermal(width=768, layers=12, heads=12, dim=1024)


def imu(size: Size, assets: Mapping[str, Path]) -> ImageBindMovement:
    """ImageBind's encoder of movement."""
    if size == "tiny":
        return ImageBindMovement(width=32, layers=2, heads=4, dim=1024)
    return ImageBindMovement(width=512, layers=6, heads=8, dim=1024)
