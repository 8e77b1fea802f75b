"""The text encoder of ImageBind: CLIP's transformer and byte-pair tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path

import regex
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import LayerNorm, TextTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize

from omnibind.specs import Size
from omnibind.weights import LoadReport
from omnibind_plugin_imagebind.published import OPEN_CLIP_BLOCKS, load

__all__ = ["ImageBindText", "build", "tokenizer"]

CONTEXT, VOCABULARY = 77, 49_408
LONGEST = 20_000
"""Characters of a text that are read: 77 tokens have ended long before."""
RENAMED = {
    r"preprocessors\.token_embedding\.weight": "tower.token_embedding.weight",
    r"preprocessors\.pos_embed": "tower.positional_embedding",
    **{old: f"tower.{new}" for old, new in OPEN_CLIP_BLOCKS.items()},
    r"heads\.proj\.0\.(\w+)": r"tower.ln_final.\1",
    r"heads\.proj\.1\.weight": "tower.text_projection",
    r"postprocessors\.1\.log_logit_scale": "log_scale",
}
UNUSED = {"modality_preprocessors.text.mask": "-inf above the diagonal: follows from the length"}
SPELLINGS = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}


class ImageBindText(nn.Module):
    """ImageBind's text encoder.

    Shape:
        `ids` `[item, 77]` -> `[item, dim]`, unit rows.
    Attributes:
        log_scale: logarithm of the learnt inverse temperature; rows do not depend on it.
    Source:
        arXiv:2305.05665; the tower is open_clip's `TextTransformer` with LayerNorm 1e-6.
    """

    def __init__(self, *, width: int, layers: int, heads: int, dim: int) -> None:
        super().__init__()
        self.tower = TextTransformer(
            context_length=CONTEXT,
            vocab_size=VOCABULARY,
            width=width,
            layers=layers,
            heads=heads,
            output_dim=dim,
            norm_layer=partial(LayerNorm, eps=1e-6),
        )
        causal = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
        self.tower.register_buffer("attn_mask", causal, persistent=False)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Numbers of at most 77 tokens, start and end among them, then zeros."""
        return {"ids": tokenizer()(media[:LONGEST])[0]}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(self.tower(batch["ids"]).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `text` part of the published file."""
        return load(self, dict(_fitted(state)), name="text", renamed=RENAMED, unused=UNUSED)


@cache
def tokenizer() -> SimpleTokenizer:
    """CLIP's byte pairs with CLIP's own spellings of the two special tokens, typed in a text."""
    made = SimpleTokenizer(context_length=CONTEXT)
    pattern = made.pat.pattern
    for theirs, ours in SPELLINGS.items():
        made.encoder[ours] = made.encoder.pop(theirs)
        made.cache[ours] = ours
        del made.cache[theirs]
        pattern = pattern.replace(theirs, regex.escape(ours))
    made.pat = regex.compile(pattern, regex.IGNORECASE)
    return made


def _fitted(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The published tensors in the shapes that open_clip gives them."""
    for key, tensor in state.items():
        if key == "modality_preprocessors.text.pos_embed":
            yield key, tensor.flatten(0, 1)
        elif key == "modality_heads.text.proj.1.weight":
            yield key, tensor.mT
        else:
            yield key, tensor


def build(size: Size, assets: Mapping[str, Path]) -> ImageBindText:
    """ImageBind's text encoder; the vocabulary comes with open_clip."""
    if size == "tiny":
        return ImageBindText(width=32, layers=2, heads=4, dim=1024)
    return ImageBindText(width=1024, layers=24, heads=16, dim=1024)
