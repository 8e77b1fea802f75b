"""A command that takes a value has the options that the value is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
import typer

from omnibind.cli.taking import taking

if TYPE_CHECKING:
    from nowhere import Point  # pyright: ignore[reportMissingImports]


def point(
    east: Annotated[int, typer.Option("--east")] = 1, north: Annotated[int, typer.Option()] = 2
) -> Point:
    return east, north


@taking(where=point)
def go(who: str, *, where: Point, fast: bool = False) -> None:
    print(who, where, fast)


def run(*words: str) -> None:
    app = typer.Typer()
    app.command()(go)
    app(words, standalone_mode=False)


def test_options_are_made_into_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    run("ann", "--east", "5", "--fast")
    assert capsys.readouterr().out == "ann (5, 2) True\n"


def test_help_shows_the_options_where_the_value_stood(capsys: pytest.CaptureFixture[str]) -> None:
    run("--help")
    text = capsys.readouterr().out
    assert text.index("--east") < text.index("--north") < text.index("--fast")
    assert "where" not in text


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command()(go)
    with pytest.raises(SystemExit, match="2"):
        app(("ann", "--west", "5"))
    assert "--west" in capsys.readouterr().err
