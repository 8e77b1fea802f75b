"""`omnibind explain ITEM...`: the slot weights of items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omnibind import evaluation
from omnibind.cli.options import AsJson, Context, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, print_table, talk
from omnibind.cli.taking import taking

app = typer.Typer()


@app.command()
@taking(loading=loading_asked)
def explain(
    context: Context,
    items: Annotated[list[str], typer.Argument(help="Files or words.")],
    modality: Annotated[
        str | None, typer.Option("--modality", help="Read every item as this.")
    ] = None,
    *,
    loading: Loading,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show which slots made an item's joint row, and by what weight."""
    from omnibind.engine.items import is_there

    given: list[Any] = [
        path if is_there(path := Path(item)) and path.is_file() else item for item in items
    ]
    found = evaluation.explain(loading.model(device), given, modality, strict=context.obj.strict)
    for name in dict.fromkeys(name for one in found.good for name in one.degraded):
        talk(f"missing: {name}")
    for failure in found.errors:
        talk(f"failed: {failure.item}\n  {failure.stage}: {failure.reason}")
    if as_json:
        print_json(found.good)
    elif found.good:
        print_table(
            ["item", "modality", "slot", ">weight", ">usual"],
            [
                (one.item, one.modality, slot, f"{weight:.3f}", _usual(one, slot))
                for one in found.good
                for slot, weight in one.weights.items()
            ],
        )
    if found.errors:
        raise typer.Exit(1)


def _usual(one: evaluation.Explanation, slot: str) -> str:
    return f"{one.usual[slot]:.3f}" if slot in one.usual else ""
