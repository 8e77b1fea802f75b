"""The stages embed and pair on toy pools: what is made, skipped, resumed, excluded, refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from omnibind.engine import Engine
from omnibind.errors import PoolError, RecipeError, StoreError, UnknownNameError
from omnibind.seen import content_id, overlap, read_seen
from omnibind.specs import SpaceSpec
from omnibind.store import Store, StoreRows, drop
from omnibind.testing import ToySpace, toy_recipe, toy_registry
from omnibind.training.plan import Plan, Settings, make_plan
from omnibind.training.progress import no_progress
from omnibind.training.stages import run_stages
from omnibind.training.tuples import RowSource, read_tuples

CLIP = ToySpace("clip", modalities=["image", "text"])
MORE = ToySpace("more", modalities=["image", "text"])


def write_pictures(folder: Path, numbers: range) -> Path:
    """Small pictures, each of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def pools(tmp_path: Path) -> tuple[str, str]:
    """Twenty pictures and thirty texts."""
    write_pictures(tmp_path / "pictures", range(20))
    texts = "".join(f"a picture of {n} cats\n" for n in range(30))
    (tmp_path / "texts.txt").write_text(texts)
    return f"image={tmp_path / 'pictures'}", f"text={tmp_path / 'texts.txt'}"


@pytest.fixture
def planned(tmp_path: Path, pools: tuple[str, str]) -> Callable[..., Plan]:
    """Plans over these pools, by default of one space that has both."""

    def plan(*spaces: SpaceSpec, engine: Engine | None = None, **asked: object) -> Plan:
        cards = spaces or (CLIP,)
        recipe = toy_recipe("toys", cards)
        return make_plan(
            recipe,
            toy_registry(*cards, recipe),
            pools=asked.pop("pools", pools),
            out=tmp_path / "out",
            engine=engine or Engine(size="tiny", workers=1),
            settings=Settings(batch_items=4, min_pairs=5, **asked.pop("numbers", {})),
            **asked,
        )

    return plan


def run(plan, *only: str, said: list[str] | None = None):
    """The stages before anything is learned, or some of them."""
    talk = (said if said is not None else []).append
    return run_stages(plan, no_progress, talk, only or ("embed", "pair"))


def pictures(plan) -> Path:
    return Path(plan.pools["image"][0].where)


def test_pools_become_rows_and_tuples(planned):
    plan = planned(CLIP, MORE)
    ran = run(plan)
    assert ran["embed"].facts["pools"]["text"]["distinct"] == 30
    tuples = read_tuples(plan.out / "pairs" / "tuples.parquet")
    assert (len(tuples), tuples.modalities) == (50, ("image", "text"))
    rows = StoreRows(Store(plan.out / "store"), plan.spaces.values())
    assert isinstance(rows, RowSource)
    assert rows.spaces("text") == ("clip", "more")
    first = rows.take("clip", "text", tuples.items["text"][:20])
    cosines = (rows.take("clip", "image", torch.arange(20)) * first).sum(1)
    assert torch.allclose(cosines, tuples.similarity["text"][:20], atol=1e-5)


def test_what_is_done_is_skipped_until_its_inputs_change(planned):
    plan = planned()
    assert [one.skipped for one in run(plan).values()] == [False, False]
    assert [one.skipped for one in run(plan).values()] == [True, True]
    again = run(replace(plan, settings=replace(plan.settings, min_pairs=6)))
    assert (again["embed"].skipped, again["pair"].skipped) == (True, False)
    write_pictures(pictures(plan), range(20, 22))
    more = run(plan)
    assert more["embed"].facts["pools"]["image"]["added"] == 2
    assert not more["pair"].skipped


def test_an_item_that_left_the_pool_is_in_no_tuple(planned):
    plan = planned()
    run(plan)
    (pictures(plan) / "000.png").unlink()
    run(plan)
    assert Store(plan.out / "store").count("image") == 20
    assert 0 not in read_tuples(plan.out / "pairs" / "tuples.parquet").items["image"]


def test_bad_items_are_listed_and_stop_nobody(planned):
    plan = planned()
    (pictures(plan) / "bad.png").write_bytes(b"no picture")
    with Path(plan.pools["text"][0].where).open("ab") as lines:
        lines.write(b"\xff\n")
    said: list[str] = []
    ran = run(plan, "embed", said=said)
    assert ran["embed"].facts["pools"]["image"]["failed"] == 1
    lines = (plan.out / "embed" / "errors.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(one["modality"], one["stage"]) for one in found] == [
        ("image", "decode"),
        ("text", "read"),
    ]
    assert any("1 image items failed" in line for line in said)


