"""Adding a space: the old parts stay byte for byte, the new one is used, and its cost is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from omnibind.checkpoint import read_checkpoint, write_checkpoint
from omnibind.errors import CheckpointError, TrainingError
from omnibind.projectors import HeadEnsemble
from omnibind.specs import Slot, SpaceSpec
from omnibind.testing.latents import ToyWorld
from omnibind.training import project, route
from omnibind.training.add import add
from omnibind.training.grown import GrownRouter
from omnibind.training.routers import new_router
from omnibind.training.transfer import transferred
from omnibind.training.tuples import RowsInMemory


@pytest.fixture(scope="module")
def small(recipe):
    """The recipe without the space `second`."""
    slots = {"text": ("back", "sound"), "image": ("back",), "audio": ("sound",)}
    return replace(
        recipe,
        slots={m: tuple(map(Slot.of, names)) for m, names in slots.items()},
        router_inputs={"text": ("back", "sound"), "image": ("back",)},
    )


@pytest.fixture(scope="module")
def checkpoint(small, rows, tuples, heads, routers, tmp_path_factory):
    out = tmp_path_factory.mktemp("bound")
    run = {"recipe": small, "rows": rows, "tuples": tuples}
    project.run(out, settings=heads, **run)
    route.run(out, settings=routers, **run)
    write_checkpoint(route.bound(out, small), out / "checkpoint", {})
    return out / "checkpoint"


@pytest.fixture
def added(checkpoint, rows, tuples, tmp_path):
    out = tmp_path / "more"
    return add("second", to=checkpoint, out=out, rows=rows, tuples=tuples, spaces={})


def _bytes(folder):
    return {path.name: path.read_bytes() for path in (folder / "projectors").iterdir()}


def test_old_projector_files_stay_byte_for_byte(checkpoint, added):
    before, after = _bytes(checkpoint), _bytes(added.folder)
    assert set(after) == {*before, "second.safetensors"}
    assert {name: after[name] for name in before} == before


def test_old_router_rows_stay_and_the_new_one_is_last(checkpoint, added):
    before, after = read_checkpoint(checkpoint), read_checkpoint(added.folder)
    for modality, router in before.routers.items():
        grown = after.routers[modality].state_dict()
        assert after.routers[modality].slots == (*router.slots, "second")
        for key, value in router.state_dict().items():
            assert torch.equal(grown[key][: len(value)] if value.ndim else grown[key], value), key


def test_the_new_slot_takes_part_in_every_modality_it_reads(added, world):
    bound = read_checkpoint(added.folder)
    assert bound.priors["text"].keys() == {"back", "sound", "second"}
    assert sum(bound.priors["image"].values()) == pytest.approx(1)
    made = bound.binder()("image", world.paired(5)["image"])
    assert (made.slots, made.degraded) == (("back", "second"), ())
    assert (made.weights > 0.05).all()


def test_the_cost_is_recorded_beside_that_of_the_full_bind(checkpoint, added):
    (cost,) = json.loads((added.folder / "recipe.json").read_text())["facts"]["added"]
    full, timings = (read_checkpoint(one).timings for one in (checkpoint, added.folder))
    assert added.full_seconds == pytest.approx(full["project"] + full["route"])
    assert timings == {**full, "add second": added.seconds}
    assert added.seconds > 0
    assert cost["heads"]["descent"]["steps"] == 1  # SHARE of 12 steps of one space is less than one
    assert cost["routers"]["descent"]["steps"] == 1


def test_in_place_the_folder_is_exchanged_and_nothing_is_left_beside_it(
    checkpoint, rows, tuples, tmp_path
):
    place = tmp_path / "bound"
    write_checkpoint(read_checkpoint(checkpoint), place, {})
    add("second", to=place, rows=rows, tuples=tuples, spaces={})
    assert "second" in read_checkpoint(place).projectors
    assert [path.name for path in tmp_path.iterdir()] == ["bound"]


def test_what_was_known_of_a_space_that_is_no_longer_installed_stays(
    checkpoint, rows, tuples, tmp_path
):
    def card(name: str, licence: str) -> SpaceSpec:
        facts = {"licence": licence, "commercial_use": False, "revision": "1"}
        return SpaceSpec(name=name, dim=12, encoders={}, training_data="much", **facts)

    place, old = tmp_path / "bound", card("sound", "CC-BY-NC-4.0")
    write_checkpoint(read_checkpoint(checkpoint), place, {"sound": old})
    new = {"second": card("second", "CC0-1.0")}
    add("second", to=place, rows=rows, tuples=tuples, spaces=new)
    known = json.loads((place / "recipe.json").read_text())["spaces"]
    assert {name: one["licence"] for name, one in known.items()} == {
        "sound": "CC-BY-NC-4.0",
        "second": "CC0-1.0",
    }
    assert "| sound | CC-BY-NC-4.0 | no | much |" in (place / "README.md").read_text()


def test_an_exchange_that_was_cut_short_is_taken_back(checkpoint, rows, tuples, tmp_path):
    place = tmp_path / "bound"
    write_checkpoint(read_checkpoint(checkpoint), tmp_path / "bound.before", {})
    add("second", to=place, rows=rows, tuples=tuples, spaces={})
    assert "second" in read_checkpoint(place).projectors


def test_a_space_of_a_new_modality_brings_its_own_slot(checkpoint, world, tmp_path):
    wider = ToyWorld(spaces={**world.spaces, "shape": (10, ["text", "points"])})
    rows = wider.pools(300)
    links = {"text-image": "back", "text-audio": "sound", "text-points": "shape"}
    tuples = wider.tuples(rows, links)
    done = add("shape", to=checkpoint, out=tmp_path / "x", rows=rows, tuples=tuples, spaces={})
    made = read_checkpoint(done.folder).binder()("points", wider.paired(4)["points"])
    assert made.slots == ("shape",)


def test_a_space_that_is_there_already_is_refused(checkpoint, rows, tuples):
    with pytest.raises(TrainingError, match="it is there already"):
        add("sound", to=checkpoint, rows=rows, tuples=tuples, spaces={})


def test_a_space_without_rows_is_refused(checkpoint, rows, tuples):
    with pytest.raises(TrainingError, match="embed it first"):
        add("other", to=checkpoint, rows=rows, tuples=tuples, spaces={})


def test_a_folder_that_is_no_checkpoint_is_refused(rows, tuples, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        add("second", to=tmp_path / "gone", rows=rows, tuples=tuples, spaces={})


def test_a_new_slot_begins_with_the_mean_of_the_others(small):
    router = new_router("text", small, 12, seed=0)
    with torch.no_grad():
        weights = GrownRouter(router, "new")(torch.randn(50, 12))
    assert torch.allclose(weights.sum(1), torch.ones(50))
    assert float(weights[:, 2].mean()) == pytest.approx(1 / 3, abs=0.05)


def test_heads_begin_as_those_of_an_old_space_seen_through_a_linear_map(checkpoint, rows, tuples):
    old = read_checkpoint(checkpoint).projectors
    name, heads = transferred("second", old, rows, tuples, seed=0)
    assert (name, heads.spaces, heads.training) == ("sound", ("second",), True)
    texts = torch.arange(300)
    ours, theirs = (rows.take(space, "text", texts) for space in ("second", "sound"))
    made, wanted = (
        heads.eval()({"second": ours})["second"],
        old["sound"]({"sound": theirs})["sound"],
    )
    alike = torch.cosine_similarity(made - made.mean(0), wanted - wanted.mean(0)).mean()
    assert alike > 0.3


def test_without_shared_items_heads_begin_at_random(checkpoint, world, rows, tuples):
    alone = {"image": world._pool("image", 300, "pool:image")}
    old = {"sound": read_checkpoint(checkpoint).projectors["sound"]}
    assert transferred("second", old, RowsInMemory(alone), tuples, seed=0) is None


def test_fewer_steps_are_larger_ones(checkpoint, added):
    (cost,) = json.loads((added.folder / "recipe.json").read_text())["facts"]["added"]
    before = read_checkpoint(checkpoint).facts["training"]["project"]["settings"]["descent"]
    assert cost["heads"]["descent"]["rate"] == pytest.approx(4 * before["rate"])
    assert cost["begun_from"] == "sound"


@pytest.fixture
def edited(checkpoint, tmp_path):
    """The checkpoint with other facts or priors."""

    def write(**changed):
        write_checkpoint(replace(read_checkpoint(checkpoint), **changed), tmp_path / "edited", {})
        return tmp_path / "edited"

    return write


def test_a_batch_that_cannot_be_shared_out_among_the_new_modalities_is_cut(
    edited, checkpoint, world
):
    facts = json.loads(json.dumps(read_checkpoint(checkpoint).facts))
    facts["training"]["project"]["settings"]["batch"] = 50
    wider = ToyWorld(spaces={**world.spaces, "three": (10, ["text", "image", "audio"])})
    rows = wider.pools(300)
    tuples = wider.tuples(rows, {"text-image": "back", "text-audio": "sound"})
    to = edited(facts=facts)
    add("three", to=to, rows=rows, tuples=tuples, spaces={})
    (cost,) = read_checkpoint(to).facts["added"]
    assert (cost["heads"]["batch"], cost["routers"]["batch"]) == (48, 48)


def test_priors_of_slots_whose_rows_are_not_here_are_kept(edited, rows, tuples):
    here = {
        m: {
            space: rows.take(space, m, torch.arange(rows.count(m)))
            for space in rows.spaces(m)
            if (space, m) != ("sound", "text")
        }
        for m in rows.modalities()
    }
    to = edited(priors={"text": {"back": 0.8, "sound": 0.2}})
    with pytest.warns(UserWarning, match="no rows of sound: the new row of the router for 'text'"):
        add("second", to=to, rows=RowsInMemory(here), tuples=tuples, spaces={})
    priors = read_checkpoint(to).priors
    assert priors["text"] == pytest.approx({"back": 0.8 / 1.5, "sound": 0.2 / 1.5, "second": 1 / 3})
    assert priors["image"].keys() == {"back", "second"}


def test_a_router_whose_inputs_are_not_here_keeps_its_new_row_as_it_begins(edited, rows, tuples):
    here = {
        m: {s: rows.take(s, m, torch.arange(300)) for s in ("back",)} for m in ("text", "image")
    }
    here["text"]["late"] = rows.take("second", "text", torch.arange(300))
    pairs = replace(
        tuples, modalities=("text", "image"), items=dict(list(tuples.items.items())[:2])
    )
    pairs = pairs.only(pairs.query < 2)
    to = edited()
    with pytest.warns(UserWarning, match="no rows of sound"):
        add("late", to=to, rows=RowsInMemory(here), tuples=pairs, spaces={})
    router = read_checkpoint(to).routers["text"]
    assert router.slots == ("back", "sound", "late")
    last = router.net[-1].weight
    assert torch.equal(last[2], last[:2].mean(0))


def test_a_space_that_reads_nothing_with_the_backbone_gets_heads_beside_rotations(
    small, world, heads, routers, tmp_path
):
    wider = ToyWorld(spaces={**world.spaces, "ear": (10, ["audio"])})
    rows = wider.pools(300)
    tuples = wider.tuples(rows, {"text-image": "back", "text-audio": "sound"})
    run = {"recipe": replace(small, rotated=(("sound",),)), "rows": rows, "tuples": tuples}
    project.run(tmp_path, settings=heads, **run)
    route.run(tmp_path, settings=routers, **run)
    write_checkpoint(route.bound(tmp_path, run["recipe"]), tmp_path / "checkpoint", {})
    add("ear", to=tmp_path / "checkpoint", rows=rows, tuples=tuples, spaces={})
    after = read_checkpoint(tmp_path / "checkpoint")
    assert after.recipe.rotated == (("sound",),)
    assert isinstance(after.projectors["ear"], HeadEnsemble)
