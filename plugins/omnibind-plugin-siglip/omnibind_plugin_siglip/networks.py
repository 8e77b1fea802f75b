"""The SigLIP towers, which are transformers', and how pictures and texts enter them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import SiglipTextConfig, SiglipTextModel, SiglipVisionConfig, SiglipVisionModel
from transformers.models.siglip import SiglipTokenizer

from omnibind.media.pixels import levels, standardised
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state
from omnibind_plugin_siglip.sizes import CONTEXT, Siglip, Tower

__all__ = ["SiglipImage", "SiglipText", "text_tower", "tokens", "vision_tower"]

HALF = (0.5, 0.5, 0.5)
LONGEST = 20_000
"""Characters of a text that are read: 64 tokens have ended long before."""
END, PAD_2 = 1, 0
"""SigLIP ends and pads with 1, SigLIP 2 ends with 1 and pads with 0."""
POSITIONS = {"*.embeddings.position_ids": "0, 1, 2, ...: made when building"}
Tokens = Callable[[str], list[int]]


class SiglipImage(nn.Module):
    """The picture tower.

    Shape:
        `pixels` `[item, 3, height, width]` in [-1, 1] -> `[item, dim]`, unit rows.
    Source:
        arXiv:2303.15343, arXiv:2502.14786; the network is transformers' `SiglipVisionModel`.
    """

    def __init__(self, vision: SiglipVisionModel) -> None:
        super().__init__()
        self.vision, self.side = vision, vision.config.image_size
        pooling = vision.head.attention  # its weights are asked for and thrown away
        pooling.register_forward_pre_hook(_without_weights, with_kwargs=True)

    def preprocess(self, media: Image.Image) -> dict[str, Tensor]:
        """Squashed to a square with PIL's bicubic filter."""
        return {"pixels": levels(media.resize((self.side, self.side), Image.Resampling.BICUBIC))}

    def finish(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scaled to [-1, 1]."""
        return {"pixels": standardised(batch["pixels"], HALF, HALF)}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        pixels = batch["pixels"].to(self.vision.post_layernorm.weight.dtype)
        return normalize(self.vision(pixels).pooler_output.float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes `vision_model.*` of the published file."""
        return load_state(
            self,
            state,
            rename=lambda key: _renamed(key, "vision_model.", "vision."),
            dropped={
                **POSITIONS,
                "text_model.*": "the text tower",
                "logit_scale": "kept with the text tower",
                "logit_bias": "kept with the text tower",
            },
        )


class SiglipText(nn.Module):
    """The text tower, with the temperature and bias that the space was trained with.

    Shape:
        `ids` `[item, 64]` -> `[item, dim]`, unit rows; temperature and bias do not enter them.
    Source:
        as the picture tower; the network is transformers' `SiglipTextModel`. Padding is read like
        any token, and the last position is the text: so the original was trained.
    """

    def __init__(self, text: SiglipTextModel, tokenize: Tokens, pad: int = END) -> None:
        super().__init__()
        self.text, self.tokenize, self.pad = text, tokenize, pad
        self.logit_scale = nn.Parameter(torch.zeros(1))
        self.logit_bias = nn.Parameter(torch.zeros(1))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """At most 63 tokens and the end, padded to 64."""
        ids = [*self.tokenize(media[:LONGEST])[: CONTEXT - 1], END]
        return {"ids": torch.tensor(ids + [self.pad] * (CONTEXT - len(ids)))}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows, float32."""
        return normalize(self.text(batch["ids"]).pooler_output.float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes `text_model.*`, `logit_scale` and `logit_bias` of the published file."""
        return load_state(
            self,
            state,
            rename=lambda key: _renamed(key, "text_model.", "text.", "logit_scale", "logit_bias"),
            dropped={**POSITIONS, "vision_model.*": "the picture tower"},
        )


def vision_tower(tower: Tower, patch: int, side: int) -> SiglipVisionModel:
    """transformers' picture network."""
    config = SiglipVisionConfig(**_sizes(tower), patch_size=patch, image_size=side)
    return SiglipVisionModel(config)


def text_tower(tower: Tower, dim: int, vocabulary: int) -> SiglipTextModel:
    """transformers' text network; the ids of special tokens are none of its business."""
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
    config = SiglipTextConfig(
        **_sizes(tower),
        **ids,
        projection_size=dim,
        vocab_size=vocabulary,
        max_position_embeddings=CONTEXT,
    )
    return SiglipTextModel(config)


def _sizes(tower: Tower) -> dict[str, Any]:
    return {
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_attention_heads": tower.heads,
        "intermediate_size": tower.hidden,
    }


def tokens(siglip: Siglip, assets: Mapping[str, Path]) -> Tokens:
    """The tokenizer, without the end token; hashed words where there is no vocabulary (tiny)."""
    if not assets:
        return lambda text: [zlib.crc32(w.encode()) % siglip.vocabulary for w in text.split()]
    if siglip.second:
        gemma = Tokenizer.from_file(str(assets["vocabulary"]))
        gemma.no_truncation()
        gemma.no_padding()
        return lambda text: gemma.encode(text.lower(), add_special_tokens=False).ids
    pieces = SiglipTokenizer(vocab_file=str(assets["vocabulary"]))
    return lambda text: pieces.convert_tokens_to_ids(pieces.tokenize(text))


def _without_weights(
    _: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    return given, {**named, "need_weights": False}


def _renamed(key: str, old: str, new: str, *same: str) -> str | None:
    if key in same:
        return key
    return new + key.removeprefix(old) if key.startswith(old) else None


def __getattr__(name: str) -> Callable[[Size, Mapping[str, Path]], nn.Module]:
    """The builder that a card names as `<modality> <model>`."""
    modality, _, model = name.partition(" ")
    if modality not in ("image", "text") or not model:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    full = Siglip.named(model)
    dim = full.vision.width  # kept at the tiny size: the pooled state of the tower is the row
    towers = {"vision": Tower(dim, 1, 16, 64), "text": Tower(32, 2, 2, 64)}
    small = replace(full, **towers, patch=16, side=96, vocabulary=512)

    def build(size: Size, assets: Mapping[str, Path]) -> nn.Module:
        made = small if size == "tiny" else full
        if modality == "image":
            return SiglipImage(vision_tower(made.vision, made.patch, made.side))
        text = text_tower(made.text, dim, made.vocabulary)
        return SiglipText(text, tokens(made, assets), PAD_2 if made.second else END)

    return build
