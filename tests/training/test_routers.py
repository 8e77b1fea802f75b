"""Routers: projectors stay frozen, texts go where they are known, a collapse is stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from omnibind.errors import TrainingError
from omnibind.training import project, route
from omnibind.training.curves import read_curves
from omnibind.training.descent import DescentSettings
from omnibind.training.joint import joint_tuples
from omnibind.training.routers import load_of
from omnibind.training.tuples import MISSING, RowsInMemory


@pytest.fixture
def out(recipe, rows, tuples, heads, tmp_path):
    project.run(tmp_path, recipe=recipe, rows=rows, tuples=tuples, settings=heads)
    return tmp_path


def test_a_run_leaves_routers_priors_and_untouched_projectors(
    out, recipe, rows, tuples, routers, world
):
    files = sorted((out / "project" / "projectors").iterdir())
    before = [file.read_bytes() for file in files]
    routed = route.run(out, recipe=recipe, rows=rows, tuples=tuples, settings=routers)
    assert [file.read_bytes() for file in files] == before
    bound = route.bound(out, recipe)
    assert set(bound.routers) == {"text", "image"}
    assert set(bound.priors) == {"text", "image", "audio"}
    assert sum(bound.priors["text"].values()) == pytest.approx(1)
    assert bound.facts["training"]["route"]["steps"] == 12
    assert 0 < routed.facts["load"]["text"]["entropy"] <= 1
    assert bound.binder()("text", world.paired(5)["text"]).degraded == ()


def test_priors_are_the_mean_weights_of_the_pool(out, recipe, rows, tuples, routers):
    route.run(out, recipe=recipe, rows=rows, tuples=tuples, settings=routers)
    bound = route.bound(out, recipe)
    every = torch.arange(rows.count("text"))
    own = {space: rows.take(space, "text", every) for space in rows.spaces("text")}
    mean = bound.binder()("text", own).weights.mean(0)
    assert list(bound.priors["text"].values()) == pytest.approx(mean.tolist(), abs=1e-5)


def test_steering_moves_texts_found_for_sounds_to_the_space_that_knows_sounds(
    out, recipe, rows, tuples, routers
):
    heard = tuples.only(tuples.seeded_by("audio"))
    texts = {s: rows.take(s, "text", heard.items["text"]) for s in rows.spaces("text")}
    weight = {}
    for steer in (0.0, 5.0):
        descent = DescentSettings(steps=40, rate=1e-2)
        settings = replace(routers, joint_items=0, steer=steer, descent=descent)
        route.run(out, recipe=recipe, rows=rows, tuples=heard, settings=settings)
        found = route.bound(out, recipe).binder()("text", texts)
        weight[steer] = found.weights[:, found.slots.index("sound")].mean().item()
    assert weight[5.0] > weight[0.0] + 0.1


def test_a_router_that_gives_all_to_one_slot_stops_with_step_and_slot(
    out, recipe, rows, tuples, routers
):
    sharp = replace(recipe, temperature={"text": 500.0})
    settings = replace(
        routers,
        steer=50.0,
        joint_items=0,
        collapse_entropy=0.3,
        collapse_share=0.4,
        descent=DescentSettings(steps=40, rate=3e-2, log_every=2),
    )
    with pytest.raises(TrainingError, match="router for 'text' that uses its slots, at step"):
        route.run(out, recipe=sharp, rows=rows, tuples=tuples, settings=settings)


def test_curves_show_each_loss_each_entropy_and_each_weight(out, recipe, rows, tuples, routers):
    route.run(out, recipe=recipe, rows=rows, tuples=tuples, settings=routers)
    points = read_curves(out / "route")
    assert [point["step"] for point in points] == [0, 4, 8, 11]
    assert {"loss/text-image", "loss/steer", "entropy/text", "weight/image/second"} <= set(
        points[0]
    )


def test_a_recipe_without_router_inputs_has_no_routers_and_equal_weights(
    out, recipe, rows, tuples, routers
):
    plain = replace(recipe, router_inputs={})
    route.run(out, recipe=plain, rows=rows, tuples=tuples, settings=routers)
    bound = route.bound(out, plain)
    assert bound.routers == {}
    assert bound.priors["image"] == pytest.approx({"back": 0.5, "second": 0.5})


def test_a_router_whose_input_has_no_rows_is_left_out_aloud(out, recipe, rows, tuples, routers):
    odd = replace(recipe, router_inputs={**recipe.router_inputs, "audio": ("second",)})
    with pytest.warns(UserWarning, match="no router for 'audio': no rows of second"):
        route.run(out, recipe=odd, rows=rows, tuples=tuples, settings=routers)


def test_one_modality_alone_has_nothing_to_align(out, recipe, world, tuples, routers):
    rows = RowsInMemory({"text": world._pool("text", 300, "pool:text")})
    one = replace(recipe, router_inputs={"text": ("back",)})
    with pytest.raises(TrainingError, match="at least two modalities"):
        route.run(out, recipe=one, rows=rows, tuples=tuples, settings=routers)


def test_joint_tuples_are_drawn_from_as_many_items_as_asked(out, recipe, rows, tuples):
    binder = route.bound_without_routers(out, recipe).binder()
    found = joint_tuples(binder, rows, tuples.pools, items=50, seed=0)
    assert len(found) == 150
    assert all((found.items[m] != MISSING).all() for m in found.modalities)
    assert len(found.items["text"].unique()) <= 50


def test_entropy_is_one_for_uniform_weights_and_zero_for_one_slot():
    even, single = torch.full((4, 2), 0.5), torch.eye(2)[[0, 1, 0, 1]]
    assert load_of(even, ("a", "b")).entropy == pytest.approx(1)
    found = load_of(single, ("a", "b"))
    assert (found.entropy, found.balance) == pytest.approx((0, 1))
    assert found.weights == {"a": 0.5, "b": 0.5}
