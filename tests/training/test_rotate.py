"""Spaces that are rotated into the backbone's coordinates instead of getting heads."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch.nn.functional import normalize

from omnibind.binder import Binder
from omnibind.checkpoint import (
    random_checkpoint,
    read_checkpoint,
    recipe_from_json,
    write_checkpoint,
)
from omnibind.errors import TrainingError
from omnibind.projectors import Linear
from omnibind.specs import Slot, SpaceSpec
from omnibind.training import project, route
from omnibind.training.add import add
from omnibind.training.rotate import rotations
from omnibind.training.tuples import RowsInMemory


def card(name: str, dim: int) -> SpaceSpec:
    return SpaceSpec(
        name=name, dim=dim, licence="MIT", commercial_use=True, revision="1", encoders={}
    )


@pytest.fixture
def turned(recipe):
    return replace(recipe, rotated=(("second", "sound"),))


def test_a_rotated_copy_of_the_backbone_is_turned_back(rows, tuples):
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(16, 16)).Q
    copies = {
        m: {"back": rows._rows[m]["back"], "copy": rows._rows[m]["back"] @ turn.T}
        for m in ("text", "image")
    }
    (made,) = rotations(["copy"], "back", RowsInMemory(copies), tuples, seed=0).values()
    torch.testing.assert_close(made.weight, turn.T, atol=1e-5, rtol=0)


def test_angles_within_a_space_stay_and_items_come_nearer_to_their_own_rows(rows, tuples):
    items = tuples.pools["image"]
    x, y = (rows.take(space, "image", items) for space in ("second", "back"))
    made = rotations(["second"], "back", rows, tuples, seed=0)["second"]
    with torch.no_grad():
        found = made({"second": x})["second"]
    torch.testing.assert_close(found @ found.T, x @ x.T, atol=1e-5, rtol=0)
    other = torch.linalg.qr(torch.randn(16, 12, generator=torch.Generator().manual_seed(1))).Q
    assert (found * y).sum(1).mean() > (normalize(x @ other.T, dim=-1) * y).sum(1).mean() + 0.3


def test_spaces_of_a_group_have_one_rotation(recipe, rows, tuples):
    made = rotations(["second", "sound"], recipe.backbone, rows, tuples, seed=0)
    assert torch.equal(made["second"].weight, made["sound"].weight)


def test_nothing_in_common_and_broken_rows_are_refused(rows, tuples):
    alone = RowsInMemory(
        {"text": {"back": rows._rows["text"]["back"]}, "audio": dict(rows._rows["audio"])}
    )
    with pytest.raises(TrainingError, match="no pool that both read"):
        rotations(["sound"], "back", alone, tuples, seed=0)
    spoilt = {m: dict(spaces) for m, spaces in rows._rows.items()}
    spoilt["text"]["second"] = torch.full_like(spoilt["text"]["second"], torch.nan)
    with pytest.raises(TrainingError, match="rows of text that are not finite"):
        rotations(["second"], "back", RowsInMemory(spoilt), tuples, seed=0)


def test_a_recipe_may_do_without_heads(turned, rows, tuples, heads, routers, tmp_path):
    found = project.run(tmp_path, recipe=turned, rows=rows, tuples=tuples, settings=heads)
    assert found.facts["spaces"] == []
    assert project.run(tmp_path, recipe=turned, rows=rows, tuples=tuples, settings=heads).skipped
    route.run(tmp_path, recipe=turned, rows=rows, tuples=tuples, settings=routers)
    bound = route.bound(tmp_path, turned)
    assert {type(one) for one in bound.projectors.values()} == {Linear}


def test_heads_and_rotations_go_together(recipe, rows, tuples, heads, tmp_path):
    mixed = replace(recipe, rotated=(("second",),))
    found = project.run(tmp_path, recipe=mixed, rows=rows, tuples=tuples, settings=heads)
    assert found.facts["spaces"] == ["sound"]
    assert isinstance(project.read_projectors(tmp_path)["second"], Linear)


def test_a_space_that_is_added_to_rotated_ones_is_rotated(
    recipe, rows, tuples, heads, routers, tmp_path
):
    slots = {"text": ("back", "sound"), "image": ("back",), "audio": ("sound",)}
    small = replace(
        recipe,
        slots={m: tuple(map(Slot.of, names)) for m, names in slots.items()},
        router_inputs={"text": ("back", "sound")},
        rotated=(("sound",),),
    )
    project.run(tmp_path, recipe=small, rows=rows, tuples=tuples, settings=heads)
    route.run(tmp_path, recipe=small, rows=rows, tuples=tuples, settings=routers)
    folder = tmp_path / "checkpoint"
    write_checkpoint(route.bound(tmp_path, small), folder, {})
    before = (folder / "projectors" / "sound.safetensors").read_bytes()
    add("second", to=folder, rows=rows, tuples=tuples, spaces={})
    after = read_checkpoint(folder)
    assert after.recipe.rotated == (("sound",), ("second",))
    assert isinstance(after.projectors["second"], Linear)
    assert (folder / "projectors" / "sound.safetensors").read_bytes() == before


def test_random_weights_have_rotations_too(turned):
    dims = {"back": 16, "second": 12, "sound": 12}
    made = random_checkpoint(turned, {name: card(name, dim) for name, dim in dims.items()})
    binder = Binder(turned, made.projectors, made.routers).eval()
    with torch.no_grad():
        rows = binder("audio", {"sound": torch.eye(12)}).rows
    torch.testing.assert_close(rows @ rows.T, torch.eye(12), atol=1e-5, rtol=0)
    assert recipe_from_json(json.loads(json.dumps(asdict(turned)))) == turned
