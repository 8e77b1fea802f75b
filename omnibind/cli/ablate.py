"""`omnibind ablate DATA`: what each slot is worth."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from omnibind import evaluation
from omnibind.cli.benchmark import Data, load_benchmark
from omnibind.cli.options import AsJson, Context, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, print_table
from omnibind.cli.taking import taking

app = typer.Typer()


@app.command()
@taking(loading=loading_asked)
def ablate(
    context: Context,
    data: Data,
    metric: Annotated[
        Literal["R@1", "R@5", "R@10", "mAP"], typer.Option("--metric", help="What a slot loses.")
    ] = "mAP",
    *,
    loading: Loading,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Leave out one slot at a time, and show what that loses."""
    model = loading.model(device)
    benchmark = load_benchmark(model, data, loading.name, strict=context.obj.strict)
    found = evaluation.ablate(model.binder, benchmark.rows, name=data)
    if as_json:
        print_json(found.to_json(metric))
    else:
        print_table(
            ["slot", "direction", f">loss of {metric}", ">low", ">high"],
            [
                (slot, f"{a} -> {b}", f"{one.value:+.3f}", f"{one.low:+.3f}", f"{one.high:+.3f}")
                for slot, pairs in found.losses(metric).items()
                for (a, b), one in pairs.items()
            ],
        )
    if benchmark.failures:
        raise typer.Exit(1)
