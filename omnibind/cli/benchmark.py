"""Labelled items on the command line: read, encoded; what failed or was seen is said aloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind import evaluation
from omnibind.cli.printing import progress, talk
from omnibind.embedder import Embedder

__all__ = ["Data", "load_benchmark"]

Data = Annotated[
    str,
    typer.Argument(
        help="CSV or Parquet with path or text, and label; or the name of a plugin's data set."
    ),
]


def load_benchmark(
    model: Embedder, data: str, name: str | Path, *, strict: bool
) -> evaluation.Benchmark:
    """The benchmark, encoded for a model of that name; strict: an item that fails ends it."""
    items = evaluation.labelled_items(data, model.known)
    with progress("encoding", len(items)) as advance:

        def on_done(_: object) -> None:
            advance(1)

        found = evaluation.read_benchmark(
            model,
            items,
            name=data,
            seen=evaluation.seen_of(name),
            strict=strict,
            on_done=on_done,
        )
    for failure in found.failures:
        talk(f"failed: {failure.item}\n  {failure.stage}: {failure.reason}")
    if found.left_out:
        talk(evaluation.said_of(found.left_out))
    if found.seen.count:
        talk(f"warning: {found.seen.said()}")
    return found
