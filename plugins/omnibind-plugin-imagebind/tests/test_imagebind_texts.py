"""Texts become CLIP's byte pairs, with CLIP's own spellings of the special tokens."""

from __future__ import annotations

from omnibind_plugin_imagebind.text import build, tokenizer

START, END = 49_406, 49_407


def test_special_tokens_typed_in_a_text_become_special() -> None:
    ids = tokenizer()("<|startoftext|> a <|endoftext|>")[0].tolist()
    assert ids[:5] == [START, START, 320, END, END]


def test_open_clips_spellings_are_plain_text() -> None:
    assert START not in tokenizer()("<start_of_text>")[0, 1:].tolist()


def test_a_long_text_is_cut_at_77_tokens_with_the_end_last() -> None:
    ids = build("tiny", {}).preprocess("word " * 200)["ids"].tolist()
    assert (len(ids), ids[0], ids[-1], ids[-2]) == (77, START, END, ids[1])


def test_a_short_text_is_filled_with_zeros() -> None:
    ids = build("tiny", {}).preprocess("A  Photo &amp;")["ids"].tolist()
    assert ids[:5] == [START, 320, 1125, 261, END]
    assert set(ids[5:]) == {0}
