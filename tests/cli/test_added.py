"""`bind add` with other pools: they are used, and what the old heads have seen is not forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.seen import content_id, overlap, read_seen
from omnibind.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:no pool for the queries of head")
FAST = ("--min-pairs", "5", "--steps", "3", "--router-steps", "2", "--batch", "12")


@pytest.fixture
def tmp_path(shared_path) -> Path:
    """All tests begin from the same binding."""
    return shared_path


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def bound(omnibind, make_pools, out, once):
    """Binds pools of pictures and texts, with further options."""
    pools = make_pools(50, 70)

    def run(*words: object):
        return omnibind("bind", "toys", *pools, "--out", out, "--size", "tiny", *FAST, *words)

    once(run)
    return run


@pytest.fixture
def others(tmp_path) -> str:
    """Ninety pictures that nobody has seen yet."""
    folder = tmp_path / "others"
    folder.mkdir()
    for n in range(90):
        pixels = np.random.default_rng(1000 + n).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return f"image={folder}"


@pytest.fixture
def add(omnibind):
    def run(to: Path, *words: object):
        return omnibind("bind", "add", "toy-late", "--to", to, "--size", "tiny", *words)

    return run


def seen_of(checkpoint: Path, folder: Path) -> float:
    """The share of a folder's pictures that a checkpoint says it has seen."""
    ids = [content_id("image", path) for path in folder.iterdir()]
    return overlap(read_seen(checkpoint / "seen.safetensors"), "image", ids).share


def facts_of(checkpoint: Path) -> dict:
    return json.loads((checkpoint / "recipe.json").read_text())["facts"]


def test_a_pool_in_place_of_the_bindings_is_what_the_new_space_is_trained_on(
    bound, add, others, out, tmp_path
):
    ran = add(out, "--pool", others)
    assert ran.code == 0, ran.err
    assert "pairs are found anew" in ran.err
    facts = facts_of(out / "checkpoint")
    assert facts["pools"]["image"] == [str(tmp_path / "pictures")]
    (now,) = facts["added"]
    assert now["pools"]["image"] == [str(tmp_path / "others")]
    assert [seen_of(out / "checkpoint", tmp_path / one) for one in ("pictures", "others")] == [1, 1]
    assert Store(out / "store").count("image") == 140
    again = json.loads(bound("--json").out)
    assert all(stage["skipped"] for stage in again.values())


def test_a_checkpoint_that_came_alone_remembers_what_its_heads_have_seen(
    bound, add, others, out, tmp_path
):
    alone = tmp_path / "alone"
    (out / "checkpoint").rename(alone)
    texts = tmp_path / "more.txt"
    texts.write_text("".join(f"{n} dogs\n" for n in range(300)))
    lines = ["path,text,label", "pictures/0.png,,a", "pictures/1.png,,b", ",one,a", ",two,b"]
    (tmp_path / "bench.csv").write_text("\n".join(lines))
    pools = ("--pool", others, "--pool", f"text={texts}")
    ran = add(alone, *pools, "--evaluate", tmp_path / "bench.csv")
    assert ran.code == 0, ran.err
    assert "training has seen 2 of 2 image items" in ran.err
    assert [seen_of(alone, tmp_path / one) for one in ("pictures", "others")] == [1, 1]
    (found,) = facts_of(alone)["evaluation"].values()
    assert found["overlap"]["modalities"]["image"]["seen"] == 2


def test_pairs_of_a_pool_that_was_never_bound_are_not_used(bound, add, out, tmp_path, others):
    before = (out / "asked.json").read_text()
    words = ("--pool", others, "--stage", "embed", "--stage", "pair")
    assert bound(*words).code == 0
    assert (out / "asked.json").read_text() == before
    ran = add(out)
    assert ran.code == 0, ran.err
    assert "pairs are found anew" in ran.err
    assert [seen_of(out / "checkpoint", tmp_path / one) for one in ("pictures", "others")] == [1, 0]


def test_another_link_is_not_ignored(bound, add, out):
    ran = add(out, "--link", "image-text=toy-late")
    assert ran.code == 0, ran.err
    assert "image and text are paired by toy-late" in ran.err
    (now,) = facts_of(out / "checkpoint")["added"]
    assert now["links"]["image-text"] == {"space": "toy-late"}


def test_a_checkpoint_that_does_not_say_what_it_has_seen_does_not_begin_to(bound, add, out):
    checkpoint = out / "checkpoint"
    (checkpoint / "seen.safetensors").unlink()
    content = json.loads((checkpoint / "recipe.json").read_text())
    del content["sha256"]["seen.safetensors"]
    (checkpoint / "recipe.json").write_text(json.dumps(content))
    ran = add(out)
    assert (ran.code, "does not say what its training has seen" in ran.err) == (0, True), ran.err
    assert not (checkpoint / "seen.safetensors").exists()


def test_a_binding_that_was_moved_is_named_as_it_lies_now(bound, out, tmp_path):
    out.rename(tmp_path / "moved")
    done = json.loads(bound("--out", tmp_path / "moved", "--json").out)["checkpoint"]
    assert (done["skipped"], done["folder"]) == (True, str(tmp_path / "moved" / "checkpoint"))
