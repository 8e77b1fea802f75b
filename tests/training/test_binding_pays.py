"""On toy spaces with noise of their own: the bound space beats each of its members."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnibind.evaluation import any_to_any
from omnibind.specs import Recipe, Slot
from omnibind.testing.latents import ToyWorld
from omnibind.training import project, route
from omnibind.training.descent import DescentSettings
from omnibind.training.heads import HeadSettings
from omnibind.training.joint import joint_tuples
from omnibind.training.routers import RouterSettings
from omnibind.training.tuples import RowsInMemory

ITEMS = 200
LINKS = {"text-image": "back", "text-audio": "sound"}
WORLD = ToyWorld(
    spaces={
        "back": (16, ["text", "image"]),
        "second": (24, ["text", "image"]),
        "sound": (12, ["text", "audio"]),
    }
)
RECIPE = Recipe(
    name="toy",
    backbone="back",
    joint_dim=16,
    slots={
        "text": (Slot.of("back"), Slot.of("second"), Slot.of("sound")),
        "image": (Slot.of("back"), Slot.of("second")),
        "audio": (Slot.of("sound"),),
    },
    router_inputs={"text": ("back", "second", "sound"), "image": ("back", "second")},
    temperature={"text": 10.0},
    hidden=64,
    heads=("mix", "T", "AV"),
)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("bound")
    rows = WORLD.pools(400)
    tuples = WORLD.tuples(rows, LINKS)
    descent = DescentSettings(steps=200, rate=2e-3)
    heads = HeadSettings(batch=120, descent=descent)
    routers = RouterSettings(batch=120, descent=descent)
    project.run(out, recipe=RECIPE, rows=rows, tuples=tuples, settings=heads)
    route.run(out, recipe=RECIPE, rows=rows, tuples=tuples, settings=routers)
    return out


def _average_precision(rows_of):
    test = WORLD.paired(ITEMS)
    rows = {m: rows_of(m, spaces) for m, spaces in test.items()}
    rows = {m: one for m, one in rows.items() if one is not None}
    table = any_to_any(rows, dict.fromkeys(rows, range(ITEMS)), resamples=10)
    return {(a, b): found.mean_average_precision for a, b, found in table}


def _bound(checkpoint):
    binder = checkpoint.binder()
    with torch.no_grad():
        return _average_precision(lambda m, spaces: binder(m, spaces).rows)


def test_bound_rows_beat_the_best_member_in_every_direction_it_can_do(out):
    bound = _bound(route.bound(out, RECIPE))
    for space in WORLD.spaces:
        for pair, member in _average_precision(lambda m, spaces: spaces.get(space)).items():  # noqa: B023
            assert bound[pair].value > member.value + 0.1, (space, pair)


def test_a_pair_that_no_space_knows_is_found_far_above_chance(out):
    bound = _bound(route.bound(out, RECIPE))
    for pair in (("image", "audio"), ("audio", "image")):
        assert bound[pair].value > 10 * bound[pair].chance


def test_the_learned_router_beats_uniform_weights_on_the_mean(out):
    checkpoint = route.bound(out, RECIPE)
    learned, uniform = (
        _bound(one) for one in (checkpoint, replace(checkpoint, routers={}, priors={}))
    )
    gain = [learned[pair].value - uniform[pair].value for pair in learned]
    assert sum(gain) / len(gain) > 0.005


def test_joint_tuples_are_right_more_often_than_those_of_the_linking_space(out):
    paired = RowsInMemory(WORLD.paired(ITEMS))
    binder = route.bound_without_routers(out, RECIPE).binder()
    every = {m: torch.arange(ITEMS) for m in WORLD.modalities}
    joint = joint_tuples(binder, paired, every, items=10_000, seed=0)
    right = [
        (found.items["image"] == found.items["text"])[found.seeded_by("text")].float().mean()
        for found in (joint, WORLD.tuples(paired, LINKS))
    ]
    assert right[0] > right[1] + 0.1