def test_a_list_of_errors_is_of_the_last_finished_run(planned, tmp_path):
    plan, errors = planned(), tmp_path / "out" / "embed" / "errors.jsonl"
    bad = pictures(plan) / "bad.png"
    bad.write_bytes(b"no picture")
    run(plan, "embed")
    before = errors.read_text()
    encoder = replace(CLIP.encoders["image"], revision="2")
    newer = replace(CLIP, encoders={**CLIP.encoders, "image": encoder})
    with pytest.raises(StoreError, match="made by revision 1"):
        run(planned(newer), "embed")
    assert errors.read_text() == before
    assert run(planned(), "embed")["embed"].skipped
    errors.unlink()
    assert not run(planned(), "embed")["embed"].skipped
    assert errors.read_text() == before
    bad.unlink()
    run(planned(), "embed")
    assert not errors.exists()
    errors.write_text(before)  # of a run that was stopped
    assert run(planned(), "embed")["embed"].skipped
    assert not errors.exists()


def test_errors_of_a_benchmark_go_when_it_is_excluded_no_more(planned, tmp_path):
    benchmark = write_pictures(tmp_path / "benchmark", range(3))
    (benchmark / "bad.png").write_bytes(b"no picture")
    run(planned(exclude=[f"image={benchmark}"]), "embed")
    assert (tmp_path / "out" / "embed" / "exclude-errors.jsonl").is_file()
    run(planned(), "embed")
    assert not list((tmp_path / "out" / "embed").glob("*errors.jsonl"))


def test_what_is_bound_is_no_item_of_the_pool_that_it_lies_in(planned, tmp_path, pools):
    for where in (tmp_path, f"{tmp_path}/**/*.png"):
        asked = {"pools": [f"image={where}", pools[1]]}
        run(planned(**asked), "embed")
        write_pictures(tmp_path / "out" / "evaluate", range(50, 52))
        ran = run(planned(**asked), "embed")["embed"]
        assert ran.skipped
        assert ran.facts["pools"]["image"]["listed"] == 20


def test_a_pool_is_no_folder_to_bind_into(planned, tmp_path, pools):
    write_pictures(tmp_path / "out", range(3))
    with pytest.raises(PoolError, match="is the pool itself"):
        planned(pools=[f"image={tmp_path / 'out'}", pools[1]])


def test_equal_content_is_kept_once_and_counted(planned):
    plan = planned()
    source = pictures(plan)
    for number in range(3):
        (source / f"copy-{number}.png").write_bytes((source / "005.png").read_bytes())
    found = run(plan, "embed")["embed"].facts["pools"]["image"]
    assert (found["listed"], found["distinct"], found["duplicates"]) == (23, 20, 3)


def test_a_space_that_is_added_fills_its_column_only(planned):
    run(planned(), "embed")
    encoded: list[str] = []

    class Counting(Engine):
        def encode(self, items, encoders, on_done=None):
            encoded.extend(spec.key for specs in encoders.values() for spec in specs if items)
            return super().encode(items, encoders, on_done)

    plan = planned(CLIP, MORE, engine=Counting(size="tiny", workers=1))
    run(plan)
    assert set(encoded) == {"more-image", "more-text"}
    assert Store(plan.out / "store").whole("text", ["clip-text", "more-text"]).all()
    assert Store(plan.out / "store").count("text") == 30


class Stopping(Engine):
    """Its process is stopped at the second batch that has items."""

    calls = 0

    def encode(self, items, encoders, on_done=None):
        self.calls += bool(items)
        if self.calls == 2:
            raise KeyboardInterrupt
        return super().encode(items, encoders, on_done)


def test_a_column_whose_filling_is_stopped_again_and_again_comes_to_be_whole(planned):
    plan = planned()
    run(plan, "embed")
    drop(plan.out, "clip-text")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(planned(engine=Stopping(size="tiny", workers=1)), "embed")
    encoded: list[int] = []

    class Counting(Engine):
        def encode(self, items, encoders, on_done=None):
            encoded.append(len(items))
            return super().encode(items, encoders, on_done)

    run(planned(engine=Counting(size="tiny", workers=1)), "embed")
    assert Store(plan.out / "store").whole("text", ["clip-text"]).all()
    assert sum(encoded) == 30 - 3 * 4  # what was kept is not made again


class Ill(torch.nn.Module):
    """An encoder that takes no item."""

    def __init__(self, size, assets):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def preprocess(self, media):
        raise ValueError("a word it has not learned")

    def forward(self, batch):
        raise NotImplementedError


def test_a_space_that_no_item_can_be_encoded_by_is_refused_by_name(planned, monkeypatch):
    run(planned(), "embed")
    monkeypatch.setitem(sys.modules, "ill", SimpleNamespace(Ill=Ill))
    encoder = replace(MORE.encoders["text"], build="ill:Ill")
    more = replace(MORE, encoders={**MORE.encoders, "text": encoder})
    with pytest.raises(PoolError) as refused:
        run(planned(CLIP, more), "embed")
    assert "text rows of the encoder 'more-text'" in refused.value.asked
    assert "none of 30 items" in refused.value.found[0]
    assert "a word it has not learned" in refused.value.found[1]
    assert len(refused.value.found) == 4
    assert run(planned(), "embed")["embed"].skipped


def test_rows_of_another_revision_are_refused(planned):
    run(planned(), "embed")
    encoder = replace(CLIP.encoders["text"], revision="2")
    newer = replace(CLIP, encoders={**CLIP.encoders, "text": encoder})
    with pytest.raises(StoreError, match="'clip-text' made by revision 1"):
        run(planned(newer), "embed")


