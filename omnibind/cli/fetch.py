"""`omnibind fetch RECIPE`: downloads and verifies all its files; then everything works offline."""

from __future__ import annotations

from typing import Annotated

import typer

from omnibind.cli import files
from omnibind.cli.options import AsJson
from omnibind.cli.printing import number, print_json, print_table, talk
from omnibind.cli.recipe_facts import files_of, find_recipe
from omnibind.plugins import registry

app = typer.Typer()


@app.command()
def fetch(
    recipe: Annotated[str, typer.Argument(help="A recipe, or the folder of a bound checkpoint.")],
    as_json: AsJson = False,
) -> None:
    """Download and verify every file of a recipe."""
    known = registry()
    wanted = files_of(known, find_recipe(known, recipe))
    found = files.fetch(wanted, lambda file: talk(f"{file.space}: {file.purpose}"))
    if as_json:
        print_json(found)
    else:
        print_table(
            ["space", "file for", ">bytes", "path"],
            [(f.file.space, f.file.purpose, number(f.bytes), f.path or "missing") for f in found],
        )
    failed = [file for file in found if file.path is None]
    for file in failed:
        talk(f"error: {file.reason}")
    if failed:
        raise typer.Exit(2)
