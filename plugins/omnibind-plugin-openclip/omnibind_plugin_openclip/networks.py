"""Any open_clip model as a picture encoder and a text encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.transforms import Compose

from omnibind.media.pixels import levels, standardised, stout
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["OpenClipImage", "OpenClipText", "Seen", "network", "pictures", "tokens"]

LONGEST = 20_000
"""Characters of a text that are read: every context has ended long before."""
TINY_IMAGE = {"layers": 2, "width": 64, "head_width": 32}
TINY_TEXT = {"layers": 2, "width": 32, "heads": 2, "proj_type": "linear"}
TEXT_KEYS = (
    "text.*",
    "token_embedding.*",
    "positional_embedding",
    "transformer.*",
    "ln_final.*",
    "text_projection",
    "logit_scale",
    "logit_bias",
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How a model sees pictures.

    Attributes:
        sized: makes a picture of the size that it reads, still in bytes.
        mean, std: of each colour, of levels in [0, 1].
    """

    sized: Callable[[Image.Image], Image.Image]
    mean: Sequence[float]
    std: Sequence[float]


class OpenClipImage(nn.Module):
    """The picture tower.

    Shape:
        `pixels` `[item, 3, height, width]`, standardised -> `[item, dim]`, unit rows.
    """

    def __init__(self, model: nn.Module, seen: Seen) -> None:
        super().__init__()
        self.visual, self.seen = model.visual, seen

    def preprocess(self, media: Image.Image) -> dict[str, Tensor]:
        """As the weights were trained: size, squash or crop."""
        return {"pixels": levels(self.seen.sized(stout(media)))}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean and spread, as the weights were trained."""
        return {"pixels": standardised(batch["pixels"], self.seen.mean, self.seen.std)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        dtype = next(self.visual.parameters()).dtype
        found = self.visual(batch["pixels"].to(dtype))
        return normalize((found[0] if isinstance(found, tuple) else found).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the keys of open_clip's own files."""
        dropped = dict.fromkeys(TEXT_KEYS, "the text tower")
        return load_state(self, state, dropped={**dropped, "text_decoder.*": "writes captions"})


class OpenClipText(nn.Module):
    """The text tower, with the temperature (and bias) that the space was trained with.

    Shape:
        `ids` `[item, time]` -> `[item, dim]`, unit rows; they do not depend on the temperature.
    """

    def __init__(self, model: nn.Module, ids: Callable[[str], Tensor]) -> None:
        super().__init__()
        for other in ("visual", "text_decoder"):
            if hasattr(model, other):
                delattr(model, other)
        self.model, self.ids = model, ids

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Tokens, cut where the model's context ends, the end token kept."""
        return {"ids": self.ids(media[:LONGEST])[0]}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        return normalize(self.model.encode_text(batch["ids"]).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the keys of open_clip's own files."""
        return load_state(
            self,
            state,
            rename=lambda key: f"model.{key}",
            dropped={"visual.*": "the picture tower", "text_decoder.*": "writes captions"},
        )


def network(config: Mapping[str, Any]) -> nn.Module:
    """open_clip's model of a configuration, its masks and tables made from numbers."""
    config = dict(config)
    custom = config.pop("custom_text", False)
    several = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    model = (several if custom else open_clip.CLIP)(**config)
    for layer in model.modules():
        if getattr(layer, "attn_mask", None) is not None:
            mask = torch.full(layer.attn_mask.shape, -torch.inf).triu(1)
            layer.register_buffer("attn_mask", mask, persistent=False)
        if hasattr(layer, "init_non_persistent_buffers"):  # timm's, with the memory of torch.empty
            for key, buffer in list(layer.named_buffers(recurse=False)):
                layer.register_buffer(key, torch.zeros(buffer.shape), persistent=False)
            layer.init_non_persistent_buffers()
    return model


def pictures(model: nn.Module, how: Mapping[str, Any]) -> Seen:
    """open_clip's transform, taken apart: `how` names mean, std, interpolation and resize_mode."""
    named = {key: how.get(key) for key in ("mean", "std", "interpolation", "resize_mode")}
    whole = open_clip.image_transform(model.visual.image_size, is_train=False, **named)
    *sized, _, scaled = whole.transforms  # the last two: to numbers in [0, 1], then `Normalize`
    return Seen(sized=Compose(sized), mean=scaled.mean, std=scaled.std)


def tokens(config: Mapping[str, Any], assets: Mapping[str, Path]) -> Callable[[str], Tensor]:
    """The tokenizer of a configuration: CLIP's, which open_clip ships, or one of the assets."""
    length, options = config.get("context_length", 77), config.get("tokenizer_kwargs", {})
    if "hf_tokenizer_name" not in config:
        return open_clip.SimpleTokenizer(context_length=length, **options)
    if not assets:  # random weights have no files: CLIP's tokens, as far as there are rows for them
        clip, rows = open_clip.SimpleTokenizer(context_length=length), config.get("vocab_size")
        return lambda text: clip(text) % rows if rows else clip(text)
    folder = assets["tokenizer.json"].parent
    return HFTokenizer(str(folder), context_length=length, **options)


def tiny(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration at toy width; towers that are no plain transformers become one."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    side = vision["image_size"]
    plain = isinstance(vision.get("layers"), int) and "timm_model_name" not in vision
    vision = {**(vision if plain else {"image_size": side}), **TINY_IMAGE, "patch_size": side // 4}
    small = {**config, "vision_cfg": vision, "text_cfg": {**text, **TINY_TEXT}}
    if "hf_tokenizer_name" in text:
        small["text_cfg"]["vocab_size"] = 49408
    if "multimodal_cfg" in config:
        small["multimodal_cfg"] = {**config["multimodal_cfg"], **TINY_TEXT}
    return small


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], nn.Module]:
    """The builder that a card names as `<modality> <model> <pretrained>`."""
    modality, _, rest = name.partition(" ")
    model, _, pretrained = rest.partition(" ")
    if modality not in ("image", "text") or not pretrained:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def build(size: Size, assets: Mapping[str, Path]) -> nn.Module:
        full = open_clip.get_model_config(model)
        config = tiny(full) if size == "tiny" else full
        made = network(config)
        if modality == "text":
            return OpenClipText(made, tokens(config["text_cfg"], assets))
        return OpenClipImage(made, pictures(made, open_clip.get_pretrained_cfg(model, pretrained)))

    return build
