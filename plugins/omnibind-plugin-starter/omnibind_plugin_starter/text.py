"""The two text encoders: MiniLM, a small transformer, and WordLlama, a vector a token."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import BertConfig, BertModel

from omnibind.specs import Size
from omnibind.weights import LoadReport, load_state

__all__ = ["MiniLM", "WordLlama", "minilm", "wordllama"]

Tokenize = Callable[[str], list[int]]
MINILM_TOKENS = 256
WORDLLAMA_TOKENS = 4096


class MiniLM(nn.Module):
    r"""all-MiniLM-L6-v2: the mean of a six-layer transformer's token vectors, centred.

    $$ \mathrm{row} = \mathrm{normalize}(\mathrm{normalize}(x) - c) $$

    with the mean sentence embedding x, and the mean c of the rows of WordNet's nouns.

    Shape:
        `ids`, `mask` `[item, time]` -> `[item, 384]`.
    Source:
        Reimers and Gurevych 2019, arXiv:1908.10084; the network is transformers' `BertModel`.
        Ours: centring, without which every text is near every other.
    """

    def __init__(self, network: BertModel, tokenize: Tokenize) -> None:
        super().__init__()
        self.network = network
        self.tokenize = tokenize
        self.centre = nn.Parameter(torch.zeros(network.config.hidden_size))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Word pieces between [CLS] and [SEP], at most 256 of them."""
        return {"ids": torch.tensor(self.tokenize(media))}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Pads to the longest text."""
        return padded([item["ids"] for item in items])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        ids, mask = batch["ids"], batch["mask"]
        hidden = self.network(
            input_ids=ids,
            attention_mask=mask,
            token_type_ids=torch.zeros_like(ids),
            position_ids=torch.arange(ids.shape[1], device=ids.device)[None],
        ).last_hidden_state
        return self.spread(masked_mean(hidden, mask).to(self.centre.dtype))

    def spread(self, sentences: Tensor) -> Tensor:
        """Unit rows of the means of token vectors, both `[item, dim]`."""
        return centred(sentences, self.centre)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the keys of a `BertModel`; the pooler is not part of a sentence embedding."""
        return load_state(
            self,
            state,
            rename=lambda key: key if key == "centre" else f"network.{key}",
            dropped={
                "pooler.*": "rows are the mean of the token vectors",
                "embeddings.position_ids": "0, 1, 2, ...: given at each call",
            },
        )


class WordLlama(nn.Module):
    r"""WordLlama L2 supercat: the mean of static token vectors of a language model, whitened.

    $$ \mathrm{row} = \mathrm{normalize}\bigl((\mathrm{normalize}(x) - c) \, M\bigr) $$

    with the mean token vector x, the mean c of the rows of WordNet's nouns, and the matrix M that
    makes captions vary more alike in all directions (`training/whitening.py`).

    Shape:
        `ids`, `mask` `[item, time]` -> `[item, 256]`.
    Source:
        github.com/dleemiller/WordLlama; read from its files, its code is not run.
        Ours: centring, and half of a whitening.
    """

    def __init__(self, tokens: int, dim: int, tokenize: Tokenize) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, dim)
        self.tokenize = tokenize
        self.centre = nn.Parameter(torch.zeros(dim))
        self.whitening = nn.Parameter(torch.eye(dim))

    def preprocess(self, media: str) -> dict[str, Tensor]:
        """Llama 2 token numbers, without a start token, at most 4,096 of them."""
        return {"ids": torch.tensor(self.tokenize(media))}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Pads to the longest text."""
        return padded([item["ids"] for item in items])

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Unit rows `[item, dim]`."""
        return self.spread(masked_mean(self.embedding(batch["ids"]), batch["mask"]))

    def spread(self, sentences: Tensor) -> Tensor:
        """Unit rows of the means of token vectors, both `[item, dim]`."""
        return whitened(sentences, self.centre, self.whitening)

    def load_official(self, state: Mapping[str, Tensor]) -> LoadReport:
        """Takes the one table, kept as float16 in its file, this plugin's centre and whitening."""
        return load_state(self, state)


def padded(rows: list[Tensor]) -> dict[str, Tensor]:
    """Token numbers of several texts as one table, and which of its places are real."""
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return {"ids": ids, "mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over time of the places whose mask is 1."""
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1)


def centred(rows: Tensor, centre: Tensor) -> Tensor:
    """Unit rows, less the mean of many of them, at unit norm again."""
    return normalize(normalize(rows, dim=-1) - centre.to(rows.dtype), dim=-1)


def whitened(rows: Tensor, centre: Tensor, whitening: Tensor) -> Tensor:
    """The same through a matrix, `[dim, dim]`.

    The product is float32's wherever it is called: it stretches the directions that are small.
    """
    with torch.autocast(rows.device.type, enabled=False):
        return normalize(centred(rows, centre) @ whitening.to(rows.dtype), dim=-1)


MINILM_SIZES = {
    "vocab_size": 30_522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
MINILM_TINY = {"vocab_size": 512, "num_hidden_layers": 1, "intermediate_size": 32}


def minilm(size: Size, assets: Mapping[str, Path]) -> MiniLM:
    """Builds MiniLM with the tokenizer of its package; hashed words where there is none."""
    config = BertConfig(**(MINILM_SIZES | (MINILM_TINY if size == "tiny" else {})))
    network = BertModel(config, add_pooling_layer=False)
    if "tokenizer" not in assets:
        return MiniLM(network, hashed_words(config.vocab_size, MINILM_TOKENS))
    tokenizer = Tokenizer.from_file(str(assets["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MINILM_TOKENS)
    return MiniLM(network, lambda text: tokenizer.encode(text).ids)


def wordllama(size: Size, assets: Mapping[str, Path]) -> WordLlama:
    """Builds WordLlama with the tokenizer beside its weights; hashed words where there is none."""
    tokens = 512 if size == "tiny" else 32_000
    if "tokenizer" not in assets:
        return WordLlama(tokens, 256, hashed_words(tokens, WORDLLAMA_TOKENS))
    tokenizer = Tokenizer.from_file(str(assets["tokenizer"]))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def tokenize(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids[:WORDLLAMA_TOKENS]

    return WordLlama(tokens, 256, tokenize)


def hashed_words(tokens: int, limit: int) -> Tokenize:
    """A toy tokenizer where there is no vocabulary: one token a word, by its CRC-32."""
    return lambda text: [zlib.crc32(word.encode()) % tokens for word in text.split()[:limit]]
