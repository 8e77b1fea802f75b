"""`evaluate`, `explain` and `ablate` on the toy plugin's recipe."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
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
    assert "| image | bound | 2 | 2 |" in ran.out
    assert {"evaluation.json", "evaluation.md", "map.svg"} <= {p.name for p in out.iterdir()}


def test_a_direction_without_a_common_label_is_left_out_and_named(omnibind, items, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    items.write_text("\n".join([*LINES, "a.wav,,hum", ",a hum,hum"]))
    ran = omnibind("evaluate", items, *TINY, "--json", "--resamples", "20")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert len(found["bound"]) == 4
    left = [{"from": "image", "to": "audio"}, {"from": "audio", "to": "image"}]
    assert sorted(found["left_out"], key=str) == sorted(left, key=str)
    shown = omnibind("evaluate", items, *TINY, "--resamples", "20")
    assert "* left out, since no items of the two share a label: " in shown.out
    lost = omnibind("ablate", items, *TINY)
    assert (lost.code, "audio -> image" in lost.err, "text -> audio" in lost.out) == (0, True, True)


@pytest.mark.parametrize("command", ["evaluate", "ablate"])
@pytest.mark.parametrize(
    ("lines", "said"),
    [(LINES[:3], "found:  image items alone"), ((*LINES[:3], ",x,y"), "no label that two of")],
)
def test_a_table_without_any_direction_is_refused(omnibind, items, command, lines, said):
    items.write_text("\n".join(lines))
    ran = omnibind(command, items, *TINY)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_items_without_a_label_are_right_for_none(omnibind, items, tmp_path):
    for name in "cd":
        Image.new("RGB", (8, 8), (20, 220, 20)).save(tmp_path / f"{name}.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    blank = ("c.png,,", "d.png,,|", ",green,", "a.wav,,")
    items.write_text("\n".join([*LINES, *blank]))
    words = ("--prompt", "{}", "--resamples", "20", "--json")
    ran = omnibind("evaluate", items, *TINY, *words)
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    counts = {(f["from"], f["queries"], f["candidates"], f["unanswerable"]) for f in found["bound"]}
    assert counts == {("image", 2, 3, 2), ("text", 2, 4, 1)}
    (of_images,) = found["classification"].values()
    assert (of_images["items"], of_images["classes"], of_images["unlabelled"]) == (2, 2, 2)
    assert [of_images["top-1"]["chance"], of_images["top-5"]["chance"]] == [0.5, 1]
    items.write_text("\n".join([LINES[0], *blank]))
    assert "no label that two of these share" in omnibind("evaluate", items, *TINY, *words).err


def test_a_line_without_path_or_text_is_a_bad_item(omnibind, items):
    items.write_text("path,label\na.png,red\nb.png,blue\n,blue\n")
    ran = omnibind("evaluate", items, *TINY, "--prompt", "{}", "--resamples", "20")
    assert (ran.code, "| image | bound | 2 | 2 |" in ran.out) == (1, True), ran.err
    assert "no words: it is empty" in ran.err


def test_items_of_one_modality_can_be_classified(omnibind, items, tmp_path):
    items.write_text("\n".join(LINES[:3]))
    words = ("--prompt", "{}", "--resamples", "20", "--out", tmp_path / "report")
    ran = omnibind("evaluate", items, *TINY, *words)
    assert ran.code == 0, ran.err
    assert "| image | bound | 2 | 2 |" in ran.out
    assert not (tmp_path / "report" / "map.svg").exists()


def test_a_report_in_the_place_of_another_has_no_pictures_of_it(omnibind, items, tmp_path):
    out = tmp_path / "report"
    words = ("evaluate", items, *TINY, "--resamples", "10", "--out", out)
    assert omnibind(*words, "--prompt", "{}").code == 0
    (out / "mine.svg").touch()
    assert omnibind(*words).code == 0
    names = {path.name for path in out.iterdir()}
    assert {"map.svg", "mine.svg"} <= names
    assert not any(name.startswith("classification") for name in names)


def test_every_member_classifies_beside_the_bound_model(omnibind, items, tmp_path):
    words = ("--prompt", "{}", "--resamples", "20", "--out", tmp_path / "report")
    ran = omnibind("evaluate", items, *TINY, *words, "--json")
    found = json.loads(ran.out)["classification"]["image"]
    assert set(found["members"]) == {"toy", "toy-nc"}
    assert {"value", "low", "high"} <= found["members"]["toy"]["top-1"].keys()
    assert found["bound_minus_best_member"]["mAP"]["member"] in found["members"]
    table = (tmp_path / "report" / "evaluation.md").read_text()
    assert "|  | toy-nc | 2 | 2 |" in table.partition("| items |")[2]
    picture = (tmp_path / "report" / "classification_top_1.svg").read_text()
    assert "toy-nc" in picture


def test_evaluate_goes_on_without_a_bad_item_and_says_so(omnibind, items, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    ran = omnibind("evaluate", items, *TINY, "--json", "--resamples", "20")
    assert ran.code == 1
    assert "b.png" in ran.err
    assert {one["from"] for one in json.loads(ran.out)["bound"]} == {"text", "image"}


@pytest.mark.parametrize("command", ["evaluate", "ablate", "compare"])
def test_strict_ends_with_a_bad_item(omnibind, items, tmp_path, command):
    (tmp_path / "b.png").write_bytes(b"no picture")
    given = ("a cat", tmp_path / "b.png") if command == "compare" else (items,)
    ran = omnibind("--strict", command, *given, *TINY)
    assert (ran.code, ran.out) == (1, ""), ran.err
    assert "b.png" in ran.err


def test_ablate_shows_a_line_for_each_slot_and_direction(omnibind, items):
    ran = omnibind("ablate", items, *TINY, "--json")
    found = json.loads(ran.out)
    assert ran.code == 0
    assert all(len(one["directions"]) == 2 for one in found.values())
    assert "loss of mAP" in omnibind("ablate", items, *TINY).out


@pytest.mark.parametrize(("missing", "left"), [("toy", "toy-nc"), ("toy-nc", "toy")])
def test_ablate_leaves_out_slots_that_are_there(omnibind, items, missing, left):
    ran = omnibind("ablate", items, *TINY, "--without", missing, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert {slot: one["mean"] for slot, one in found.items()} == {left: 0}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("ablate", "--metric", "R@7"), "'R@7' is not one of"),
        (("evaluate", "--prompt", "a photo"), "no {} in it: every class would have the same text"),
        (("evaluate", "--out", __file__), "is a file"),
    ],
)
def test_an_option_that_says_nothing_is_refused(omnibind, items, words, said):
    ran = omnibind(words[0], items, *TINY, *words[1:])
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_explain_shows_weights_that_add_up_to_one(omnibind):
    (one,) = json.loads(omnibind("explain", "a cat", *TINY, "--json").out)
    assert sum(one["weights"].values()) == pytest.approx(1)
    assert "weight" in omnibind("explain", "a cat", *TINY).out


def test_explain_says_of_each_item_what_its_own_row_lacks(omnibind, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(800) / 2, 8000)
    words = ("explain", tmp_path / "a.wav", "a cat", *TINY, "--without", "toy-nc", "--json")
    ran = omnibind(*words)
    assert [(one["modality"], one["degraded"]) for one in json.loads(ran.out)] == [
        ("audio", []),
        ("text", ["toy-nc"]),
    ]
    assert ran.err.count("missing: toy-nc") == 1


def test_explain_takes_words_that_are_longer_than_any_path(omnibind):
    ran = omnibind("explain", "a cat and " * 99, "a dog", *TINY, "--json")
    assert (ran.code, len(json.loads(ran.out))) == (0, 2), ran.err


def test_explain_shows_the_good_items_and_lists_the_bad_one(omnibind, items, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    given = ("a cat", tmp_path / "b.png", tmp_path / "a.png")
    ran = omnibind("explain", *given, *TINY, "--json")
    assert ran.code == 1
    assert [one["modality"] for one in json.loads(ran.out)] == ["text", "image"]
    assert [one["item"] for one in json.loads(ran.out)][1].endswith("a.png")
    assert "b.png\n  decode: " in ran.err
    assert omnibind("--strict", "explain", *given, *TINY).out == ""


@pytest.mark.parametrize("command", ["evaluate", "ablate"])
@pytest.mark.parametrize("modality", ["", "points"])
def test_a_shape_that_no_space_reads_is_a_bad_item(omnibind, items, tmp_path, command, modality):
    (tmp_path / "c.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    lines = [f"{line}," for line in LINES[1:]]
    items.write_text("\n".join([f"{LINES[0]},modality", *lines, f"c.obj,,red,{modality}"]))
    ran = omnibind(command, items, *TINY)
    assert (ran.code, "image" in ran.out) == (1, True), ran.err
    assert "c.obj\n  recognise: joint rows of 'points' by the recipe 'toys'" in ran.err
    one = omnibind("explain", "a cat", tmp_path / "c.obj", *TINY)
    assert (one.code, "a cat" in one.out, "c.obj" in one.err) == (1, True, True)


def test_a_table_that_is_not_there_is_refused(omnibind):
    ran = omnibind("evaluate", "gone.csv", *TINY)
    assert ran.code == 2
    assert "no such file" in ran.err
