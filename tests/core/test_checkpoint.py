"""Bound checkpoints: what is written is read back, and damage is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from omnibind.checkpoint import BoundCheckpoint, read_checkpoint, write_checkpoint
from omnibind.errors import CheckpointError
from omnibind.projectors import HeadEnsemble, Linear
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot, SpaceSpec

RECIPE = Recipe(
    name="toy",
    backbone="back",
    joint_dim=8,
    slots={"text": (Slot.of("a"), Slot(name="mix", parts={"b": 0.1, "back": 0.9}, normalise=True))},
    router_inputs={"text": ("a", "b")},
    temperature={"text": 10.0},
)
CARD = SpaceSpec(
    name="a",
    dim=6,
    encoders={},
    licence="MIT",
    commercial_use=True,
    revision="1",
    training_data="none",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    linear = Linear("b", 4, 8)
    torch.nn.init.normal_(linear.weight)
    checkpoint = BoundCheckpoint(
        recipe=RECIPE,
        projectors={"a": HeadEnsemble(["a"], 6, 8, heads=7, hidden=5).eval(), "b": linear},
        routers={"text": Router(10, ["a", "mix"], temperature=10.0).eval()},
        priors={"text": {"a": 0.3, "mix": 0.7}},
        facts={"metrics": {"R@1": 0.5}},
    )
    write_checkpoint(checkpoint, tmp_path / "bound", {"a": CARD})
    return tmp_path / "bound"


def test_a_checkpoint_gives_the_same_rows_after_reading(folder: Path) -> None:
    rows = {
        "a": F.normalize(torch.randn(3, 6), dim=-1),
        "b": F.normalize(torch.randn(3, 4), dim=-1),
    }
    first, second = read_checkpoint(folder), read_checkpoint(folder)
    assert first.recipe == RECIPE
    assert first.priors == {"text": {"a": 0.3, "mix": 0.7}}
    assert first.facts == {"metrics": {"R@1": 0.5}}
    assert torch.equal(first.binder()("text", rows).rows, second.binder()("text", rows).rows)


def test_the_model_card_names_licences(folder: Path) -> None:
    assert "| a | MIT | yes | none |" in (folder / "README.md").read_text()


def test_the_backbone_is_among_the_spaces_and_their_licences(folder: Path) -> None:
    found = read_checkpoint(folder)
    back = replace(CARD, name="back", licence="CC-BY-NC-4.0", commercial_use=False)
    write_checkpoint(found, folder, {"a": CARD, "back": back})
    content = json.loads((folder / "recipe.json").read_text())
    assert content["spaces"]["back"]["licence"] == "CC-BY-NC-4.0"
    assert "| back (backbone) | CC-BY-NC-4.0 | no | none |" in (folder / "README.md").read_text()


def test_a_space_without_a_card_is_named_in_the_model_card(folder: Path) -> None:
    assert "| b | unknown" in (folder / "README.md").read_text()


def test_a_binder_of_some_spaces_is_degraded_by_the_others(folder: Path) -> None:
    bound = read_checkpoint(folder).binder(["b"])("text", {"b": F.normalize(torch.randn(3, 4))})
    assert bound.degraded == ("a", "back", "router:text")


def _no_recipe(folder: Path) -> None:
    (folder / "recipe.json").unlink()


def _exchanged_file(folder: Path) -> None:
    path = folder / "projectors" / "b.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def _missing_file(folder: Path) -> None:
    (folder / "projectors" / "b.safetensors").unlink()


def _not_json(folder: Path) -> None:
    (folder / "recipe.json").write_text("{")


def _later_format(folder: Path) -> None:
    content = json.loads((folder / "recipe.json").read_text())
    (folder / "recipe.json").write_text(json.dumps(content | {"format": 99}))


def _no_slots(folder: Path) -> None:
    content = json.loads((folder / "recipe.json").read_text())
    del content["recipe"]["slots"]
    (folder / "recipe.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage", [_no_recipe, _exchanged_file, _missing_file, _not_json, _later_format, _no_slots]
)
def test_damage_is_refused_with_the_folder_and_the_next_step(damage, folder: Path) -> None:
    damage(folder)
    with pytest.raises(CheckpointError, match="next:") as caught:
        read_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(tmp_path / "nothing")
