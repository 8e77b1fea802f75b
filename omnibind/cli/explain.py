"""`omnibind explain ITEM...`: the slot weights of items."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from omnibind import evaluation
from omnibind.cli.options import AsJson, Device, Loading, loading_asked
from omnibind.cli.printing import print_json, print_table, talk
from omnibind.cli.taking import taking

app = typer.Typer()


@app.command()
@taking(loading=loading_asked)
def explain(
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
    given: list[Any] = [Path(item) if Path(item).is_file() else item for item in items]
    found = evaluation.explain(loading.model(device), given, modality)
    for name in dict.fromkeys(name for one in found for name in one.degraded):
        talk(f"missing: {name}")
    if as_json:
        print_json(found)
        return
    print_table(
        ["item", "modality", "slot", ">weight", ">usual"],
        [
            (one.item, one.modality, slot, f"{weight:.3f}", _usual(one, slot))
            for one in found
            for slot, weight in one.weights.items()
        ],
    )


def _usual(one: evaluation.Explanation, slot: str) -> str:
    return f"{one.usual[slot]:.3f}" if slot in one.usual else ""
