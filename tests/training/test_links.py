"""Links: which space pairs which modalities, and what is only chained."""

from __future__ import annotations

import pytest

from omnibind.errors import PoolError, UnknownNameError
from omnibind.plugins.published import BASE
from omnibind.specs import SpaceSpec
from omnibind.testing import ToySpace, toy_recipe
from omnibind.training.links import Links, parse_link, plan_links

CLIP = ToySpace("clip", modalities=["image", "text"])
CLAP = ToySpace("clap", modalities=["audio", "text"])
CLAP2 = ToySpace("clap-2", modalities=["audio", "text"])
SHAPES = ToySpace("shapes", modalities=["points", "image", "text"])
ALL = ("audio", "image", "points", "text")


def plan(*spaces: SpaceSpec, modalities=ALL, **asked: str) -> Links:
    recipe = toy_recipe("toys", spaces)
    pairs = {tuple(name.split("_")): space for name, space in asked.items()}
    return plan_links(recipe, {space.name: space for space in spaces}, modalities, pairs)


def test_the_backbone_links_what_it_reads_and_others_the_rest():
    links = plan(CLIP, CLAP, SHAPES)
    assert links.space("text", "image") == "clip"
    assert links.space("audio", "text") == "clap"
    assert links.space("points", "image") == "shapes"
    assert links.others["image", "text"] == ("shapes",)


def test_what_no_space_has_is_chained_by_way_of_text_and_said():
    links = plan(CLIP, CLAP, SHAPES)
    assert links.way("audio", "points") == ("audio", "text", "points")
    assert links.way("points", "audio") == ("points", "text", "audio")
    assert "no space has audio and points: they are paired by way of audio -> text -> points" in (
        links.said()
    )


def test_a_space_that_is_asked_for_wins():
    links = plan(CLIP, CLAP, CLAP2, modalities=("audio", "text"), audio_text="clap-2")
    assert links.space("audio", "text") == "clap-2"
    assert links.others["audio", "text"] == ("clap",)


def test_the_published_recipes_name_the_papers_links():
    spaces = {
        name: ToySpace(name, modalities=modalities)
        for name, modalities in {
            "eva-clip-18b": ["image", "text"],
            "imagebind": ["audio", "image", "text"],
            "uni3d-lvis": ["points", "image", "text"],
            "wavcaps-pt": ["audio", "text"],
        }.items()
    }
    links = plan_links(BASE, spaces, ALL)
    assert links.spaces == {
        ("audio", "image"): "imagebind",
        ("audio", "text"): "wavcaps-pt",
        ("image", "points"): "uni3d-lvis",
        ("image", "text"): "eva-clip-18b",
        ("points", "text"): "uni3d-lvis",
    }
    assert list(links.chains) == [("audio", "points")]


def test_a_modality_that_nothing_links_is_named():
    alone = ToySpace("sounds", modalities=["audio"])
    with pytest.raises(PoolError, match="items of 'audio' with those of the other pools"):
        plan(CLIP, alone, modalities=("audio", "image", "text"))


def test_one_modality_is_not_enough():
    with pytest.raises(PoolError, match="at least two modalities"):
        plan(CLIP, modalities=("image",))


def test_a_space_that_lacks_a_modality_links_nothing():
    with pytest.raises(PoolError, match="it reads image, text"):
        plan(CLIP, CLAP, modalities=("audio", "text"), audio_text="clip")


def test_a_linking_space_that_is_not_there_is_named():
    with pytest.raises(UnknownNameError, match="'clab'"):
        plan(CLAP, modalities=("audio", "text"), audio_text="clab")


@pytest.mark.parametrize("text", ["audio-text=wavcaps", "text-audio=wavcaps"])
def test_a_link_is_two_modalities_and_a_space(text):
    assert parse_link(text, ["text", "audio"]) == (("audio", "text"), "wavcaps")


@pytest.mark.parametrize("text", ["audio=x", "audio-text=", "audio-smell=x", "wavcaps"])
def test_anything_else_is_no_link(text):
    with pytest.raises(PoolError, match="MODALITY-MODALITY=SPACE"):
        parse_link(text, ["text", "audio"])
