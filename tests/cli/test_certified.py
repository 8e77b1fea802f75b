"""A stage that runs alone uses what earlier ones made only if it was made of what is asked for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")
ALONE = ("--stage", "evaluate", "--stage", "checkpoint")

NARROW = """
from dataclasses import replace
from omnibind.plugins import hookimpl
import toybind

@hookimpl
def provide_recipes():
    (toys,) = toybind.provide_recipes()
    return [replace(toys, name="narrow", hidden=16)]
"""


@pytest.fixture
def tmp_path(shared_path) -> Path:
    """All tests begin from the same binding."""
    return shared_path


@pytest.fixture
def pools(make_pools) -> tuple[str, ...]:
    """Some pictures and texts."""
    return make_pools(50, 60)


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def bind(omnibind, pools, out, once):
    def run(*words: object):
        return omnibind("bind", "toys", *pools, "--out", out, "--size", "tiny", *FAST, *words)

    once(run)
    return run


@pytest.fixture
def benchmark(tmp_path) -> Path:
    """Ten pictures of the pool, with captions."""
    lines = ["path,text,label", *(f"pictures/{n}.png,,a{n}" for n in range(10))]
    lines += [f",{n} dogs,a{n}" for n in range(10)]
    (tmp_path / "bench.csv").write_text("\n".join(lines))
    return tmp_path / "bench.csv"


def content(folder: Path) -> dict[str, bytes]:
    """Files of a checkpoint; how long things took is left out."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "timings.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def states(ran) -> dict[str, bool]:
    """Stage -> whether it was as before."""
    assert ran.code == 0, ran.err
    return {name: one["skipped"] for name, one in json.loads(ran.out).items()}


def test_heads_that_saw_a_benchmark_are_not_certified_without_it(bind, out, benchmark):
    before, asked = content(out / "checkpoint"), ("--exclude", f"image={benchmark}")
    assert bind(*asked, "--stage", "embed", "--stage", "pair").code == 0
    ran = bind(*asked, "--evaluate", benchmark, *ALONE)
    assert (ran.code, "--stage project" in ran.err) == (2, True), ran.err
    assert "next:" in ran.err
    assert content(out / "checkpoint") == before
    assert bind(*asked, "--evaluate", benchmark).code == 0
    facts = json.loads((out / "checkpoint" / "recipe.json").read_text())["facts"]
    assert facts["excluded"]["image"]["benchmark"] == 10
    assert facts["evaluation"][str(benchmark)]["overlap"]["modalities"]["image"]["seen"] == 0


def test_pools_that_were_refused_do_not_get_into_the_checkpoint(bind, out, tmp_path):
    before, asked = content(out / "checkpoint"), (out / "asked.json").read_text()
    (tmp_path / "few.txt").write_text("a cat\n")
    (tmp_path / "texts.txt").unlink()
    (tmp_path / "few.txt").rename(tmp_path / "texts.txt")
    refused = bind()
    assert (refused.code, "distinct pairs" in refused.err) == (2, True)
    ran = bind("--stage", "checkpoint")
    assert (ran.code, "--stage pair" in ran.err) == (2, True), ran.err
    assert content(out / "checkpoint") == before
    assert (out / "asked.json").read_text() == asked


@pytest.mark.parametrize("words", [("--seed", "5"), ("--steps", "4"), ("--router-steps", "3")])
def test_a_checkpoint_of_other_options_is_not_as_before(bind, words):
    ran = bind(*words, "--stage", "checkpoint")
    stage = "route" if words[0] == "--router-steps" else "project"
    assert (ran.code, f"--stage {stage}" in ran.err) == (2, True), ran.err
    assert "other pools, options or recipe" in ran.err


def test_another_recipe_is_refused_in_words(bind, omnibind, pools, site, monkeypatch, out):
    site.install("narrow", NARROW)
    monkeypatch.setenv("OMNIBIND_PLUGINS", "toybind,narrow")
    words = ("--out", out, "--size", "tiny", *FAST, "--stage", "checkpoint")
    ran = omnibind("bind", "narrow", *pools, *words)
    assert (ran.code, "--stage project" in ran.err) == (2, True), ran.err


def test_rows_of_a_benchmark_that_were_dropped_are_made_again(bind, omnibind, out, benchmark):
    asked = ("--exclude", f"image={benchmark}")
    assert bind(*asked).code == 0
    assert omnibind("store", "drop", out / "exclude", "toy-image").code == 0
    assert states(bind(*asked, "--json"))["embed"] is False
    assert all(states(bind(*asked, "--json")).values())


def test_a_file_with_a_new_date_and_old_content_changes_nothing_that_was_learned(bind, tmp_path):
    os.utime(tmp_path / "pictures" / "0.png", (1, 1))
    again = states(bind("--json"))
    assert [name for name, as_before in again.items() if not as_before] == ["embed"]


def test_equal_pairs_by_another_bound_are_learned_from_once(bind):
    again = states(bind("--min-pairs", "6", "--json"))
    assert [name for name, as_before in again.items() if not as_before] == ["pair"]


def test_a_command_that_was_refused_changes_nothing_that_was_done(bind, out):
    other = bind("--weights", "random", "--size", "full")
    assert (other.code, "store drop" in other.err) == (2, True), other.err
    assert bind("--min-pairs", "1000").code == 2
    assert all(states(bind("--json")).values())


@pytest.mark.parametrize(
    ("gone", "stage"),
    [
        ("embed/store.safetensors", "embed"),
        ("pairs/tuples.parquet", "pair"),
        ("pairs/seen.safetensors", "pair"),
        ("pairs/report.json", "pair"),
        ("project/projectors/toy-nc.safetensors", "project"),
        ("route/routers.safetensors", "route"),
        ("checkpoint/projectors/toy-nc.safetensors", "checkpoint"),
        ("checkpoint/README.md", "checkpoint"),
    ],
)
@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_what_was_deleted_or_damaged_is_made_again(bind, out, gone, stage, how):
    before, path = content(out / "checkpoint"), out / gone
    if how == "gone":
        path.unlink()
    elif path.suffix != ".md":
        content_before = path.read_bytes()
        path.write_bytes(content_before[:-1] + bytes([content_before[-1] ^ 1]))
    ran = bind("--json")
    again = states(ran)
    made = [name for name, as_before in again.items() if not as_before]
    assert made == ([stage] if how == "gone" or path.suffix != ".md" else [])
    assert content(out / "checkpoint") == before


def test_a_file_of_the_store_that_cannot_be_read_is_said(bind, out):
    for file in (out / "store" / "image.lance" / "data").iterdir():
        file.write_bytes(b"nothing")
    ran = bind()
    assert (ran.code, "store verify" in ran.err) == (2, True), ran.err


def test_figures_that_were_deleted_are_measured_again(bind, out, benchmark):
    assert bind("--evaluate", benchmark).code == 0
    next((out / "evaluate").rglob("evaluation.json")).unlink()
    assert states(bind("--evaluate", benchmark, "--json")) == {
        **dict.fromkeys(("embed", "pair", "project", "route", "checkpoint"), True),
        "evaluate": False,
    }


def test_a_folder_that_former_versions_made_is_done_again_to_the_same_bytes(bind, out):
    before = content(out / "checkpoint")
    for record in [*out.glob("*/done.json"), out / "checkpoint.json"]:
        facts = json.loads(record.read_text())
        del facts["outputs"]
        facts["facts"]["made"] = 1
        record.write_text(json.dumps(facts))
    ran = bind()
    assert (ran.code, re.search("embed +done", ran.out) is not None) == (0, True), ran.err
    assert content(out / "checkpoint") == before
