"""`bind` and `store`: pools become rows and pairs; killed, it goes on; refused, it says why."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.store import Store
from omnibind.training.tuples import read_tuples

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
COUNT, PICTURES = 400, 40
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")


@pytest.fixture
def pools(tmp_path: Path) -> tuple[str, ...]:
    """Some pictures and many texts."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n in range(PICTURES):
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    (tmp_path / "texts.txt").write_text("".join(f"{n} cats\n" for n in range(COUNT)))
    return "--pool", f"image={folder}", "--pool", f"text={tmp_path / 'texts.txt'}"


def command(pools: tuple[str, ...], out: Path) -> tuple[str, ...]:
    return ("bind", "toys", *pools, "--out", str(out), "--size", "tiny", *FAST)


def test_pools_are_bound_stage_by_stage(omnibind, pools, tmp_path):
    ran = omnibind(*command(pools, tmp_path / "out"), "--stage", "embed", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["embed"]["pools"]["text"]["distinct"] == COUNT
    ran = omnibind(*command(pools, tmp_path / "out"))
    assert ran.code == 0, ran.err
    assert re.search(r"embed +as before", ran.out)
    assert "image and text are paired by toy" in ran.err
    assert len(read_tuples(tmp_path / "out" / "pairs" / "tuples.parquet")) == COUNT + PICTURES


def test_what_is_bound_can_be_loaded_and_is_not_made_again(omnibind, pools, tmp_path):
    ran = omnibind(*command(pools, tmp_path / "out"))
    assert ran.code == 0, ran.err
    bound = tmp_path / "out" / "checkpoint"
    facts = json.loads((bound / "recipe.json").read_text())["facts"]
    assert facts["training"]["project"]["steps"] == 3
    assert set(facts["pools"]) == {"image", "text"}
    shown = omnibind("compare", "a cat", "--with", "a dog", "--recipe", bound, "--size", "tiny")
    assert shown.code == 0, shown.err
    again = omnibind(*command(pools, tmp_path / "out"), "--json")
    assert all(stage["skipped"] for stage in json.loads(again.out).values())
    more = omnibind(*command(pools, tmp_path / "out"), "--steps", "4", "--json")
    made = {name for name, stage in json.loads(more.out).items() if not stage["skipped"]}
    assert made == {"project", "route", "checkpoint"}


def test_a_stage_says_what_it_lacks_of_earlier_ones(omnibind, pools, tmp_path):
    for stage, before in (("project", "pair"), ("checkpoint", "project")):
        ran = omnibind(*command(pools, tmp_path / "out"), "--stage", stage)
        assert ran.code == 2
        assert f"--stage {before}" in ran.err


def test_after_kill_9_the_same_command_ends_with_the_same_pairs(omnibind, pools, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = [*command(pools, killed), "--part-items", "3"]
    running = subprocess.Popen(
        [sys.executable, "-m", "omnibind.cli", *words], stderr=subprocess.DEVNULL
    )
    versions = killed / "store" / "text.lance" / "_versions"
    while not versions.is_dir() or len(list(versions.iterdir())) < 5:
        assert running.poll() is None
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = Store(killed / "store").count("text")
    assert 0 < kept < COUNT
    ran = omnibind(*words)
    assert f"{COUNT - kept} new rows" in ran.err
    assert omnibind(*command(pools, whole)).code == 0
    one, other = (read_tuples(out / "pairs" / "tuples.parquet") for out in (whole, killed))
    assert (one.items["text"] == other.items["text"]).all()


def test_a_store_is_looked_into_and_verified(omnibind, pools, tmp_path):
    omnibind(*command(pools, tmp_path / "out"), "--stage", "embed")
    told = json.loads(omnibind("store", "info", tmp_path / "out", "--json").out)
    assert told["modalities"]["image"]["items"] == PICTURES
    assert "toy-text" in omnibind("store", "info", tmp_path / "out" / "store").out
    assert omnibind("store", "verify", tmp_path / "out").code == 0


def test_rows_that_were_dropped_are_made_again(omnibind, pools, tmp_path):
    omnibind(*command(pools, tmp_path / "out"))
    assert omnibind("store", "drop", tmp_path / "out", "toy-text").code == 0
    assert omnibind("store", "drop", tmp_path / "out", "toy-text").code == 2
    ran = omnibind(*command(pools, tmp_path / "out"))
    assert (ran.code, "as before" in ran.out) == (0, False), ran.err
    assert Store(tmp_path / "out" / "store").whole("text", ["toy-text"]).all()


def test_damage_ends_verify_with_1(omnibind, pools, tmp_path):
    omnibind(*command(pools, tmp_path / "out"), "--stage", "embed")
    for file in (tmp_path / "out" / "store" / "image.lance" / "data").iterdir():
        file.write_bytes(b"nothing")
    ran = omnibind("store", "verify", tmp_path / "out")
    assert ran.code == 1
    assert "image: cannot be read" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--pool", "text=nowhere.txt"), "no such file or folder"),
        (("--pool", "points=."), "none of which reads points"),
        (("--link", "audio-text=toy"), "MODALITY-MODALITY=SPACE"),
        (("--stage", "embedd"), "Did you mean 'embed'"),
        (("--min-pairs", "1000"), "image-text: "),
    ],
)
def test_what_cannot_be_bound_ends_with_2(omnibind, pools, tmp_path, words, said):
    ran = omnibind(*command(pools, tmp_path / "out"), *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
