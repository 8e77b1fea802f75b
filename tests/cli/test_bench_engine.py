"""`bench ...`: a table or one JSON document, with the machine; bad arguments before any work."""

from __future__ import annotations

import json

import pytest

FEW = ("--items", "image=2", "--items", "text=3", "--modality", "image", "--modality", "text")
TOYS = ("toys", "--size", "tiny", "--device", "cpu", "--batch", "2", "--runs", "1", *FEW)


def test_the_engine_is_measured_beside_the_naive_way(omnibind, tmp_path):
    out = tmp_path / "figures.json"
    ran = omnibind("bench", "engine", *TOYS, "--naive", "--out", str(out))
    assert ran.code == 0
    assert "toys" in ran.out
    written = json.loads(out.read_text())
    assert written["machine"]["versions"]["torch"]
    assert written["machine"]["cpu"]
    assert written["ceiling"]["products"]["float32"]["runs"] > 1
    assert [one["modality"] for one in written["figures"]] == ["image", "text", "all"]
    assert written["figures"][0]["ratio"]["runs"] == 1
    assert all(one["difference"] < 1e-5 for one in written["figures"])


def test_one_profile_is_of_one_setting(omnibind, tmp_path):
    profile = ("--profile", str(tmp_path / "ops.txt"))
    assert omnibind("bench", "engine", *TOYS, *profile).code == 0
    assert "CPU" in (tmp_path / "ops.txt").read_text()
    ran = omnibind("bench", "engine", *TOYS, "--batch", "3", *profile)
    assert (ran.code, "--profile" in ran.err) == (2, True)


@pytest.mark.parametrize("words", [("overhead", *TOYS), ("threads", *TOYS, "--threads", "2")])
def test_json_is_one_document(omnibind, words):
    ran = omnibind("bench", *words, "--json")
    assert ran.code == 0
    assert len(json.loads(ran.out)["figures"]) == 2


def test_figures_are_printed_as_a_table(omnibind):
    assert "under 1.05" in omnibind("bench", "overhead", *TOYS).out
    assert "p99" in omnibind("bench", "threads", *TOYS, "--threads", "2").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--items", "image"), "not MODALITY=N"),
        (("--items", "smell=3"), "'smell'"),
        (("--modality", "smell"), "'smell'"),
        (("--batch", "0"), "--batch"),
    ],
)
def test_bad_arguments_are_named(omnibind, words, said):
    ran = omnibind("bench", "overhead", "toys", "--size", "tiny", *words)
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize("option", ["--out", "--profile"])
@pytest.mark.parametrize("where", ["nowhere/figures.json", "."])
def test_a_file_that_cannot_be_written_is_named_before_anything_is_measured(
    omnibind, tmp_path, option, where
):
    ran = omnibind("bench", "engine", *TOYS, option, str(tmp_path / where))
    assert ran.code == 2
    assert option in ran.err
    assert "turn" not in ran.err


def test_more_workers_to_kill_than_items_are_refused(omnibind):
    ran = omnibind("bench", "endurance", "--items", "100", "--kills", "101")
    assert (ran.code, "fewer --kills" in ran.err) == (2, True)


def test_every_benchmark_tells_its_machine(omnibind):
    heads = ("--spaces", "1", "--dim", "8", "--hidden", "4", "--batch", "12", "--seconds", "0")
    found = json.loads(omnibind("bench", "heads", *heads, "--json").out)
    assert found["machine"]["versions"]["torch"]
    assert found["ratio"] == found["figures"][0]["batched"] / found["figures"][0]["loop"]


def test_a_single_item_has_no_other_to_be_compared_with(omnibind):
    words = ("toy-text", "--size", "tiny", "--numbers", "bfloat16", "--items", "text=1")
    ran = omnibind("bench", "precision", *words, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["figures"][0]["others"] is None
    assert "cannot tell" in omnibind("bench", "precision", *words).out
