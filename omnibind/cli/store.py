"""`omnibind store info|verify|drop`: what a store of rows holds, and whether all of it is well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind.cli.options import AsJson
from omnibind.cli.printing import print_json, print_table, talk

app = typer.Typer(no_args_is_help=True)
Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The --out of `omnibind bind`, or the store in it.")
]


@app.callback()
def store() -> None:
    """Look into a store of rows, verify it, or drop an encoder's rows."""


@app.command()
def info(folder: Folder, as_json: AsJson = False) -> None:
    """List modalities and encoders with their numbers of rows."""
    from omnibind.store import describe

    found = describe(folder)
    if as_json:
        print_json(found)
        return
    print_table(
        ["modality", ">items", ">MB", "encoder", "revision", "fingerprint", ">dim", ">rows"],
        [
            (
                modality,
                held.items,
                f"{held.bytes / 1e6:.1f}",
                column.key,
                column.revision,
                column.fingerprint,
                column.dim,
                column.rows,
            )
            for modality, held in found.modalities.items()
            for column in held.columns
        ],
    )


@app.command()
def verify(folder: Folder, as_json: AsJson = False) -> None:
    """Read every row. Exit code 1: something is damaged."""
    from omnibind.store import verify

    problems = verify(folder)
    if as_json:
        print_json(problems)
    for problem in problems:
        talk(f"{problem.modality}: {problem.what}")
    if problems:
        raise typer.Exit(1)
    talk("every row can be read")


@app.command()
def drop(
    folder: Folder,
    encoder: Annotated[str, typer.Argument(help="The key of an encoder; see `store info`.")],
) -> None:
    """Delete an encoder's rows, so that another revision of it can be stored."""
    from omnibind.store import drop

    for modality in drop(folder, encoder):
        talk(f"{modality}: rows of {encoder} deleted")
