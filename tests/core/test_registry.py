"""Plugins: each loads on its own; one that is broken is reported and leaves nothing behind."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from omnibind.errors import PluginError, UnknownNameError
from omnibind.plugins import load_registry
from omnibind.specs import Recipe, Slot, resolve

HEAD = """
from omnibind.plugins import hookimpl
from omnibind.specs import EncoderSpec, Recipe, Slot, SpaceSpec

def space(name, key=None, dim=4, encoder_dim=4, params=1):
    encoder = EncoderSpec(key=key or name, modality="text", dim=encoder_dim, params=params,
                          flops_per_item=1.0, build="nowhere:build", weights=())
    return SpaceSpec(name=name, dim=dim, encoders={"text": encoder}, licence="MIT",
                     commercial_use=True, revision="1")
"""
BUILTIN = EntryPoint(name="builtin", value="omnibind.plugins.builtin", group="omnibind")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a plugin module and gives its entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, body: str) -> EntryPoint:
        module = f"plugin_{tmp_path.name.replace('-', '_')}_{name}"
        (tmp_path / f"{module}.py").write_text(HEAD + body)
        return EntryPoint(name=name, value=module, group="omnibind")

    return write


def _spaces(returned: str) -> str:
    return f"@hookimpl\ndef provide_spaces():\n    return {returned}\n"


def test_the_built_in_modalities_come_in_through_the_hook() -> None:
    known = load_registry([BUILTIN])
    assert list(known.modalities) == ["text", "image", "audio", "points"]
    assert known.plugins[0].provides == {"Modality": ("text", "image", "audio", "points")}


def test_a_plugin_brings_its_space(plugin) -> None:
    known = load_registry([BUILTIN, plugin("good", _spaces("[space('a')]"))])
    assert known.space("a").dim == 4
    assert list(known.encoders()) == ["a"]
    assert known.failures == []


BROKEN = {
    "raises": ("import", "raise RuntimeError('boom')"),
    "exits": ("import", "raise SystemExit(3)"),
    "syntax": ("import", "def :"),
    "needs": ("import", "import a_package_that_is_not_there"),
    "unknown_hook": ("register", "@hookimpl\ndef provide_spaceships():\n    return []\n"),
    "wrong_arguments": ("register", "@hookimpl\ndef provide_spaces(extra):\n    return []\n"),
    "hook_raises": ("hooks", _spaces("1 / 0")),
    "nonsense": ("hooks", _spaces("['a space']")),
    "none": ("hooks", _spaces("42")),
    "taken": ("cards", _spaces("[space('new'), space('a')]")),
    "same_key": ("cards", _spaces("[space('b', key='a', params=2)]")),
    "bad_name": ("cards", _spaces("[space('No Good')]")),
    "wrong_width": ("cards", _spaces("[space('c', dim=9)]")),
    "no_slots": (
        "cards",
        "@hookimpl\ndef provide_recipes():\n"
        "    return [Recipe(name='r', backbone='a', joint_dim=4, slots={'text': ()})]\n",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_reported_and_rolled_back(name: str, plugin) -> None:
    stage, body = BROKEN[name]
    points = [BUILTIN, plugin("a_good", _spaces("[space('a')]")), plugin(name, body)]
    known = load_registry([*points, plugin("z_good", _spaces("[space('z')]"))])
    assert list(known.spaces) == ["a", "z"]
    assert list(known.recipes) == []
    (failure,) = known.failures
    assert (failure.name, failure.stage) == (name, stage)
    assert "Traceback" in failure.traceback


def test_a_taken_name_names_both_plugins(plugin) -> None:
    points = [plugin("first", _spaces("[space('a')]")), plugin("second", _spaces("[space('a')]"))]
    (failure,) = load_registry(points).failures
    assert "'second'" in failure.reason
    assert "'first'" in failure.reason


def test_strict_raises_the_failure(plugin) -> None:
    with pytest.raises(PluginError, match="boom"):
        load_registry([plugin("raises", "raise RuntimeError('boom')")], strict=True)


def test_chosen_plugins_alone_are_loaded(plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [BUILTIN, plugin("a", _spaces("[space('a')]")), plugin("b", _spaces("[space('b')]"))]
    monkeypatch.setenv("OMNIBIND_PLUGINS", "a")
    assert list(load_registry(points).spaces) == ["a"]
    monkeypatch.delenv("OMNIBIND_PLUGINS")
    monkeypatch.setenv("OMNIBIND_DISABLE_PLUGINS", "a")
    assert list(load_registry(points).spaces) == ["b"]


def test_two_spaces_may_share_an_encoder(plugin) -> None:
    known = load_registry([plugin("a", _spaces("[space('x', key='k'), space('y', key='k')]"))])
    assert list(known.encoders()) == ["k"]


def test_an_unknown_name_suggests_the_nearest_and_names_failed_plugins(plugin) -> None:
    points = [plugin("good", _spaces("[space('siglip')]")), plugin("bad", "raise OSError")]
    with pytest.raises(UnknownNameError, match="Did you mean 'siglip'") as caught:
        load_registry(points).space("siglop")
    assert "installed: siglip" in str(caught.value)
    assert "bad (see `omnibind doctor`)" in str(caught.value)


def test_a_recipe_lists_its_spaces_once_in_order() -> None:
    slots = {"text": (Slot.of("b"), Slot(name="m", parts={"a": 0.1, "b": 0.9}))}
    recipe = Recipe(
        name="r", backbone="b", joint_dim=4, slots=slots, router_inputs={"text": ("c", "a")}
    )
    assert recipe.spaces == ("b", "a", "c")


@pytest.mark.parametrize("reference", ["nocolon", "not_there:x", "omnibind.specs:not_there", ":x"])
def test_a_card_that_names_code_that_is_not_there_says_so(reference: str) -> None:
    with pytest.raises(PluginError, match="next:"):
        resolve(reference)
