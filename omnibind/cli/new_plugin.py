"""`omnibind new-plugin NAME`: writes a plugin that passes its tests at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind.cli.options import AsJson
from omnibind.cli.printing import print_json, talk
from omnibind.scaffold import render

app = typer.Typer()


@app.command()
def new_plugin(
    name: Annotated[str, typer.Argument(help="What comes after omnibind-plugin-.")],
    folder: Annotated[Path, typer.Option("--folder", help="Where its folder is made.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Write a plugin that passes its tests at once."""
    written = render(name, folder)
    if as_json:
        print_json({"folder": written[0].parent, "files": written})
    else:
        print(*written, sep="\n")
        talk(f"next: pip install -e '{written[0].parent}[test]' && pytest {written[0].parent}")
