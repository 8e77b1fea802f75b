"""`bind` and `store`: pools become rows and pairs; killed, it goes on; refused, it says why."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omnibind.store import Store
from omnibind.training.tuples import read_tuples

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
COUNT, PICTURES = 80, 40
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")


@pytest.fixture
def pools(make_pools) -> tuple[str, ...]:
    """Some pictures and texts."""
    return make_pools(PICTURES, COUNT)


def command(pools: tuple[str, ...], out: Path) -> tuple[str, ...]:
    return ("bind", "toys", *pools, "--out", str(out), "--size", "tiny", *FAST)


@pytest.fixture
def tmp_path(shared_path) -> Path:
    """All tests that begin from a binding begin from the same."""
    return shared_path


@pytest.fixture
def bound(omnibind, pools, tmp_path, once) -> Path:
    """The folder of these pools' binding."""
    once(lambda: omnibind(*command(pools, tmp_path / "out")))
    return tmp_path / "out"


def test_pools_are_bound_stage_by_stage(omnibind, pools, tmp_path):
    ran = omnibind(*command(pools, tmp_path / "out"), "--stage", "embed", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["embed"]["pools"]["text"]["distinct"] == COUNT
    ran = omnibind(*command(pools, tmp_path / "out"))
    assert ran.code == 0, ran.err
    assert re.search(r"embed +as before", ran.out)
    assert re.search(r"route +done +nothing to train", ran.out)
    assert "image and text are paired by toy" in ran.err
    assert len(read_tuples(tmp_path / "out" / "pairs" / "tuples.parquet")) == COUNT + PICTURES


def test_what_is_bound_can_be_loaded_and_is_not_made_again(omnibind, pools, bound):
    checkpoint = bound / "checkpoint"
    facts = json.loads((checkpoint / "recipe.json").read_text())["facts"]
    assert facts["training"]["project"]["steps"] == 3
    assert set(facts["pools"]) == {"image", "text"}
    words = ("--recipe", checkpoint, "--size", "tiny")
    shown = omnibind("compare", "a cat", "--with", "a dog", *words)
    assert shown.code == 0, shown.err
    again = omnibind(*command(pools, bound), "--json")
    assert all(stage["skipped"] for stage in json.loads(again.out).values())
    more = omnibind(*command(pools, bound), "--steps", "4", "--json")
    made = {name for name, stage in json.loads(more.out).items() if not stage["skipped"]}
    assert made == {"project", "route", "checkpoint"}


@pytest.fixture
def benchmark(tmp_path) -> Path:
    """Two pictures of the pool, and captions for them; one of the captions is in the pool too."""
    lines = ["path,text,label", "pictures/0.png,,a", "pictures/1.png,,b", ",1 cats,a", ",new,b"]
    (tmp_path / "benchmark.csv").write_text("\n".join(lines))
    return tmp_path / "benchmark.csv"


def test_figures_of_a_benchmark_go_into_the_checkpoint(omnibind, pools, benchmark, tmp_path):
    words = (*command(pools, tmp_path / "out"), "--evaluate", benchmark, "--prompt", "{}")
    ran = omnibind(*words)
    assert ran.code == 0, ran.err
    assert "training has seen 2 of 2 image items" in ran.err
    assert (tmp_path / "out" / "evaluate" / "benchmark" / "evaluation.md").is_file()
    content = json.loads((tmp_path / "out" / "checkpoint" / "recipe.json").read_text())
    found = content["facts"]["evaluation"][str(benchmark)]
    assert found["overlap"]["modalities"]["text"] == {"items": 2, "seen": 1, "unknown": 0}
    assert {one["from"] for one in found["directions"]} == {"text", "image"}
    assert "R@10" in (tmp_path / "out" / "checkpoint" / "README.md").read_text()
    again = json.loads(omnibind(*words, "--json").out)
    assert all(stage["skipped"] for stage in again.values())
    benchmark.write_text(benchmark.read_text().replace("new", "newer"))
    changed = json.loads(omnibind(*words, "--json").out)
    assert [changed[name]["skipped"] for name in ("route", "evaluate")] == [True, False]


def test_without_a_benchmark_nothing_is_measured_and_it_says_so(omnibind, pools, tmp_path):
    ran = omnibind(*command(pools, tmp_path / "out"))
    assert re.search(r"evaluate +not asked +not measured", ran.out)
    assert "not measured" in (tmp_path / "out" / "checkpoint" / "README.md").read_text()


def test_an_evaluation_says_what_the_checkpoint_has_seen(omnibind, bound, benchmark):
    words = ("--recipe", bound / "checkpoint", "--size", "tiny")
    ran = omnibind("evaluate", benchmark, *words, "--resamples", "20", "--json")
    assert "warning: training has seen 2 of 2 image items" in ran.err
    assert json.loads(ran.out)["overlap"]["names"]["text"] == ["1 cats"]


def test_a_space_is_added_and_what_it_changed_is_printed(omnibind, pools, benchmark, bound):
    out = bound
    before = (out / "store" / "text.lance").stat().st_mtime_ns
    added = omnibind(
        "bind", "add", "toy-late", "--to", out, "--size", "tiny", "--evaluate", benchmark
    )
    assert added.code == 0, added.err
    assert "tuples of" in added.err
    assert re.search(r"toy-late is in .*checkpoint: .* of the full bind's", added.err)
    assert re.search(r"benchmark.csv +text -> image +[01]\.\d+ +[01]\.\d+", added.out)
    assert (out / "checkpoint" / "projectors" / "toy-late.safetensors").is_file()
    assert (out / "checkpoint" / "seen.safetensors").is_file()
    assert before <= (out / "store" / "text.lance").stat().st_mtime_ns
    again = json.loads(omnibind(*command(pools, out), "--json").out)
    assert all(stage["skipped"] for stage in again.values())
    twice = omnibind("bind", "add", "toy-late", "--to", out / "checkpoint", "--size", "tiny")
    assert (twice.code, "it is there already" in twice.err) == (2, True)


@pytest.mark.parametrize("command_of", ["bind", "add"])
def test_a_benchmark_that_says_nothing_is_refused_first(
    omnibind, pools, benchmark, tmp_path, command_of
):
    out = tmp_path / "out"
    words = command(pools, out)
    if command_of == "add":
        assert omnibind(*words).code == 0
        words = ("bind", "add", "toy-late", "--to", out, "--size", "tiny")
    benchmark.write_text("path,text,label\npictures/0.png,,a\npictures/1.png,,b\n")
    ran = omnibind(*words, "--evaluate", benchmark)
    assert (ran.code, "found:  image items alone" in ran.err) == (2, True), ran.err
    assert (out / "store").exists() == (command_of == "add")
    assert not (out / "added").exists()


def test_a_benchmark_that_cannot_be_measured_loses_no_finished_bind(
    omnibind, pools, benchmark, tmp_path
):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    benchmark.write_text("path,text,label\nbad.png,,a\n,1 cats,a\n")
    words = (*command(pools, tmp_path / "out"), "--evaluate", benchmark)
    ran = omnibind(*words)
    assert (ran.code, "benchmark.csv is not measured" in ran.err) == (1, True), ran.err
    content = json.loads((tmp_path / "out" / "checkpoint" / "recipe.json").read_text())
    assert "text items alone" in content["facts"]["evaluation"][str(benchmark)]["not_measured"]
    (tmp_path / "bad.png").write_bytes((tmp_path / "pictures" / "0.png").read_bytes())
    assert omnibind(*words).code == 0


def test_benchmarks_with_directions_in_common_are_measured_by_bind_and_add(
    omnibind, pools, benchmark, tmp_path
):
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8000)
    benchmark.write_text(benchmark.read_text() + "\na.wav,,hum\n,a hum,hum\n")
    out = tmp_path / "out"
    ran = omnibind(*command(pools, out), "--evaluate", benchmark)
    assert (ran.code, "left out, since no items" in ran.err) == (0, True), ran.err
    ran = omnibind(
        "bind", "add", "toy-late", "--to", out, "--size", "tiny", "--evaluate", benchmark
    )
    assert ran.code == 0, ran.err
    assert re.search(r"text -> audio", ran.out)
    assert not re.search(r"image -> audio", ran.out)


