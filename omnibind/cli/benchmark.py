"""Labelled items on the command line: read, encoded, and what failed said aloud."""

from __future__ import annotations

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


def load_benchmark(model: Embedder, data: str) -> tuple[evaluation.LabelledRows, int]:
    """Rows of the good items, and how many failed."""
    items = evaluation.labelled_items(data, model.known)
    with progress("encoding", len(items)) as advance:

        def on_done(_: object) -> None:
            advance(1)

        rows, failures = evaluation.encoded(model, items, on_done=on_done)
    for failure in failures:
        talk(f"failed: {failure.item}\n  {failure.stage}: {failure.reason}")
    return rows, len(failures)
