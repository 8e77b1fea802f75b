"""`omnibind search ROWS QUERY`: the rows of a table that are nearest to an item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from omnibind import search as tables
from omnibind.cli.options import AsJson, Device, Loading
from omnibind.cli.printing import print_json, print_table

app = typer.Typer()


@app.command()
def search(
    rows: Annotated[Path, typer.Argument(help="A table of `omnibind embed`, or its parts.")],
    query: Annotated[str, typer.Argument(help="A file where one is there, else words.")],
    top: Annotated[int, typer.Option("--top", min=1, help="How many rows.")] = 10,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Rows of this modality; may be repeated."),
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Read the query as this.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Recipe or folder, where it is not that of the table."),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Find the rows of a table that are nearest to an item of any modality.

    The recipe, its size and its spaces are those that the table was made with.
    """
    table = tables.read_table(rows)
    loading = Loading.from_facts(table.facts.loaded_as)
    if recipe:
        loading = replace(loading, recipe=recipe)
    model = loading.model(device)
    hits = tables.search(model, table, query, top, only=only or (), modality=modality)
    if as_json:
        print_json(hits)
    else:
        print_table(
            [">cosine", "modality", "source"],
            [(f"{hit.score:+.3f}", hit.modality, _one_line(hit.source)) for hit in hits],
        )


def _one_line(source: str, length: int = 200) -> str:
    line = " ".join(source.split())
    return line if len(line) <= length else line[: length - 1] + "…"
