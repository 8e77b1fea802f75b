"""`omnibind embed`: files, folders, globs, lists and texts become a table of rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from omnibind.cli.metering import metered
from omnibind.cli.options import (
    AsJson,
    Context,
    Device,
    Loading,
    Memory,
    MetricsPort,
    Processes,
    loading_asked,
)
from omnibind.cli.printing import print_json, progress, talk
from omnibind.cli.taking import taking
from omnibind.errors import SetupError
from omnibind.plugins import registry
from omnibind.search import Listing, Summary, embed_table, gather

app = typer.Typer()
SHOWN = 20


@app.command()
@taking(loading=loading_asked)
def embed(
    context: Context,
    out: Annotated[Path, typer.Option("--out", help="The table: .parquet, .safetensors or .npz.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, quoted globs; - reads a list from stdin."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Words to embed; may be repeated.")
    ] = None,
    texts: Annotated[
        list[Path] | None, typer.Option("--texts", help="A file with a text on every line.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="Read every path as this.")
    ] = None,
    *,
    loading: Loading,
    device: Device = "auto",
    memory: Memory = "auto",
    processes: Processes = False,
    part_items: Annotated[
        int | None,
        typer.Option("--part-items", min=1, help="Items that a kill can cost at most."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Forget the rows that are in the table.")
    ] = False,
    metrics_port: MetricsPort = None,
    as_json: AsJson = False,
) -> None:
    """Embed files, folders and texts into a table of rows.

    Stopped by a kill or Ctrl-C, the same command goes on where it was. Run again later, it adds
    what is new and replaces what has changed. Items that fail are listed, and kept in
    OUT.failures.jsonl; the exit code is then 1.
    """
    known = registry()
    if modality:
        known.modality(modality)
    listing = gather(
        [path for path in paths or () if path != "-"],
        texts=[*(text or ()), *_lines_of(texts or ())],
        lines=sys.stdin.buffer if "-" in (paths or ()) else (),
        modalities=known.modalities,
        modality=modality,
        leave_out=out,
    )
    _say_what_was_found(listing)
    model = loading.model(device, memory=memory, processes=processes)
    try:
        with (
            metered(model.engine, metrics_port),
            progress("embedding", len(listing.sources)) as advance,
        ):
            summary = embed_table(
                model,
                listing.sources,
                out,
                part_items=part_items,
                strict=context.obj.strict,
                overwrite=overwrite,
                loaded_as={**loading.facts(), "dtype": model.engine.networks.dtype},
                on_done=advance,
            )
    except KeyboardInterrupt:
        talk(f"stopped; the rows so far are kept in {out}.parts: run it again to go on")
        raise
    _print(summary, as_json=as_json)
    if summary.failures:
        raise typer.Exit(1)


def _lines_of(files: list[Path] | tuple[()]) -> list[bytes]:
    try:
        return [line for file in files for line in file.read_bytes().splitlines()]
    except OSError as error:
        raise SetupError(
            "the lines of a file of texts",
            found=f"{type(error).__name__}: {error}",
            next_step="give a file with a text on every line",
        ) from error


def _say_what_was_found(listing: Listing) -> None:
    counts = [f"{len(listing.sources)} items"]
    if listing.repeated:
        counts.append(f"{listing.repeated} named again and taken once")
    talk(", ".join(counts))
    if listing.passed_over:
        endings = ", ".join(f"{e} ({n})" for e, n in sorted(listing.passed_over.items())[:SHOWN])
        talk(f"passed over, since no installed modality reads them: {endings}")


def _print(summary: Summary, *, as_json: bool) -> None:
    if summary.degraded:
        talk(f"warning: rows without {', '.join(summary.degraded)}")
    for failed in summary.failures[:SHOWN]:
        talk(f"failed: {failed.source}\n  {failed.stage}: {failed.reason}")
    if len(summary.failures) > SHOWN:
        talk(f"... and {len(summary.failures) - SHOWN} more")
    if summary.failures:
        talk(f"{len(summary.failures)} items failed; see {summary.out}.failures.jsonl")
    if as_json:
        print_json(summary)
    else:
        print(f"{summary.out}: {summary.rows} rows, {summary.added} of them new")
