"""`omnibind bind RECIPE ... --out DIR`: a joint space from unpaired pools; `bind add`: one more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from omnibind.cli.metering import metered
from omnibind.cli.options import (
    AsJson,
    CommercialOnly,
    Context,
    MetricsPort,
    Without,
    engine_asked,
)
from omnibind.cli.printing import print_json, print_table, progress, talk
from omnibind.cli.taking import taking
from omnibind.plugins import registry

if TYPE_CHECKING:
    from omnibind.engine import Engine
    from omnibind.training.add import Added
    from omnibind.training.adding import Change
    from omnibind.training.plan import Ran

RECIPE = "recipe"


class Bind(TyperGroup):
    """`bind add ...` is a command of its own; everything else after `bind` is about a recipe."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Parses the arguments as the one or the other."""
        if args[:1] == ["add"]:
            return super().make_context(info_name, args, parent, **extra)
        extra = {"help_option_names": ["--help"], **extra}  # not the root's none
        return self.commands[RECIPE].make_context(info_name, args, parent, **extra)


app = typer.Typer(cls=Bind)
Pools = Annotated[
    list[str],
    typer.Option(
        "--pool",
        help="MODALITY=WHERE: a folder, CSV or Parquet manifest, WebDataset tar, lines of "
        "text; may be repeated.",
    ),
]
MorePools = Annotated[
    list[str] | None,
    typer.Option("--pool", help="MODALITY=WHERE, in place of the binding's of that modality."),
]
Links = Annotated[
    list[str] | None,
    typer.Option("--link", help="MODALITY-MODALITY=SPACE by which items are paired."),
]
Benchmarks = Annotated[
    list[str] | None,
    typer.Option("--evaluate", help="A benchmark, as for `omnibind evaluate`; repeatable."),
]


@app.command(RECIPE)
@taking(engine=engine_asked)
def bind(
    context: Context,
    recipe: Annotated[str, typer.Argument(help="A recipe; see `omnibind recipes`.")],
    pool: Pools,
    out: Annotated[
        Path, typer.Option("--out", file_okay=False, help="The folder of this binding.")
    ],
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="Only this stage; may be repeated. All if left out."),
    ] = None,
    link: Links = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", help="Items of a benchmark: [MODALITY=]WHERE, as for --pool."),
    ] = None,
    evaluate: Benchmarks = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="Classify its items too, by e.g. 'a photo of {}'."),
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
    router_temperature: Annotated[
        float | None,
        typer.Option("--router-temperature", help="Of the contrast that routers learn by."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=2, help="Tuples a step, for heads and routers.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    commercial_only: CommercialOnly = False,
    without: Without = None,
    *,
    engine: Engine,
    metrics_port: MetricsPort = None,
    as_json: AsJson = False,
) -> None:
    """Learn a joint space from pools of unpaired items; it comes to lie in DIR/checkpoint.

    Each stage resumes where it was stopped, and is skipped when it is done and nothing has changed.
    `omnibind bind add SPACE --to DIR` adds a space to it later.
    """
    from omnibind.training.evaluate_stage import unmeasured
    from omnibind.training.heads import HeadSettings
    from omnibind.training.plan import Settings, adjusted, make_plan
    from omnibind.training.routers import RouterSettings
    from omnibind.training.stages import run_stages

    known = registry()
    routers = RouterSettings()
    if router_temperature is not None:
        routers = replace(routers, temperature=router_temperature)
    asked = {
        "near_duplicate": near_duplicate,
        "min_pairs": min_pairs,
        "exact_below": exact_below,
        "batch_items": part_items,
        "heads": adjusted(HeadSettings(), steps=steps, batch=batch, seed=seed, rate=rate),
        "routers": adjusted(routers, steps=router_steps, batch=batch, seed=seed),
    }
    plan = make_plan(
        known.recipe(recipe),
        known,
        pools=pool,
        out=out,
        engine=engine,
        links=link or (),
        exclude=exclude or (),
        without=without or (),
        commercial_only=commercial_only,
        benchmarks=evaluate or (),
        prompts=prompt or (),
        settings=Settings(**{name: value for name, value in asked.items() if value is not None}),  # pyright: ignore[reportArgumentType]
    )
    try:
        with metered(engine, metrics_port):
            ran = run_stages(plan, progress, talk, stage or (), strict=context.obj.strict)
    except KeyboardInterrupt:
        talk(f"stopped; what is finished is kept in {out}: run it again to go on")
        raise
    _print(ran, as_json=as_json)
    if "evaluate" in ran and unmeasured(ran["evaluate"].facts):
        raise typer.Exit(1)


def _print(ran: Mapping[str, Ran], *, as_json: bool) -> None:
    if as_json:
        print_json({name: {"skipped": one.skipped, **one.facts} for name, one in ran.items()})
        return
    print_table(
        ["stage", "", "made"],
        [(name, _state(one), one.facts["said"]) for name, one in ran.items()],
    )


def _state(ran: Ran) -> str:
    if not ran.asked:
        return "not asked"
    return "as before" if ran.skipped else "done"


@app.command("add")
@taking(engine=engine_asked)
def add(
    context: Context,
    space: Annotated[str, typer.Argument(help="A space; see `omnibind spaces`.")],
    to: Annotated[Path, typer.Option("--to", help="The folder of a binding, or a checkpoint.")],
    pool: MorePools = None,
    link: Links = None,
    evaluate: Benchmarks = None,
    *,
    engine: Engine,
    as_json: AsJson = False,
) -> None:
    """Add a space to a bound checkpoint; its old projectors stay byte for byte.

    Only the new space's heads and one row in each router are trained.
    """
    from omnibind.training.adding import add_space

    done = add_space(
        space,
        to=to,
        known=registry(),
        engine=engine,
        progress=progress,
        talk=talk,
        pools=pool or (),
        links=link or (),
        benchmarks=evaluate or (),
        strict=context.obj.strict,
    )
    talk(_cost(space, done.added))
    if as_json:
        print_json(
            {
                "folder": str(done.added.folder),
                "seconds": done.added.seconds,
                "full_bind_seconds": done.added.full_seconds if done.added.known else None,
                "changes": done.changes,
            }
        )
        return
    if not done.changes:
        talk("what it changed is not measured: name a benchmark with --evaluate")
        return
    print_table(
        ["benchmark", "direction", ">mAP before", ">after", ">gain", ">low", ">high"],
        [
            (data, f"{one.asked} -> {one.searched}", *_cells(one))
            for data, changes in done.changes.items()
            for one in changes
        ],
    )


def _cost(space: str, added: Added) -> str:
    said = f"{space} is in {added.folder}: {added.seconds:.1f} s of training"
    if not added.known:
        return f"{said}; the checkpoint does not say how long the full bind took"
    return f"{said}, {added.share:.1%} of the full bind's {added.full_seconds:.1f} s"


def _cells(one: Change) -> tuple[str, ...]:
    if one.before is None or one.gain is None:
        return "none", f"{one.after:.3f}", "", "", ""
    gain = (f"{number:+.3f}" for number in (one.gain.value, one.gain.low, one.gain.high))
    return f"{one.before:.3f}", f"{one.after:.3f}", *gain
