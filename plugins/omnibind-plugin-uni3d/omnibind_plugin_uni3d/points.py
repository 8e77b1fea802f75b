"""The point encoder of Uni3D: groups of neighbours as the tokens of a picture transformer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnibind.media.points import Points
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_uni3d.clouds import GREY, farthest, groups, normalised

__all__ = ["SCALES", "Uni3DPoints", "network"]

CLOUDS_AT_ONCE = 8
SCALES = {
    "ti": "eva02_tiny_patch14_224",
    "s": "eva02_small_patch14_224",
    "b": "eva02_base_patch14_448",
    "l": "eva02_large_patch14_448",
    "g": "eva_giant_patch14_560",
}
"""Scale -> timm's name of the network whose blocks are used."""
FULL = {"points": 10_000, "group": 512, "size": 64, "channels": 512, "dim": 1024}
TINY = {"points": 600, "group": 24, "size": 16, "channels": 32, "dim": 1024}
NARROW = {"embed_dim": 32, "depth": 2, "num_heads": 2}
WRAPPED = r"(?:module\.){0,2}"
RENAMED = {
    r"logit_scale": "logit_scale",
    r"point_encoder\.cls_token": "first",
    r"point_encoder\.cls_pos": "first_place",
    r"point_encoder\.encoder\.(first|second)_conv\.(.+)": r"pointnet.\1.\2",
    r"point_encoder\.encoder2trans\.(.+)": r"widen.\1",
    r"point_encoder\.pos_embed\.(.+)": r"place.\1",
    r"point_encoder\.visual\.(blocks\..+)": r"\1",
    r"point_encoder\.visual\.fc_norm\.(.+)": r"norm.\1",
    r"point_encoder\.trans2embed\.(.+)": r"head.\1",
}
PICTURES = "of the picture transformer the blocks come from: points have tokens of their own"
DROPPED = {
    "*point_encoder.visual.patch_embed.*": PICTURES,
    "*point_encoder.visual.pos_embed": PICTURES,
    "*point_encoder.visual.cls_token": PICTURES,
    "*point_encoder.visual.head.*": "classes of the picture transformer",
}


class Uni3DPoints(nn.Module):
    """Uni3D's point encoder.

    Shape:
        `xyz` `[item, point, 3]` normalised, `rgb` `[item, point, 3]` in [0, 1] ->
        `[item, dim]`, unit rows.
    Attributes:
        points: points a cloud has. Exactly so many are taken in their order, as the authors do;
            ours: of more an even pick, fewer are repeated.
        logit_scale: logarithm of the inverse temperature; rows do not depend on it.
    Source:
        arXiv:2310.06773; the blocks are timm's, for pictures.
    """

    def __init__(
        self, network: nn.Module, *, points: int, group: int, size: int, channels: int, dim: int
    ) -> None:
        super().__init__()
        width: int = network.embed_dim
        self.points, self.group, self.size = points, group, size
        self.pointnet = MiniPointNet(channels)
        self.widen = nn.Linear(channels, width)
        self.place = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))
        self.first = nn.Parameter(torch.zeros(1, 1, width))
        self.first_place = nn.Parameter(torch.randn(1, 1, width))
        self.blocks, self.norm = _real(network.blocks), network.fc_norm
        self.head = nn.Linear(width, dim)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def preprocess(self, media: Points) -> dict[str, Tensor]:
        """So many points in the unit ball around their mean, grey where nobody knows a colour."""
        exact = len(media.xyz) == self.points
        xyz, rgb = (media.xyz, media.rgb) if exact else media.sample(self.points)
        xyz = normalised(xyz)
        return {"xyz": xyz, "rgb": torch.full_like(xyz, GREY) if rgb is None else rgb}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`.

        Raises:
            TypeError: positions in half precision, which cannot tell near neighbours apart.
        """
        if batch["xyz"].dtype != torch.float32:
            raise TypeError(f"positions are float32, not {batch['xyz'].dtype}, whatever runs them")
        return normalize(self.raw(batch["xyz"], batch["rgb"]).float(), dim=-1)

    def raw(self, xyz: Tensor, rgb: Tensor) -> Tensor:
        """Rows before they are scaled to unit norm."""
        index = farthest(xyz, self.group)
        centres = xyz.gather(1, index.unsqueeze(-1).expand(-1, -1, 3))
        blocks = (part.split(CLOUDS_AT_ONCE) for part in (xyz, rgb, centres))
        tokens = torch.cat([self.tokens(*block) for block in zip(*blocks, strict=True)])
        firsts = self.first + self.first_place
        places = self.place(centres.to(tokens.dtype))
        hidden = torch.cat([firsts.expand(len(xyz), -1, -1), self.widen(tokens) + places], dim=1)
        return self.head(self.norm(self.blocks(hidden)[:, 0]))

    def tokens(self, xyz: Tensor, rgb: Tensor, centres: Tensor) -> Tensor:
        """What the small network says of every group: `[item, group, channel]`."""
        near = groups(xyz, rgb, centres, self.size)
        return self.pointnet(near.to(self.head.weight.dtype))

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes a published `model.pt`, with or without `module.` before its keys."""
        return load_state(self, state, rename=_renamed, dropped=DROPPED)


class MiniPointNet(nn.Module):
    """One token of a group of points, whatever their order.

    Shape:
        `[item, group, point, 6]` -> `[item, group, channel]`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _per_point(6, 128, 256)
        self.second = _per_point(512, 512, channels)

    def forward(self, near: Tensor) -> Tensor:
        """Each point alone, all of them, each beside all, all again."""
        alone = self.first(near.flatten(0, 1).mT)
        every = alone.amax(-1, keepdim=True).expand_as(alone)
        token = self.second(torch.cat([every, alone], dim=1)).amax(-1)
        return token.unflatten(0, near.shape[:2])


def _per_point(given: int, hidden: int, made: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(given, hidden, 1), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Conv1d(hidden, made, 1)
    )


def _real(blocks: nn.ModuleList) -> nn.Sequential:
    """timm's blocks in a row; the bias that keys do not have is made from numbers."""
    for block in blocks:
        if getattr(block.attn, "k_bias", None) is not None:
            zeros = torch.zeros(block.attn.k_bias.shape)
            block.attn.register_buffer("k_bias", zeros, persistent=False)
    return nn.Sequential(*blocks)


def _renamed(key: str) -> str | None:
    for pattern, ours in RENAMED.items():
        match = re.fullmatch(WRAPPED + pattern, key)
        if match:
            return match.expand(ours)
    return None


def network(scale: str, **changes: Any) -> nn.Module:
    """timm's network of a scale; `changes` are other arguments of it, for other sizes."""
    return timm.create_model(SCALES[scale], num_classes=0, **changes)


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], Uni3DPoints]:
    """The builder that a card names by its scale."""
    if name not in SCALES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def build(size: Size, assets: Mapping[str, Path]) -> Uni3DPoints:
        sizes = TINY if size == "tiny" else FULL
        return Uni3DPoints(network(name, **(NARROW if size == "tiny" else {})), **sizes)

    return build
