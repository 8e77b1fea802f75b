"""`omnibind compare A... --with B...`: cosines between items of any modalities."""

from __future__ import annotations

from itertools import takewhile
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from omnibind import search
from omnibind.cli.options import AsJson, Context, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, print_table, talk
from omnibind.cli.taking import taking

app = typer.Typer()


class ManyAfterWith(TyperCommand):
    """Everything after `--with`, up to the next option, belongs to it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Writes `--with` in front of each of its items, as Typer wants it."""
        return super().parse_args(ctx, spread(args, "--with"))


def spread(words: list[str], option: str) -> list[str]:
    """`--with a b --json` as `--with a --with b --json`."""
    if option not in words:
        return words
    at = words.index(option)
    values = list(takewhile(lambda word: not word.startswith("-"), words[at + 1 :]))
    rest = words[at + 1 + len(values) :]
    return [*words[:at], *(w for value in values for w in (option, value)), *spread(rest, option)]


@app.command(cls=ManyAfterWith)
@taking(loading=loading_asked)
def compare(
    context: Context,
    a: Annotated[list[str], typer.Argument(help="Files or words.")],
    b: Annotated[
        list[str] | None,
        typer.Option("--with", help="Files or words on the other side; A itself if left out."),
    ] = None,
    *,
    loading: Loading,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show the cosines between items of any modalities.

    An argument is a file where one is there, else words.
    """
    found = search.compare(loading.model(device), a, b, strict=context.obj.strict)
    for failed in found.failures:
        talk(f"failed: {failed.item}\n  {failed.stage}: {failed.reason}")
    if as_json:
        print_json(found)
    elif found.cosines:
        print_table(
            ["", *(f">{name}" for name in found.right)],
            [
                (name, *(f"{cosine:+.3f}" for cosine in row))
                for name, row in zip(found.left, found.cosines, strict=True)
            ],
        )
    if found.failures:
        raise typer.Exit(1)
