"""Texts are cut as BERT's tokenizer cuts them, and padding leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omnibind_plugin_wavcaps.text import LIMIT, build, word_pieces

PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dog", "bark", "##s", ".")


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    return path


def test_words_are_lowered_and_split_into_pieces(vocabulary: Path) -> None:
    ids = word_pieces(vocabulary)("A Dog barks.")
    assert [PIECES[at] for at in ids] == ["[CLS]", "[UNK]", "dog", "bark", "##s", ".", "[SEP]"]


def test_a_long_text_is_cut_at_30_with_its_end_last(vocabulary: Path) -> None:
    ids = word_pieces(vocabulary)("dog " * 100)
    assert (len(ids), ids[0], ids[-1]) == (LIMIT, 2, 3)


def test_the_full_size_takes_the_published_vocabulary(vocabulary: Path) -> None:
    with torch.device("meta"):
        encoder = build("full", {"vocabulary": vocabulary})
    assert encoder.preprocess("dog " * 100)["ids"].shape == (LIMIT,)


def test_the_toy_tokenizer_cuts_at_the_same_place() -> None:
    assert build("tiny", {}).preprocess("dog " * 100)["ids"].shape == (LIMIT,)


def test_a_padded_text_has_the_row_it_has_alone() -> None:
    torch.manual_seed(0)
    encoder = build("tiny", {}).eval()
    short, long = encoder.preprocess("a dog"), encoder.preprocess("dog " * 100)
    with torch.inference_mode():
        together = encoder(encoder.collate([short, long]))[0]
        alone = encoder(encoder.collate([short]))[0]
    assert torch.allclose(together, alone, atol=1e-6)
