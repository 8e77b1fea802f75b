"""`omnibind demo`: embeds the example media, prints what finds what, writes a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind.cli.options import AsJson, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, print_rich, progress, talk
from omnibind.cli.taking import taking
from omnibind.demo import figures_table, run

app = typer.Typer()


@app.command()
@taking(loading=loading_asked)
def demo(
    media: Annotated[
        Path | None,
        typer.Option("--media", help="A folder with a manifest.json; the examples if left out."),
    ] = None,
    page: Annotated[Path, typer.Option("--page", help="The HTML file to write.")] = Path(
        "demo.html"
    ),
    open_browser: Annotated[bool, typer.Option("--open", help="Show the page.")] = False,
    *,
    loading: Loading,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Embed the example media, print what finds what, and write a page to look at."""
    model = loading.model(device)
    with progress("embedding") as advance:
        result = run(
            media,
            page,
            recipe=model,
            open_browser=open_browser,
            progress=lambda _, total: advance(1, total),
        )
    if as_json:
        print_json(result.to_json())
    else:
        print_rich(figures_table(result))
    for error in result.errors:
        talk(f"failed: {error.item}\n  {error.stage}: {error.reason}")
    if result.degraded:
        talk(f"warning: rows without {', '.join(result.degraded)}")
    if result.left_out:
        talk(f"left out, since no space of the recipe reads it: {', '.join(result.left_out)}")
    talk(f"{page}: open it in a browser")
    if result.errors:
        raise typer.Exit(1)
