"""The shape encoders: six pictures of the cloud, read by EfficientNet-lite2 or by lite0."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_starter.concepts import Concepts
from omnibind_plugin_starter.lite import Lite
from omnibind_plugin_starter.packed import unpacked
from omnibind_plugin_starter.render import VIEWS, views_of

if TYPE_CHECKING:
    from omnibind.media.points import Points

__all__ = ["Views", "views_minilm", "views_wordllama"]

SAMPLED = 65_536


class Views(nn.Module):
    """A shape as the mean of what the picture network sees from six sides.

    Shape:
        `views` uint8 `[item, view, 3, side, side]` -> `[item, dim]`.
    Source:
        Su et al. 2015, arXiv:1505.00880 (many views of one shape). Ours: splats, mean, adapter.
    """

    def __init__(self, lite: Lite, concepts: Concepts, side: int, points: int) -> None:
        super().__init__()
        self.lite, self.concepts, self.side, self.points = lite, concepts, side, points

    def preprocess(self, media: Points) -> dict[str, Tensor]:
        """Renders the cloud from six sides, y up."""
        xyz, rgb = media.sample(self.points)
        pictures = views_of(xyz.numpy(), None if rgb is None else rgb.numpy(), self.side, VIEWS)
        return {"views": torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.concepts(*self.seen(batch))

    def seen(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pooled features and class posterior, each the mean over the views."""
        views = batch["views"].float() / 127.5 - 1.0
        features, posterior = self.lite(views.flatten(0, 1))
        items = views.shape[:2]
        return features.unflatten(0, items).mean(1), posterior.unflatten(0, items).mean(1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the published picture network and this plugin's class names and adapter."""
        known = self.lite.rename()

        def rename(key: str) -> str | None:
            if key.startswith("concepts."):
                return key
            name = known(key)
            return name and f"lite.{name}"

        return load_state(self, unpacked(state), rename=rename)


def views_minilm(size: Size, assets: Mapping[str, Path]) -> Views:
    """EfficientNet-lite2 at 260 x 260 pixels a view, in MiniLM's 384 dimensions."""
    return _views("tf_efficientnet_lite2", 260, 384, size)


def views_wordllama(size: Size, assets: Mapping[str, Path]) -> Views:
    """EfficientNet-lite0 at 224 x 224 pixels a view, in WordLlama's 256 dimensions."""
    return _views("tf_efficientnet_lite0", 224, 256, size)


def _views(name: str, side: int, dim: int, size: Size) -> Views:
    """32 x 32 pixels and 512 points at the tiny size."""
    tiny = size == "tiny"
    lite = Lite(name, tiny=tiny)
    concepts = Concepts(lite.classes, lite.width, dim)
    return Views(lite, concepts, 32 if tiny else side, 512 if tiny else SAMPLED)