def test_strict_stops_after_embed_where_an_item_failed_and_keeps_the_rows(
    omnibind, pools, tmp_path
):
    out = tmp_path / "out"
    (tmp_path / "pictures" / "bad.png").write_bytes(b"no picture")
    for _ in range(2):  # the second finds the stage done
        ran = omnibind("--strict", *command(pools, out))
        assert (ran.code, "a row for every item" in ran.err) == (1, True), ran.err
        assert "bad.png, decode: " in ran.err
        assert not (out / "pairs").exists()
    assert Store(out / "store").count("image") == PICTURES
    assert omnibind(*command(pools, out)).code == 0
    added = omnibind("--strict", "bind", "add", "toy-late", "--to", out, "--size", "tiny")
    assert (added.code, "bad.png" in added.err) == (1, True), added.err
    (tmp_path / "pictures" / "bad.png").unlink()
    assert omnibind("--strict", *command(pools, out)).code == 0


def test_a_checkpoint_that_came_alone_needs_pools(omnibind, pools, bound, tmp_path):
    alone = tmp_path / "alone"
    (bound / "checkpoint").rename(alone)
    words = ("bind", "add", "toy-late", "--to", alone, "--size", "tiny")
    ran = omnibind(*words)
    assert (ran.code, "no --pool" in ran.err) == (2, True)
    ran = omnibind(*words, *pools)
    assert (ran.code, (alone / "projectors" / "toy-late.safetensors").is_file()) == (2, False)
    assert "at least 64 distinct pairs" in ran.err


