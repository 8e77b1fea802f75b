"""`omnibind evaluate DATA`: the bound model beside its members on labelled items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from omnibind import evaluation
from omnibind.cli.benchmark import Data, load_benchmark
from omnibind.cli.options import AsJson, Context, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, talk
from omnibind.cli.taking import taking

app = typer.Typer()


@app.command()
@taking(loading=loading_asked)
def evaluate(
    context: Context,
    data: Data,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="Classify too, by e.g. 'a photo of {}'; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", file_okay=False, help="A folder for JSON, Markdown and pictures."),
    ] = None,
    resamples: Annotated[int, typer.Option("--resamples", min=10, help="Of the bootstrap.")] = 2000,
    *,
    loading: Loading,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure retrieval in every direction, and every member space beside it."""
    evaluation.refuse_prompts(prompt or ())
    model = loading.model(device)
    benchmark = load_benchmark(model, data, loading.name, strict=context.obj.strict)
    found = benchmark.evaluate(model, prompt or (), resamples=resamples)
    if out:
        found.write(out)
        talk(f"written to {out}")
    if as_json:
        print_json(found.to_json())
    else:
        print(found.to_markdown())
    if benchmark.failures:
        raise typer.Exit(1)
