"""Texts are cut as RoBERTa's tokenizer cuts them, and padding leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omnibind_plugin_clap.text import LIMIT, build, byte_pairs
from tokenizers import Tokenizer, models, pre_tokenizers, processors


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    """RoBERTa's tokenizer with bytes only and no merges."""
    tokens = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    model = models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(tokens[:3])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_a_text_stands_between_its_start_and_end(vocabulary: Path) -> None:
    ids = byte_pairs(vocabulary)("a cat")
    assert (len(ids), ids[0], ids[-1]) == (7, 0, 2)


def test_a_long_text_is_cut_at_77_with_its_end_last(vocabulary: Path) -> None:
    ids = byte_pairs(vocabulary)("rain " * 100)
    assert (len(ids), ids[0], ids[-1]) == (LIMIT, 0, 2)


def test_the_full_size_takes_the_published_vocabulary(vocabulary: Path) -> None:
    with torch.device("meta"):
        encoder = build("full", {"vocabulary": vocabulary})
    assert encoder.preprocess("rain " * 100)["ids"].shape == (LIMIT,)


def test_the_toy_tokenizer_cuts_at_the_same_place() -> None:
    assert build("tiny", {}).preprocess("rain " * 100)["ids"].shape == (LIMIT,)


def test_a_text_padded_to_77_has_the_row_it_has_alone() -> None:
    torch.manual_seed(0)
    encoder = build("tiny", {}).eval()
    short, long = encoder.preprocess("a cat"), encoder.preprocess("rain " * 100)
    with torch.inference_mode():
        together = encoder(encoder.collate([short, long]))[0]
        alone = encoder(encoder.collate([short]))[0]
    assert torch.allclose(together, alone, atol=1e-6)