def test_pairs_wait_for_rows(planned):
    with pytest.raises(PoolError, match="the stage `embed` is not done"):
        run(planned(), "pair")


def test_an_unknown_stage_is_named(planned):
    with pytest.raises(UnknownNameError, match="'embedd'"):
        run(planned(), "embedd")


def test_a_benchmarks_items_and_their_near_duplicates_are_left_out(planned, tmp_path):
    benchmark = write_pictures(tmp_path / "benchmark", range(3))
    (benchmark / "caption.txt").write_text("a picture of 4 cats")
    said: list[str] = []
    plan = planned(exclude=[str(benchmark)], numbers={"near_duplicate": 0.99999})
    facts = run(plan, said=said)["pair"].facts
    found = json.loads((plan.out / "pairs" / "exclusions.json").read_text())
    assert (found["image"]["benchmark"], len(found["image"]["by_content"])) == (3, 3)
    assert found["text"]["by_content"] == [content_id("text", "a picture of 4 cats")]
    assert facts["items"]["image"] == 17 - len(found["image"]["by_distance"])
    seen = read_seen(plan.out / "pairs" / "seen.safetensors")
    assert overlap(seen, "text", [content_id("text", f"a picture of {n} cats") for n in (4, 5)]
                   ).positions == (1,)  # fmt: skip
    assert any("3 items excluded by content" in line for line in said)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("pictures/000.png,,a\n,a picture of 4 cats,a\n", {"image": 1, "text": 1}),
        (",a picture of 4 cats,a\nsound.wav,,a\n", {"text": 1}),
    ],
    ids=["both", "a modality is missing"],
)
def test_a_benchmarks_own_table_is_excluded(planned, tmp_path, lines, expected):
    (tmp_path / "benchmark.csv").write_text("path,text,label\n" + lines)
    ran = run(planned(exclude=[str(tmp_path / "benchmark.csv")]))
    excluded = ran["embed"].facts["exclude"]
    assert {m: (one["listed"], one["failed"]) for m, one in excluded.items()} == {
        m: (count, 0) for m, count in expected.items()
    }
    found = json.loads((tmp_path / "out" / "pairs" / "exclusions.json").read_text())
    assert {m: len(one["by_content"]) for m, one in found.items()} == expected


def test_each_place_that_excludes_nothing_is_said(planned, tmp_path):
    (tmp_path / "good.txt").write_text("a picture of 4 cats")
    (tmp_path / "typo.csv").write_text("file,label\na.png,a\n")
    places = [str(tmp_path / name) for name in ("good.txt", "typo.csv")]
    with pytest.raises(PoolError, match=r"typo.csv[^`]*no image or text items there"):
        run(planned(exclude=places), "embed")


def test_a_low_cosine_leaves_near_duplicates_out_too(planned, tmp_path):
    benchmark = tmp_path / "captions.txt"
    benchmark.write_text("a picture of seven cats\n")
    plan = planned(exclude=[f"text={benchmark}"], numbers={"near_duplicate": 0.9})
    run(plan)
    found = json.loads((plan.out / "pairs" / "exclusions.json").read_text())["text"]
    assert found["by_content"] == []
    assert 0 < len(found["by_distance"]) < 25


def test_a_benchmark_of_a_modality_without_a_pool_is_said(planned):
    with pytest.raises(PoolError, match="pools of image, text"):
        planned(exclude=["audio=sounds/"])


def test_an_exclusion_of_nothing_is_said(planned, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PoolError, match="benchmark items to exclude"):
        run(planned(exclude=[str(tmp_path / "empty")]), "embed")


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "the text items of"), ("a cat\n", "image-text: 1"), ("a cat\n a cat\n" * 50, ": 1")],
)
def test_pools_that_teach_nothing_are_refused(planned, tmp_path, pools, content, said):
    (tmp_path / "few.txt").write_text(content)
    plan = planned(pools=[pools[0], f"text={tmp_path / 'few.txt'}"])
    with pytest.raises(PoolError, match=said):
        run(plan)


def test_a_pool_of_bad_items_only_is_refused(planned, tmp_path, pools):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_bytes(b"no picture")
    with pytest.raises(PoolError, match="none of which could be encoded"):
        run(planned(pools=[f"image={tmp_path / 'bad'}", pools[1]]), "embed")


def test_a_modality_that_no_space_reads_is_named(planned, tmp_path):
    with pytest.raises(PoolError, match="none of which reads audio"):
        planned(pools=[f"audio={tmp_path}", f"image={tmp_path}"])


def test_nothing_is_bound_without_its_backbone(planned):
    with pytest.raises(RecipeError, match="the backbone 'clip'"):
        planned(CLIP, MORE, without=["clip"])


def test_a_linking_space_outside_the_recipe_is_embedded_too(planned):
    other = ToySpace("other", modalities=["image", "text"])
    plan = planned(CLIP, MORE, other, links=["image-text=other"])
    assert plan.links.space("image", "text") == "other"
    assert "other-image" in plan.encoders("image")
