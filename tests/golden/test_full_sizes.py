"""Every installed encoder at full size, laid out without memory; and the published facts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omnibind.bench.build import LIMIT, Layout, measure
from omnibind.cli.recipe_facts import add_up
from omnibind.plugins import registry

FACTS = Path(__file__).parents[3] / "shared" / "golden" / "space_facts.json"
NAMES = {
    "eva02-e14p": "eva02-e14-plus",
    "dfn-h14": "dfn5b-h14",
    "uni3d-g-lvis": "uni3d-lvis",
    "uni3d-g-mnet": "uni3d-modelnet40",
    "uni3d-g-scan": "uni3d-scanobjectnn",
    "imagebind-huge": "imagebind",
}
NOT_LOADED = {"wavcaps": 2_707_200, "clap": 2, "uni3d": 4_493_928}
"""Parameters of the published files that no encoder has, by family."""


@pytest.fixture(scope="module")
def layouts() -> tuple[Layout, ...]:
    return measure(registry())


def test_every_encoder_has_the_parameters_of_its_card(layouts: tuple[Layout, ...]) -> None:
    assert {one.encoder: one.params for one in layouts} == {
        one.encoder: one.params_on_card for one in layouts
    }


def test_every_encoder_is_laid_out_within_5_s(layouts: tuple[Layout, ...]) -> None:
    assert {one.encoder: one.seconds for one in layouts if one.seconds >= LIMIT} == {}


@pytest.fixture(scope="module")
def facts() -> dict:
    if not FACTS.exists():
        pytest.skip(f"the facts about the originals are not at {FACTS}")
    return json.loads(FACTS.read_text())


def _own(name: str) -> int:
    """Parameters that a space has itself: Uni3D's pictures and texts are another space's."""
    cards = registry().spaces[name].encoders.items()
    return sum(
        card.params for modality, card in cards if modality == "points" or "uni3d" not in name
    )


def test_the_fourteen_spaces_have_the_published_parameters(facts: dict) -> None:
    published = {NAMES.get(f["name"], f["name"]): f["params"]["total"] for f in facts["spaces"]}
    assert len(published) == 14
    found = {name: _own(name) + NOT_LOADED.get(name.partition("-")[0], 0) for name in published}
    assert found == published


@pytest.mark.parametrize(
    ("name", "billions"), [("base", 7.915), ("large", 13.059), ("full", 31.384)]
)
def test_the_published_recipes_have_the_published_sizes(
    facts: dict, name: str, billions: float
) -> None:
    recipe = registry().recipes[name]
    heads = add_up(registry(), recipe).projector_params
    sizes = facts["projectors"]["sizes"][name]
    assert heads == sizes["params"]
    spaces = [_own(space) + NOT_LOADED.get(space.partition("-")[0], 0) for space in recipe.spaces]
    assert (
        round((heads + sum(spaces)) / 1e9, 3) == billions == sizes["total_params_with_spaces"] / 1e9
    )
