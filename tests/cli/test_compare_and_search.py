"""`compare` and `search`: items of any modality against each other and against a table."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from omnibind.cli.compare import spread

TINY = ("--recipe", "toys", "--size", "tiny")
WORDS = ("a cat", "a dog", "a red car", "the sea")


@pytest.fixture
def table(omnibind, tmp_path):
    """Four texts and a picture."""
    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "red.png")
    out = tmp_path / "rows.parquet"
    texts = [word for text in WORDS for word in ("--text", text)]
    assert omnibind("embed", tmp_path / "red.png", *texts, "--out", out, *TINY).code == 0
    return out


def test_everything_after_with_belongs_to_it():
    assert spread(["a", "--with", "b", "c", "--json"], "--with") == [
        "a", "--with", "b", "--with", "c", "--json",
    ]  # fmt: skip


def test_cosines_come_as_a_table(omnibind):
    ran = omnibind("compare", "a cat", "a dog", "--with", "a cat", "the sea", *TINY)
    assert ran.code == 0
    assert "+1.000" in ran.out


def test_cosines_come_as_json(omnibind, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    ran = omnibind("compare", "a cat", tmp_path / "black.png", *TINY, "--json")
    found = json.loads(ran.out)
    assert found["left"] == found["right"] == ["a cat", str(tmp_path / "black.png")]
    assert found["cosines"][0][0] == pytest.approx(1, abs=1e-5)


def test_an_item_that_cannot_be_read_is_named_and_the_others_compared(omnibind):
    ran = omnibind("compare", "a cat", "./no.png", "--with", "a dog", *TINY, "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["left"] == ["a cat"]
    assert "./no.png" in ran.err


def test_a_search_finds_the_item_itself_first(omnibind, table):
    hits = json.loads(omnibind("search", table, "a dog", "--top", 2, "--json").out)
    assert hits[0]["source"] == "a dog"
    assert hits[0]["score"] == pytest.approx(1, abs=1e-5)
    assert len(hits) == 2


def test_a_picture_finds_texts_only_where_asked(omnibind, table, tmp_path):
    ran = omnibind("search", table, tmp_path / "red.png", "--only", "text", "--json")
    assert {hit["modality"] for hit in json.loads(ran.out)} == {"text"}


def test_hits_are_a_table_for_people(omnibind, table):
    assert "the sea" in omnibind("search", table, "the sea").out.splitlines()[1]


def test_a_query_that_cannot_be_read_ends_with_1(omnibind, table):
    ran = omnibind("search", table, "./no.png")
    assert (ran.code, ran.out) == (1, "")
    assert "no such file" in ran.err


def test_a_table_that_is_not_there_ends_with_2(omnibind, tmp_path):
    ran = omnibind("search", tmp_path / "no.parquet", "a dog")
    assert ran.code == 2
    assert "no such file" in ran.err
