"""The picture encoders: EfficientNet-lite in the coordinates of MiniLM or of WordLlama."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from torch import Tensor, nn

from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_starter.concepts import Concepts
from omnibind_plugin_starter.lite import Lite, pixels
from omnibind_plugin_starter.packed import unpacked

__all__ = ["Pictures", "lite0_wordllama", "lite2_minilm"]

TINY = 32  # side in pixels, and width of the pooled features, at the tiny size


class Pictures(nn.Module):
    """A picture classifier whose answer is read as a point in a text encoder's coordinates.

    Shape:
        `image` `[item, 3, side, side]` in [-1, 1] -> `[item, dim]`.
    """

    def __init__(self, lite: Lite, concepts: Concepts, side: int) -> None:
        super().__init__()
        self.lite, self.concepts, self.side = lite, concepts, side

    def preprocess(self, media: Image.Image) -> dict[str, Tensor]:
        """What the picture shows, on a white square of the network's size."""
        return {"image": pixels(media, self.side)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.concepts(*self.seen(batch))

    def seen(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pooled features `[item, 1280]` and class posterior `[item, 1000]`."""
        return self.lite(batch["image"])

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the published network and this plugin's class names and adapter."""
        return load_state(self, unpacked(state), rename=self.rename)

    def rename(self, key: str) -> str | None:
        """Keys of this plugin's own file are kept, those of the published one translated."""
        if key.startswith("concepts."):
            return key
        known = self.lite.rename()(key)
        return known and f"lite.{known}"


def lite2_minilm(size: Size, assets: Mapping[str, Path]) -> Pictures:
    """EfficientNet-lite2 at 260 x 260 pixels, in MiniLM's 384 dimensions."""
    return _pictures("tf_efficientnet_lite2", 260, 384, size)


def lite0_wordllama(size: Size, assets: Mapping[str, Path]) -> Pictures:
    """EfficientNet-lite0 at 224 x 224 pixels, in WordLlama's 256 dimensions."""
    return _pictures("tf_efficientnet_lite0", 224, 256, size)


def _pictures(name: str, side: int, dim: int, size: Size) -> Pictures:
    lite = Lite(name, tiny=size == "tiny")
    concepts = Concepts(lite.classes, lite.width, dim)
    return Pictures(lite, concepts, TINY if size == "tiny" else side)
