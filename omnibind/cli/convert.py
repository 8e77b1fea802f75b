"""`omnibind convert official FILE --out DIR`: a published router file as a bound checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind.cli.options import AsJson
from omnibind.cli.printing import print_json, talk

app = typer.Typer()


@app.callback()
def convert() -> None:
    """Make a bound checkpoint of somebody else's file."""


@app.command()
def official(
    file: Annotated[Path, typer.Argument(help="The authors' projs/{base,large,full}.pt.")],
    out: Annotated[Path, typer.Option("--out", help="The folder of the bound checkpoint.")],
    fill_from: Annotated[
        Path | None,
        typer.Option("--fill-from", help="Another of their files, for heads that FILE lacks."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert the authors' router and projector file; nothing in it is run."""
    from omnibind.official import convert_file

    facts = convert_file(file, out, fill_from=fill_from)
    if as_json:
        print_json({"folder": out, **facts})
    else:
        print(out)
        for title, value in facts.items():
            talk(f"{title}: {value}")
