"""docs/cli.md names every command and every option, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from omnibind.cli.root import BUILT_IN, imported, root

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def options(command, name: str) -> set[str]:
    """Every long option of a command and of those below it."""
    named = {o for p in command.params for o in p.opts if o.startswith("--")} - {"--help"}
    for below, sub in getattr(command, "commands", {}).items():
        named |= options(sub, f"{name} {below}")
    return named


def section(name: str) -> str:
    return PAGE.partition(f"## `omnibind {name}")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_command_is_documented_with_its_options(name):
    shared = PAGE.partition("## Options that several commands share")[2].partition("\n## ")[0]
    said = section(name)
    assert said, f"docs/cli.md has no section `omnibind {name}`"
    for option in options(imported(BUILT_IN[name]), name):
        assert f"`{option}" in said + shared, option


def test_global_options_are_documented():
    before = PAGE.partition("\n## `omnibind")[0]
    for option in options(typer.main.get_command(root), ""):
        assert f"`{option}" in before, option


def test_no_option_is_documented_that_is_not_there():
    there = {o for card in BUILT_IN.values() for o in options(imported(card), card.name)}
    there |= options(typer.main.get_command(root), "") | {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)", PAGE)) <= there
