"""One broken plugin is reported by `plugins` and `doctor`; everything else works."""

from __future__ import annotations

import json

import pytest

RAISES = "raise RuntimeError('it is broken')\n"
EXITS = "import sys\nsys.exit('it leaves')\n"
MISSING = "import a_package_that_is_not_there\n"
NONSENSE = """
from omnibind.plugins import hookimpl

@hookimpl
def provide_spaces():
    return ["nonsense"]
"""
NOT_EVEN_A_LIST = """
from omnibind.plugins import hookimpl

@hookimpl
def provide_recipes():
    return 42
"""
UNKNOWN_HOOK = """
from omnibind.plugins import hookimpl

@hookimpl
def provide_smells():
    return []
"""
TAKEN = """
import dataclasses
import toybind
from omnibind.plugins import hookimpl

@hookimpl
def provide_spaces():
    new = dataclasses.replace(toybind.provide_spaces()[0], name="brand-new", encoders={})
    return [new, toybind.provide_spaces()[0]]
"""
BROKEN = {
    "raises": (RAISES, "it is broken"),
    "leaves": (EXITS, "it leaves"),
    "missing": (MISSING, "a_package_that_is_not_there"),
    "nonsense": (NONSENSE, "str where SpaceSpec cards belong"),
    "number": (NOT_EVEN_A_LIST, "'int' object is not iterable"),
    "smells": (UNKNOWN_HOOK, "provide_smells"),
    "zz_taken": (TAKEN, "the plugin 'toybind' has it already"),
}


@pytest.fixture(params=BROKEN)
def broken(request, site, monkeypatch):
    """A plugin that is broken in one way, and words of its failure."""
    source, said = BROKEN[request.param]
    site.install(request.param, source)
    monkeypatch.setenv("OMNIBIND_PLUGINS", f"toybind,{request.param}")
    return request.param, said


def test_plugins_lists_it_with_the_reason(omnibind, broken):
    name, said = broken
    ran = omnibind("plugins")
    assert ran.code == 0
    assert name in ran.out
    assert said in ran.out
    (failed,) = json.loads(omnibind("plugins", "--json").out)["failed"]
    assert failed["name"] == name


def test_doctor_shows_its_traceback_and_ends_with_1(omnibind, broken):
    name, said = broken
    ran = omnibind("doctor")
    assert ran.code == 1
    assert f"failed plugin: {name}" in ran.out
    assert "Traceback" in ran.out
    assert said in ran.out
    assert f"the plugin {name!r} failed" in ran.err


def test_everything_else_works(omnibind, broken, tmp_path):
    names = [space["name"] for space in json.loads(omnibind("spaces", "--json").out)]
    assert names == ["toy", "toy-nc", "toy-late"]
    out = tmp_path / "rows.parquet"
    words = ("--text", "a cat", "--out", out, "--recipe", "toys", "--size", "tiny")
    assert omnibind("embed", *words).code == 0


def test_strict_makes_it_an_error(omnibind, broken):
    ran = omnibind("--strict", "spaces")
    assert ran.code == 2
    assert "--strict was asked for" in ran.err


def test_several_broken_plugins_do_not_hide_one_another(omnibind, site, monkeypatch):
    for name, (source, _) in BROKEN.items():
        site.install(name, source)
    monkeypatch.setenv("OMNIBIND_PLUGINS", ",".join(["toybind", *BROKEN]))
    found = json.loads(omnibind("plugins", "--json").out)
    assert {failed["name"] for failed in found["failed"]} == BROKEN.keys()
    assert [plugin["name"] for plugin in found["plugins"]] == ["builtin", "toybind"]


def test_a_plugin_is_left_out_on_request(omnibind, site, monkeypatch):
    site.install("raises", RAISES)
    monkeypatch.setenv("OMNIBIND_PLUGINS", "")
    monkeypatch.setenv("OMNIBIND_DISABLE_PLUGINS", "raises")
    failed = json.loads(omnibind("plugins", "--json").out)["failed"]
    assert "raises" not in {one["name"] for one in failed}


def test_a_command_that_is_no_app_is_an_error_with_its_name(omnibind, site, monkeypatch):
    site.install(
        "badly",
        "from omnibind.plugins import hookimpl\n"
        "from omnibind.specs import Command\n"
        "@hookimpl\n"
        "def add_commands():\n"
        "    return [Command(name='wave', app='badly:add_commands', help='Wave.'),\n"
        "            Command(name='nod', app='nowhere:app', help='Nod.')]\n",
    )
    monkeypatch.setenv("OMNIBIND_PLUGINS", "badly")
    assert "function, not a typer.Typer" in omnibind("wave").err
    assert "No module named 'nowhere'" in omnibind("nod").err
    assert omnibind("--help").code == 0
