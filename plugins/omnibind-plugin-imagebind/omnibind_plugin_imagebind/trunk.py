"""The transformer that ImageBind uses for sound, depth, heat and movement alike."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnibind.weights import LoadReport
from omnibind_plugin_imagebind.published import load

__all__ = ["Patches", "Pieces", "Trunk", "load_trunk"]

WINDOWS_AT_ONCE = 64
RENAMED = {
    r"preprocessors\.cls_token": "trunk.first",
    r"preprocessors\.(?:pos_embedding_helper\.)?pos_embed": "trunk.places",
    r"preprocessors\.\w+_stem\.proj\.weight": "trunk.stem.proj.weight",
    r"preprocessors\.\w+_stem\.norm_layer\.(\w+)": r"trunk.stem.norm.\1",
    r"trunks\.(blocks\.\d+)\.mlp\.fc1\.(\w+)": r"trunk.\1.mlp.0.\2",
    r"trunks\.(blocks\.\d+)\.mlp\.fc2\.(\w+)": r"trunk.\1.mlp.2.\2",
    r"trunks\.(blocks\.\d+\..+)": r"trunk.\1",
    r"heads\.0\.(\w+)": r"trunk.norm.\1",
    r"heads\.[23]\.weight": "trunk.head.weight",
    r"postprocessors\.1\.log_logit_scale": "trunk.log_scale",
}


class Patches(nn.Module):
    """Overlapping or adjoining 16 x 16 patches of a plane as tokens.

    Shape:
        `[window, 1, height, width]` -> `[window, token, channel]`.
    """

    def __init__(self, width: int, *, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, 16, stride, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, plane: Tensor) -> Tensor:
        """Row by row, from the top left."""
        return self.norm(self.proj(plane).flatten(2).mT)


class Pieces(nn.Module):
    """Pieces of a few steps of a signal with several channels as tokens.

    Shape:
        `[window, signal, time]` -> `[window, time / steps, channel]`.
    """

    def __init__(self, width: int, *, signals: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.proj = nn.Linear(signals * steps, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, signals: Tensor) -> Tensor:
        """In the order of time."""
        pieces = signals.unfold(-1, self.steps, self.steps).transpose(1, 2).flatten(2)
        return self.norm(self.proj(pieces))


class Block(nn.Module):
    """Attention and two linear layers, each behind a norm; keys and values have one more row."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=True, batch_first=True)
        self.norm_2 = nn.LayerNorm(width, eps=1e-6)
        wide = 4 * width
        self.mlp = nn.Sequential(nn.Linear(width, wide), nn.GELU(), nn.Linear(wide, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """`[window, token, channel]`, as it came."""
        seen = self.norm_1(tokens)
        tokens = tokens + self.attn(seen, seen, seen, need_weights=False)[0]
        return tokens + self.mlp(self.norm_2(tokens))


class Trunk(nn.Module):
    """A stem, a class token, blocks, and a linear layer on the class token: unit rows.

    Attributes:
        log_scale: logarithm of the fixed inverse temperature in training; rows do not depend on it.
    """

    def __init__(
        self, stem: nn.Module, *, tokens: int, width: int, layers: int, heads: int, dim: int
    ) -> None:
        super().__init__()
        self.stem = stem
        self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, tokens + 1, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, dim, bias=False)
        self.register_buffer("log_scale", torch.tensor(0.0))

    def forward(self, windows: Tensor) -> Tensor:
        """What the stem takes -> `[window, dim]`."""
        blocks = windows.to(self.first.dtype).split(WINDOWS_AT_ONCE)
        return torch.cat([self._rows(block) for block in blocks])

    def _rows(self, windows: Tensor) -> Tensor:
        first = self.first.expand(len(windows), -1, -1)
        tokens = torch.cat([first, self.stem(windows)], dim=1) + self.places
        return normalize(self.head(self.norm(self.blocks(tokens)[:, 0])).float(), dim=-1)


def load_trunk(encoder: nn.Module, state: Mapping[str, Tensor], name: str) -> LoadReport:
    """Takes one encoder's share of the published file into its `trunk`."""
    return load(encoder, state, name=name, renamed=RENAMED)
