"""The image encoder of ImageBind: a ViT-H/14 that sees a picture as two equal video frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from open_clip.transformer import LayerNorm, VisionTransformer
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize

from omnibind.media.pixels import levels, middle, standardised
from omnibind.specs import Size
from omnibind.weights import LoadReport
from omnibind_plugin_imagebind.published import OPEN_CLIP_BLOCKS, load

__all__ = ["SIDE", "ImageBindImage", "build"]

SIDE, PATCH = 224, 14
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
RENAMED = {
    r"preprocessors\.cls_token": "tower.class_embedding",
    r"preprocessors\.pos_embedding_helper\.pos_embed": "tower.positional_embedding",
    r"preprocessors\.rgbt_stem\.proj\.1\.weight": "tower.conv1.frames.weight",
    r"trunks\.pre_transformer_layer\.0\.(\w+)": r"tower.ln_pre.\1",
    **{old: f"tower.{new}" for old, new in OPEN_CLIP_BLOCKS.items()},
    r"heads\.0\.(\w+)": r"tower.ln_post.\1",
    r"heads\.2\.weight": "tower.proj",
}


class ImageBindImage(nn.Module):
    """ImageBind's image encoder.

    Shape:
        `pixels` `[item, 3, 224, 224]`, normalised -> `[item, dim]`, unit rows.
    Source:
        arXiv:2305.05665; the tower is open_clip's `VisionTransformer` with LayerNorm 1e-6.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.tower = VisionTransformer(
            image_size=SIDE,
            patch_size=PATCH,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=4,
            output_dim=dim,
            norm_layer=partial(LayerNorm, eps=1e-6),
        )
        self.tower.conv1 = TwoFrames(width)

    def preprocess(self, media: Image.Image) -> dict[str, Tensor]:
        """The middle square at 224 x 224 pixels."""
        return {"pixels": levels(middle(media, SIDE))}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """In standard deviations from the mean colour."""
        return {"pixels": standardised(batch["pixels"], MEAN, STD)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        pixels = batch["pixels"].to(self.tower.proj.dtype)
        return normalize(self.tower(pixels).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `vision` part of the published file."""
        return load(self, dict(_fitted(state)), name="vision", renamed=RENAMED)


class TwoFrames(nn.Module):
    """Patches of a still picture shown as two frames: the 3-D kernel, summed over time.

    Shape:
        `[item, 3, height, width]` -> `[item, channel, height / 14, width / 14]`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frames = nn.Conv3d(3, width, (2, PATCH, PATCH), bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """The same as `frames` of the picture twice."""
        return conv2d(pixels, self.frames.weight.sum(2), stride=PATCH)


def _fitted(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The published tensors in the shapes that open_clip gives them."""
    for key, tensor in state.items():
        if key == "modality_preprocessors.vision.cls_token":
            yield key, tensor.flatten()
        elif key == "modality_preprocessors.vision.pos_embedding_helper.pos_embed":
            yield key, tensor.flatten(0, 1)
        elif key == "modality_heads.vision.2.weight":
            yield key, tensor.mT
        else:
            yield key, tensor


def build(size: Size, assets: Mapping[str, Path]) -> ImageBindImage:
    """ImageBind's image encoder."""
    if size == "tiny":
        return ImageBindImage(width=32, layers=2, heads=4, dim=1024)
    return ImageBindImage(width=1280, layers=32, heads=16, dim=1024)