def test_help_of_bind_and_of_add(omnibind):
    assert "bind add SPACE --to DIR" in omnibind("bind", "--help").out
    assert "--to" in omnibind("bind", "add", "--help").out


def test_a_stage_says_which_one_has_to_run_first(omnibind, pools, tmp_path):
    stages = ("embed", "pair", "project", "route", "checkpoint")
    for first, then in itertools.pairwise(stages):
        ran = omnibind(*command(pools, tmp_path / "out"), "--stage", "checkpoint")
        assert (ran.code, f"--stage {first}\n" in ran.err) == (2, True), ran.err
        assert omnibind(*command(pools, tmp_path / "out"), "--stage", first).code == 0, then
    assert omnibind(*command(pools, tmp_path / "out"), "--stage", "checkpoint").code == 0


def test_after_kill_9_the_same_command_ends_with_the_same_pairs(omnibind, make_pools, tmp_path):
    pools, count = make_pools(PICTURES, 150), 150
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
    assert 0 < kept < count
    ran = omnibind(*words)
    assert f"{count - kept} new rows" in ran.err
    assert omnibind(*command(pools, whole)).code == 0
    one, other = (read_tuples(out / "pairs" / "tuples.parquet") for out in (whole, killed))
    assert (one.items["text"] == other.items["text"]).all()


def test_a_store_is_looked_into_and_verified(omnibind, pools, tmp_path):
    omnibind(*command(pools, tmp_path / "out"), "--stage", "embed")
    told = json.loads(omnibind("store", "info", tmp_path / "out", "--json").out)
    assert told["modalities"]["image"]["items"] == PICTURES
    assert "toy-text" in omnibind("store", "info", tmp_path / "out" / "store").out
    assert omnibind("store", "verify", tmp_path / "out").code == 0


def test_rows_that_were_dropped_are_made_again(omnibind, pools, bound):
    assert omnibind("store", "drop", bound, "toy-text").code == 0
    assert omnibind("store", "drop", bound, "toy-text").code == 2
    ran = omnibind(*command(pools, bound))
    assert ran.code == 0, ran.err
    assert re.search(r"embed +done", ran.out)
    assert Store(bound / "store").whole("text", ["toy-text"]).all()


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
        (("--batch", "2"), "batches of 2 rows shared out among image, text"),
        (("--batch", "101"), "1 rows left over"),
        (("--rate", "-1"), "a learning rate of -1"),
        (("--rate", "0"), "a learning rate of 0"),
        (("--rate", "nan"), "a learning rate of nan"),
        (("--router-temperature", "0"), "a contrast at temperature 0"),
        (("--router-temperature", "-1"), "a contrast at temperature -1"),
        (("--near-duplicate", "nan"), "near-duplicates from the cosine nan"),
        (("--seed", "99999999999999999999"), "draws by the seed 99999999999999999999"),
        (("--prompt", "a photo"), "no {} in it"),
    ],
)
def test_what_cannot_be_bound_ends_with_2(omnibind, pools, tmp_path, words, said):
    ran = omnibind(*command(pools, tmp_path / "out"), *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert (tmp_path / "out" / "store").exists() == ("--min-pairs" in words)
