"""`demo` and `new-plugin`: they hand over to the library and print."""

from __future__ import annotations

import json

import pytest
from PIL import Image

TINY = ("--recipe", "toys", "--size", "tiny")


@pytest.fixture
def media(tmp_path):
    """Two concepts as words and pictures."""
    folder = tmp_path / "media"
    folder.mkdir()
    entries = []
    for concept, colour in (("fire", (250, 80, 0)), ("sea", (0, 60, 200))):
        Image.new("RGB", (16, 16), colour).save(folder / f"{concept}.png")
        entries.append({"concept": concept, "text": f"the {concept}", "image": f"{concept}.png"})
    (folder / "manifest.json").write_text(json.dumps(entries))
    return folder


def test_the_demo_prints_its_table_and_writes_a_page(omnibind, media, tmp_path):
    page = tmp_path / "page.html"
    ran = omnibind("demo", "--media", media, "--page", page, *TINY)
    assert ran.code == 0
    assert "any to any, 2 concepts" in ran.out
    assert page.stat().st_size > 1000
    assert str(page) in ran.err


def test_the_demo_speaks_json(omnibind, media, tmp_path):
    ran = omnibind("demo", "--media", media, "--page", tmp_path / "p.html", *TINY, "--json")
    assert json.loads(ran.out)["items"] == 4


def test_a_picture_of_the_demo_that_cannot_be_read_ends_with_1(omnibind, media, tmp_path):
    (media / "sea.png").write_bytes(b"no picture")
    ran = omnibind("demo", "--media", media, "--page", tmp_path / "p.html", *TINY)
    assert ran.code == 1
    assert "failed: " in ran.err


def test_a_folder_without_a_manifest_ends_with_2(omnibind, tmp_path):
    assert omnibind("demo", "--media", tmp_path, *TINY).code == 2


def test_a_folder_called_like_a_recipe_is_not_taken_for_a_checkpoint(
    omnibind, media, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for folder in ("toys", "mine"):
        (tmp_path / folder).mkdir()
    assert omnibind("demo", "--media", media, "--page", "p.html", *TINY).code == 0
    for folder in ("./toys", "mine"):
        asked = omnibind("demo", "--media", media, "--recipe", folder, "--size", "tiny")
        assert asked.code == 2
        assert "no recipe.json in it" in asked.err


def test_a_new_plugin_is_a_folder_of_files(omnibind, tmp_path):
    ran = omnibind("new-plugin", "smell", "--folder", tmp_path)
    assert ran.code == 0
    assert str(tmp_path / "omnibind-plugin-smell" / "pyproject.toml") in ran.out.splitlines()
    assert "pip install -e" in ran.err


def test_a_new_plugin_overwrites_nothing(omnibind, tmp_path):
    omnibind("new-plugin", "smell", "--folder", tmp_path, "--json")
    assert omnibind("new-plugin", "smell", "--folder", tmp_path).code == 2
