"""What text is taken, what is refused, and why."""

from pathlib import Path

import pytest

from omnibind.errors import MediaError
from omnibind.media import text


def test_a_str_is_the_text_itself():
    assert text.load("a cat") == "a cat"


def test_a_file_its_bytes_and_the_same_words_are_equal(tmp_path):
    path = tmp_path / "cat.txt"
    path.write_bytes("\ufeffa cat — 猫\n".encode())
    loaded = {text.load(path), text.load(path.read_bytes()), text.load(" a cat — 猫")}
    assert loaded == {"a cat — 猫"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "empty"),
        (" \n\t", "white space"),
        (b"  \n", "white space"),
        (b"", "0 bytes"),
        ("a\0b", "NUL"),
        (b"caf\xe9", "not UTF-8: byte 3 is 0xe9"),
        ("a cat".encode("utf-16"), "not UTF-8"),
        ("half a pair \ud800", "surrogate"),
        ("x" * 1_000_001, "1,000,001 characters"),
        (b"x" * 5_000_000, "5,000,000 bytes"),
        ("https://example.org/cat.png", "URL"),
        (Path("https://example.org/cat.txt"), "URL"),
        (Path("no/such/file.txt"), "FileNotFoundError"),
        (7, "neither a path"),
    ],
)
def test_bad_text_is_refused_with_the_reason_and_the_next_step(source, reason):
    with pytest.raises(MediaError) as refusal:
        text.load(source)
    assert reason in refusal.value.found[0]
    assert refusal.value.next_step


def test_a_text_that_mentions_a_url_is_a_text():
    assert text.load("see https://example.org/cat.png").startswith("see")


def test_a_million_characters_are_a_text():
    assert len(text.load("x" * 1_000_000)) == 1_000_000


def test_texts_are_claimed_and_paths_and_bytes_are_not():
    assert [text.claims(thing) for thing in ("a cat", Path("a.txt"), b"a")] == [True, False, False]


def test_equal_texts_have_equal_digests():
    assert text.digest("a cat") == text.digest("a cat") != text.digest("a dog")
