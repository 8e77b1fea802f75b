"""The text encoder of WavCaps: BERT's first token and two linear layers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel

from omnibind.htsat import projection
from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["LIMIT", "WavCapsText", "build", "word_pieces"]

LIMIT = 30
Tokenize = Callable[[str], list[int]]
DROPPED = {
    "optimizer.*": "training state",
    "*audio_encoder.*": "of the audio encoder",
    "*audio_proj.*": "of the audio encoder",
    "temp": "temperature of the training loss",
    "model.temp": "temperature of the training loss",
    "*.position_ids": "0, 1, 2, ...: follows from the ids",
}
PUBLISHED = re.compile(r"(?:model\.)?(text_encoder\.text_encoder|text_proj)\.(.+)")


class WavCapsText(nn.Module):
    """WavCaps' text encoder.

    Shape:
        `ids`, `mask` `[item, time]` -> `[item, dim]`, unit rows.
    Source:
        arXiv:2303.17395; the tower is transformers' `BertModel` without its pooler.
    """

    def __init__(self, config: BertConfig, dim: int, tokenize: Tokenize) -> None:
        super().__init__()
        self.tower = BertModel(config, add_pooling_layer=False)
        self.projection = projection(config.hidden_size, dim)
        self.tokenize = tokenize

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Word pieces between `[CLS]` and `[SEP]`, at most 30 with them."""
        return {"ids": torch.tensor(self.tokenize(media))}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Pads to the longest text."""
        ids = pad_sequence([item["ids"] for item in items], batch_first=True)
        lengths = torch.tensor([len(item["ids"]) for item in items])
        return {"ids": ids, "mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}

    def features(self, batch: dict[str, Tensor]) -> Tensor:
        """The first token's state before the projection: `[item, width]`."""
        real = batch["mask"][:, None, None].bool()
        states = self.tower(input_ids=batch["ids"], attention_mask=real)
        return states.last_hidden_state[:, 0]

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return normalize(self.projection(self.features(batch)).float(), dim=-1)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the `text_encoder` and `text_proj` of a published checkpoint."""
        return load_state(self, state, rename=_renamed, dropped=DROPPED)


def _renamed(key: str) -> str | None:
    match = PUBLISHED.fullmatch(key)
    if not match:
        return None
    part, name = match.groups()
    return f"{'projection' if part == 'text_proj' else 'tower'}.{name}"


def word_pieces(vocabulary: Path) -> Tokenize:
    """bert-base-uncased's tokenizer, cut at 30 tokens with `[SEP]` last."""
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(LIMIT)
    return lambda text: tokenizer.encode(text).ids


def hashed_words(tokens: int) -> Tokenize:
    """A toy tokenizer where there is no vocabulary: one token a word, by its CRC-32."""

    def tokenize(text: str) -> list[int]:
        words = text.lower().split()[: LIMIT - 2]
        return [1, *(3 + zlib.crc32(word.encode()) % (tokens - 3) for word in words), 2]

    return tokenize


def build(size: Size, assets: Mapping[str, Path]) -> WavCapsText:
    """WavCaps' text encoder; without a vocabulary, as at tiny size, words are hashed."""
    config = BertConfig()
    if size == "tiny":
        config = BertConfig(
            vocab_size=600,
            hidden_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=96,
        )
    known = assets.get("vocabulary")
    tokenize = word_pieces(known) if known else hashed_words(config.vocab_size)
    return WavCapsText(config, 1024, tokenize)
