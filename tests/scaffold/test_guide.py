"""docs/write-a-plugin.md is true: its files are the rendered ones, its examples run."""

from __future__ import annotations

import inspect
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import typer

from omnibind.errors import MediaError
from omnibind.plugins import Registry, hooks, load_registry
from omnibind.scaffold import render
from omnibind.specs import resolve
from omnibind.testing import SpaceContract

GUIDE = (Path(__file__).parents[2] / "docs" / "write-a-plugin.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
BUILTIN = EntryPoint(name="builtin", value="omnibind.plugins.builtin", group="omnibind")
MINE = EntryPoint(name="mine", value="omnibind_plugin_mine", group="omnibind")
ADDED = "omnibind_plugin_mine/__init__.py, added"


def heading(hook: str) -> str:
    return f"### {hook}{inspect.signature(getattr(hooks, hook))}".replace("'", "")


def section(hook: str) -> str:
    """What the guide says of a hook."""
    _, found, rest = GUIDE.partition(heading(hook) + "\n")
    assert found, f"the guide has no heading {heading(hook)!r}"
    return re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A rendered plugin that can be imported, and is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path / "omnibind-plugin-mine")
    yield render("mine", tmp_path)[0].parent
    for name in [name for name in sys.modules if name.startswith("omnibind_plugin_mine")]:
        del sys.modules[name]


@pytest.fixture
def told(package: Path, request: pytest.FixtureRequest) -> Registry:
    """The registry once the plugin has all that the guide says of the test's hook."""
    (hook,) = [hook for hook in hooks.HOOKS if hook in request.node.name]
    for _, title, code in BLOCK.findall(section(hook)):
        path = package / title.removesuffix(", added")
        before = path.read_text() if title == ADDED else ""
        path.write_text(before + code)
    return load_registry([BUILTIN, MINE], strict=True)


def test_provide_spaces_brings_the_space(told: Registry) -> None:
    assert told.space("mine").encoders.keys() == {"image", "text"}


def test_provide_recipes_brings_a_recipe_that_can_be_loaded(told: Registry) -> None:
    import omnibind
    from omnibind.engine import Engine

    engine = Engine(device="cpu", size="tiny", workers=1)
    model = omnibind.load("only-mine", known=told, engine=engine)
    assert model.embed(["a cat"]).rows.shape == (1, 32)
    engine.close()


def test_provide_modalities_brings_a_modality_that_reads_files(
    told: Registry, tmp_path: Path
) -> None:
    card = told.modality("motion")
    file = tmp_path / "walk.motion"
    file.write_text("0 9.8 0\n0.1 9.7 0\n")
    media = resolve(card.load)(file)
    assert media.shape == (2, 3)
    assert resolve(card.claims)(media)
    assert resolve(card.digest)(media) == resolve(card.digest)(resolve(card.load)(media))
    file.write_text("a walk")
    with pytest.raises(MediaError, match="three numbers"):
        resolve(card.load)(file)


def test_provide_datasets_brings_labelled_items(told: Registry) -> None:
    items: Any = resolve(told.datasets["mine-words"].load)()
    assert [label for _, label in items] == ["cat", "dog"]


def test_add_commands_brings_a_command(told: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    app: Any = resolve(told.commands["greet"].app)
    assert isinstance(app, typer.Typer)
    app(["Ada"], standalone_mode=False)
    assert capsys.readouterr().out == "hello Ada\n"


@pytest.mark.parametrize("hook", hooks.HOOKS)
def test_every_hook_is_told_with_its_arguments_and_has_a_test(hook: str) -> None:
    assert section(hook).strip()
    assert [name for name in globals() if name.startswith(f"test_{hook}_")]


def test_every_file_of_a_new_plugin_is_shown_as_it_is(package: Path) -> None:
    shown = {title: code for _, title, code in BLOCK.findall(GUIDE) if title}
    written = {
        str(path.relative_to(package)): path.read_text()
        for path in package.rglob("*")
        if path.suffix in (".toml", ".py")
    }
    assert written == {title: shown.get(title) for title in written}


UNTITLED = [code for kind, title, code in BLOCK.findall(GUIDE) if kind == "python" and not title]


@pytest.mark.parametrize("code", UNTITLED, ids=lambda code: code.splitlines()[-1].strip()[:30])
def test_the_other_examples_run(code: str) -> None:
    exec(compile(code, "write-a-plugin.md", "exec"), {"__name__": "guide"})


def test_the_guide_names_the_settings_of_the_contract() -> None:
    for name in ("size", "weights", "tolerance", "items", "published"):
        assert hasattr(SpaceContract, name)
        assert re.search(rf"\b{name}\b", GUIDE.partition("## Test")[2].partition("## The hooks")[0])
