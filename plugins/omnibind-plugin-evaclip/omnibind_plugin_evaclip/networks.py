"""The EVA-CLIP towers: pictures through timm's Eva, texts through open_clip's transformer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import ftfy
import timm
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import TextTransformer
from PIL import Image
from timm.layers import RmsNorm
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from omnibind.media.pixels import levels, middle, standardised
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["CONTEXT", "MEAN", "STD", "EvaImage", "EvaText", "causal", "trunk", "words"]

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
CONTEXT = 77
"""Tokens a text tower reads, start and end among them."""
LONGEST = 20_000
"""Characters of a text that are read: 77 tokens have ended long before."""

GIANT = {
    "embed_dim": 5120,
    "depth": 48,
    "num_heads": 40,
    "mlp_ratio": 5,
    "qkv_bias": False,
    "norm_layer": partial(RmsNorm, eps=1e-6),
}
IMAGE: Mapping[str, tuple[str, int, dict[str, Any]]] = {
    "eva-clip-18b": ("eva02_enormous_patch14_clip_224", 1536, GIANT),
    "eva02-e14-plus": ("eva02_enormous_patch14_clip_224", 1024, {}),
    "eva02-l14": ("eva02_large_patch14_clip_224", 768, {}),
    "eva02-b16": ("eva02_base_patch16_clip_224", 512, {}),
}
"""Space -> timm's name of the network, width of the rows, and where the space differs from it."""
TEXT: Mapping[str, dict[str, int]] = {
    "eva-clip-18b": {"width": 1280, "heads": 20, "layers": 32},
    "eva02-e14-plus": {"width": 1280, "heads": 20, "layers": 32},
    "eva02-l14": {"width": 768, "heads": 12, "layers": 12},
    "eva02-b16": {"width": 512, "heads": 8, "layers": 12},
}
TINY_IMAGE = {"patch_size": 56, "embed_dim": 32, "depth": 2, "num_heads": 2}
TINY_TEXT = {"width": 32, "heads": 2, "layers": 2}
WRAPPED = re.compile(r"(?:(?:model|module|state_dict)\.)*")


class EvaImage(nn.Module):
    """The picture tower.

    Shape:
        `pixels` `[item, 3, height, width]`, standardised -> `[item, dim]`, unit rows.
    Source:
        arXiv:2303.15389, arXiv:2402.04252; the network is timm's `Eva`.
    """

    def __init__(self, trunk: Eva, side: int = 224) -> None:
        super().__init__()
        self.trunk, self.side = trunk, side

    def preprocess(self, media: Image.Image) -> dict[str, Tensor]:
        """The shorter edge to 224 pixels (bicubic), the middle square."""
        return {"pixels": levels(middle(media, self.side))}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """CLIP's mean and spread."""
        return {"pixels": standardised(batch["pixels"], MEAN, STD)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        pixels = batch["pixels"].to(self.trunk.cls_token.dtype)
        return normalize(self.trunk(pixels).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes `visual.*` of the published file, or `visual.trunk.*` of open_clip's copy."""
        return load_state(
            self,
            state,
            rename=lambda key: _renamed(key, r"visual\.(?:trunk\.)?", "trunk."),
            dropped={"*text.*": "the text tower", "*logit_scale": "kept with the text tower"},
        )


class EvaText(nn.Module):
    """The text tower, and the temperature that the space was trained with.

    Shape:
        `ids` `[item, 77]` -> `[item, dim]`, unit rows; they do not depend on the temperature.
    Source:
        as the picture tower; the network is open_clip's `TextTransformer`.
    """

    def __init__(self, tower: TextTransformer, ids: Callable[[str], Tensor]) -> None:
        super().__init__()
        self.tower, self.ids = tower, ids
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Byte-pair tokens; an over-long text is cut, its end token kept."""
        return {"ids": self.ids(media)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        return normalize(self.tower(batch["ids"]).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes `text.*` of the published file; the temperature lies there or at the top."""
        return load_state(
            self,
            state,
            rename=lambda key: (
                "logit_scale" if key.endswith("logit_scale") else _renamed(key, r"text\.", "tower.")
            ),
            dropped={"*visual.*": "the picture tower"},
        )


def trunk(space: str, dim: int, **changes: Any) -> Eva:
    """timm's network of a space; `changes` are other arguments of `Eva`, for other sizes."""
    name, _, own = IMAGE[space]
    made = timm.create_model(name, num_classes=dim, global_pool="token", **{**own, **changes})
    if space == "eva-clip-18b":
        made.head = nn.Linear(made.embed_dim, dim, bias=False)
    for layer in made.modules():  # timm makes these from torch.empty: made real from numbers
        for key, buffer in list(layer.named_buffers(recurse=False)):
            layer.register_buffer(key, torch.zeros(buffer.shape), persistent=False)
        if hasattr(layer, "init_non_persistent_buffers"):
            layer.init_non_persistent_buffers()
    return made


def causal(dim: int, **sizes: int) -> TextTransformer:
    """open_clip's text transformer, its mask made from numbers."""
    tower = TextTransformer(output_dim=dim, **sizes)
    mask = torch.full((tower.num_pos, tower.num_pos), -torch.inf).triu(1)
    tower.register_buffer("attn_mask", mask, persistent=False)
    return tower


@cache
def words(space: str) -> Callable[[str], Tensor]:
    """The tokenizer of a space: text -> ids `[77]`, zero after the end token.

    The published recipes cut EVA-CLIP-18B's texts at 42 tokens, not 77, leave HTML entities to
    ftfy, which keeps them in a text with a `<`, and take CLIP's own spelling of the special tokens
    for the tokens themselves.
    """
    tokenizer = SimpleTokenizer(context_length=CONTEXT)
    if space == "eva-clip-18b":
        tokenizer.context_length, tokenizer.clean_fn = 42, _clean

    def ids(text: str) -> Tensor:
        row = tokenizer(text[:LONGEST])[0]
        return pad(row, (0, CONTEXT - len(row)))

    return ids


def _clean(text: str) -> str:
    text = " ".join(ftfy.fix_text(text).split())
    for name in ("start", "end"):
        text = text.replace(f"<|{name}oftext|>", f"<{name}_of_text>")
    return text.lower()


def _renamed(key: str, old: str, new: str) -> str | None:
    found = re.fullmatch(f"{WRAPPED.pattern}{old}(.+)", key)
    return new + found[1] if found else None


def image(space: str, size: Size) -> EvaImage:
    """Builds a picture tower."""
    return EvaImage(trunk(space, IMAGE[space][1], **(TINY_IMAGE if size == "tiny" else {})))


def text(space: str, size: Size) -> EvaText:
    """Builds a text tower."""
    sizes = TINY_TEXT if size == "tiny" else TEXT[space]
    return EvaText(causal(IMAGE[space][1], **sizes), words(space))


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], nn.Module]:
    """The builder that a card names as `<modality>_<space>`."""
    modality, _, space = name.partition("_")
    if modality not in ("image", "text") or space not in IMAGE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def build(size: Size, assets: Mapping[str, Path]) -> nn.Module:
        return image(space, size) if modality == "image" else text(space, size)

    return build
