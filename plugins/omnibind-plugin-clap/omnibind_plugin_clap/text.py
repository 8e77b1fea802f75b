"""The text encoder of CLAP: RoBERTa's pooled first token and two linear layers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import RobertaConfig, RobertaModel

from omnibind.htsat import projection
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["LIMIT", "ClapText", "build", "byte_pairs", "roberta"]

LIMIT = 77
START, PAD, END = 0, 1, 2
Tokenize = Callable[[str], list[int]]
DROPPED = {
    "optimizer.*": "training state",
    "*audio_branch.*": "of the audio encoder",
    "*audio_projection.*": "of the audio encoder",
    "*_transform.*": "layers of the training loss; rows are taken before them",
    "*logit_scale_?": "temperature of the training loss",
    "*.position_ids": "0, 1, 2, ...: follows from the ids",
}
PUBLISHED = re.compile(r"(?:state_dict\.)?(?:module\.)?(text_branch|text_projection)\.(.+)")


class ClapText(nn.Module):
    """CLAP's text encoder.

    Shape:
        `ids`, `mask` `[item, time]` -> `[item, dim]`, unit rows.
    Source:
        arXiv:2211.06687; the tower is transformers' `RobertaModel`. The authors pad every text
        to 77 tokens; padding is masked, so rows are the same without it.
    """

    def __init__(self, config: RobertaConfig, dim: int, tokenize: Tokenize) -> None:
        super().__init__()
        self.tower = RobertaModel(config)
        self.projection = projection(config.hidden_size, dim)
        self.tokenize = tokenize

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Token numbers between `<s>` and `</s>`, at most 77 with them."""
        return {"ids": torch.tensor(self.tokenize(media))}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Pads to the longest text."""
        ids = pad_sequence([item["ids"] for item in items], batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(item["ids"]) for item in items])
        return {"ids": ids, "mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """Pooled features before the projection: `[item, width]`."""
        real = batch["mask"][:, None, None].bool()
        return self.tower(input_ids=batch["ids"], attention_mask=real).pooler_output

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(self.projection(self.features(batch)).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `text_branch` and `text_projection` of a published checkpoint."""
        return load_state(self, state, rename=_renamed, dropped=DROPPED)


def _renamed(key: str) -> str | None:
    match = PUBLISHED.fullmatch(key)
    if not match:
        return None
    part, name = match.groups()
    return f"{'tower' if part == 'text_branch' else 'projection'}.{name}"


def byte_pairs(vocabulary: Path) -> Tokenize:
    """RoBERTa's tokenizer, cut at 77 tokens with the end token last."""
    tokenizer = Tokenizer.from_file(str(vocabulary))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LIMIT)
    return lambda text: tokenizer.encode(text).ids


def hashed_words(tokens: int) -> Tokenize:
    """A toy tokenizer where there is no vocabulary: one token a word, by its CRC-32."""

    def tokenize(text: str) -> list[int]:
        words = text.lower().split()[: LIMIT - 2]
        return [START, *(END + 1 + zlib.crc32(w.encode()) % (tokens - 3) for w in words), END]

    return tokenize


def roberta(**sizes: int) -> RobertaConfig:
    """roberta-base as published, which transformers' defaults are not; `sizes` change it."""
    published = {"vocab_size": 50_265, "max_position_embeddings": 514, "type_vocab_size": 1}
    return RobertaConfig(layer_norm_eps=1e-5, pad_token_id=PAD, **(published | sizes))


def build(size: Size, assets: Mapping[str, Path]) -> ClapText:
    """CLAP's text encoder; without a vocabulary, as at tiny size, words are hashed."""
    config = roberta()
    if size == "tiny":
        config = roberta(
            vocab_size=600,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
        )
    known = assets.get("vocabulary")
    return ClapText(config, 512, byte_pairs(known) if known else hashed_words(config.vocab_size))
