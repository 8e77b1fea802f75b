"""`evaluate`, `explain` and `ablate` on the toy plugin's recipe."""

from __future__ import annotations

import json

import pytest
from PIL import Image

TINY = ("--recipe", "toys", "--size", "tiny")
LINES = ("path,text,label", "a.png,,red", "b.png,,blue", ",red,red", ",blue,blue")


@pytest.fixture
def items(tmp_path):
    for name, colour in (("a", (220, 20, 20)), ("b", (20, 20, 220))):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "items.csv").write_text("\n".join(LINES))
    return tmp_path / "items.csv"


def test_evaluate_prints_a_table_and_writes_the_report(omnibind, items, tmp_path):
    out = tmp_path / "report"
    ran = omnibind("evaluate", items, *TINY, "--prompt", "{}", "--out", out, "--resamples", "20")
    assert ran.code == 0
    assert "| text -> image | bound | 2 | 2 |" in ran.out
    assert "| image | 2 | 2 |" in ran.out
    assert {"evaluation.json", "evaluation.md", "map.svg"} <= {p.name for p in out.iterdir()}


def test_evaluate_goes_on_without_a_bad_item_and_says_so(omnibind, items, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    ran = omnibind("evaluate", items, *TINY, "--json", "--resamples", "20")
    assert ran.code == 1
    assert "b.png" in ran.err
    assert {one["from"] for one in json.loads(ran.out)["bound"]} == {"text", "image"}


def test_ablate_shows_a_line_for_each_slot_and_direction(omnibind, items):
    ran = omnibind("ablate", items, *TINY, "--json")
    found = json.loads(ran.out)
    assert ran.code == 0
    assert all(len(one["directions"]) == 2 for one in found.values())
    assert "loss of mAP" in omnibind("ablate", items, *TINY).out


def test_explain_shows_weights_that_add_up_to_one(omnibind):
    (one,) = json.loads(omnibind("explain", "a cat", *TINY, "--json").out)
    assert sum(one["weights"].values()) == pytest.approx(1)
    assert "weight" in omnibind("explain", "a cat", *TINY).out


def test_a_table_that_is_not_there_is_refused(omnibind):
    ran = omnibind("evaluate", "gone.csv", *TINY)
    assert ran.code == 2
    assert "no such file" in ran.err
