"""`omnibind bind RECIPE --pool MODALITY=WHERE ... --out DIR`: a joint space from unpaired pools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnibind.cli.options import AsJson, CommercialOnly, Device, ModelSize, WeightsKind, Without
from omnibind.cli.printing import print_json, print_table, progress, talk
from omnibind.plugins import registry

if TYPE_CHECKING:
    from omnibind.training.plan import Ran

app = typer.Typer()


@app.command()
def bind(
    recipe: Annotated[str, typer.Argument(help="A recipe; see `omnibind recipes`.")],
    pool: Annotated[
        list[str],
        typer.Option(
            "--pool",
            help="MODALITY=WHERE: a folder, CSV or Parquet manifest, WebDataset tar, lines of "
            "text; may be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of this binding.")],
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Only this stage; may be repeated. All if left out."),
    ] = None,
    link: Annotated[
        list[str] | None,
        typer.Option("--link", help="MODALITY-MODALITY=SPACE by which items are paired."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Items of a benchmark: [MODALITY=]WHERE, as for --pool."),
    ] = None,
    near_duplicate: Annotated[
        float | None,
        typer.Option("--near-duplicate", help="Cosine from which on an item is a benchmark's."),
    ] = None,
    min_pairs: Annotated[
        int | None,
        typer.Option("--min-pairs", min=1, help="Distinct pairs below which nothing is learned."),
    ] = None,
    exact_below: Annotated[
        int | None,
        typer.Option("--exact-below", min=1, help="Items from which on pairs are approximate."),
    ] = None,
    part_items: Annotated[
        int | None,
        typer.Option("--part-items", min=1, help="Items that a kill can cost at most."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Of the projectors' training.")
    ] = None,
    router_steps: Annotated[
        int | None, typer.Option("--router-steps", min=1, help="Of the routers' training.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Learning rate of the projectors' training.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=2, help="Tuples a step, for heads and routers.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    cached: Annotated[
        bool,
        typer.Option("--cached", help="Use and keep rows in the cache of the other commands."),
    ] = False,
    size: ModelSize = "full",
    weights: WeightsKind = "official",
    commercial_only: CommercialOnly = False,
    without: Without = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Learn a joint space from pools of unpaired items; it comes to lie in DIR/checkpoint.

    Each stage resumes where it was stopped, and is skipped when it is done and nothing has changed.
    """
    from omnibind.engine import shared_engine
    from omnibind.training.heads import HeadSettings
    from omnibind.training.plan import Settings, adjusted, make_plan
    from omnibind.training.routers import RouterSettings
    from omnibind.training.stages import run_stages

    known = registry()
    asked = {
        "near_duplicate": near_duplicate,
        "min_pairs": min_pairs,
        "exact_below": exact_below,
        "batch_items": part_items,
        "heads": adjusted(HeadSettings(), steps=steps, batch=batch, seed=seed, rate=rate),
        "routers": adjusted(RouterSettings(), steps=router_steps, batch=batch, seed=seed),
    }
    plan = make_plan(
        known.recipe(recipe),
        known,
        pools=pool,
        out=out,
        engine=shared_engine(device=device, size=size, weights=weights, cached=cached),
        links=link or (),
        exclude=exclude or (),
        without=without or (),
        commercial_only=commercial_only,
        settings=Settings(**{name: value for name, value in asked.items() if value is not None}),  # pyright: ignore[reportArgumentType]
    )
    try:
        ran = run_stages(plan, progress, talk, only=stage or ())
    except KeyboardInterrupt:
        talk(f"stopped; what is finished is kept in {out}: run it again to go on")
        raise
    _print(ran, as_json=as_json)


def _print(ran: Mapping[str, Ran], *, as_json: bool) -> None:
    if as_json:
        print_json({name: {"skipped": one.skipped, **one.facts} for name, one in ran.items()})
        return
    print_table(
        ["stage", "", "made"],
        [
            (name, "as before" if one.skipped else "done", one.facts["said"])
            for name, one in ran.items()
        ],
    )
