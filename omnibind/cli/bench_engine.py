"""`omnibind bench engine|threads|overhead|ceiling|endurance`: how fast items become rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Annotated

import typer

from omnibind.cli.bench_options import (
    Batch,
    Batches,
    Items,
    MediaFolder,
    Modalities,
    OneRecipe,
    Out,
    Profile,
    Recipes,
    Runs,
    gib,
    made_media,
    setting_asked,
    shown,
    written,
)
from omnibind.cli.options import AsJson, Device
from omnibind.cli.printing import number, print_table, talk
from omnibind.cli.taking import taking

if TYPE_CHECKING:
    from omnibind.bench.ceiling import Ceiling
    from omnibind.bench.setting import Setting

__all__ = ["ceiling", "endurance", "engine", "overhead", "threads"]


@taking(setting=setting_asked)
def engine(
    recipes: Recipes = None,
    modalities: Modalities = None,
    items: Items = None,
    batches: Batches = None,
    media: MediaFolder = None,
    *,
    setting: Setting,
    naive: Annotated[
        bool, typer.Option("--naive", help="Measure the published code's way too.")
    ] = False,
    profile: Profile = None,
    runs: Runs = 3,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time items from files to joint rows, beside what the device could do."""
    from omnibind.bench import ceiling as ceiling_bench
    from omnibind.bench import throughput
    from omnibind.bench.setting import picked

    asked = list(product(recipes or ["starter"], batches or [32]))
    if profile is not None and len(asked) > 1:
        raise typer.BadParameter("one file for several recipes or batches", param_hint="--profile")
    limit = ceiling_bench.measure(picked(setting.device))
    with made_media(modalities, items, media) as made:
        found = [
            figure
            for recipe, batch in asked
            for figure in throughput.measure(
                replace(setting, recipe=recipe, batch=batch),
                made,
                limit,
                naive=naive,
                runs=runs,
                profile=profile,
                on_turn=lambda turn, name=recipe: talk(f"{name}: turn {turn} of {runs}"),
            )
        ]
    if written({"ceiling": limit, "figures": found}, out, as_json):
        return
    print_table(
        [
            "recipe",
            "modality",
            "dtype",
            ">items",
            ">batch",
            ">seconds",
            ">items/s",
            ">naive",
            ">ratio",
            ">of work",
            ">max |d|",
            ">cosine",
            ">predicted",
            ">floor",
            ">FLOP an item",
            ">of ceiling",
        ],
        [
            (
                one.setting.recipe,
                one.modality,
                one.dtype,
                one.items,
                one.setting.batch,
                shown(one.seconds),
                f"{one.rate:.1f}",
                shown(one.naive),
                shown(one.ratio),
                shown(one.work),
                "-" if one.difference is None else f"{one.difference:.1e}",
                "-" if one.cosine is None else f"{one.cosine:.6f}",
                f"{one.prediction:.2f}",
                f"{one.floor:.2f}",
                number(one.flops),
                f"{one.share:.1%}",
            )
            for one in found
        ],
    )
    talk("seconds: median (least to most); predicted: the stages in a loop, on all cores at once")
    print()
    print_table(
        ["memory of the device", ">weights there", ">moved in a run", ">peak of a run"],
        [
            (one.modality, *(gib(nbytes) for nbytes in (one.resident, one.moved, one.peak)))
            for one in found
        ],
    )
    if any(one.alone for one in found):
        talk("networks beside the engine's did not fit together: they came one at a time, untimed")
    _print_stages([(one.modality, vars(one.stages)) for one in found])


@taking(setting=setting_asked)
def threads(
    recipe: OneRecipe = "starter",
    modalities: Modalities = None,
    items: Items = None,
    batch: Batch = 32,
    media: MediaFolder = None,
    *,
    setting: Setting,
    count: Annotated[int, typer.Option("--threads", min=1, help="That call side by side.")] = 32,
    bound: Annotated[
        bool, typer.Option("--bound", help="Joint rows; else what the engine gives.")
    ] = False,
    runs: Runs = 3,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time single items from many threads, beside the same calls one at a time."""
    from omnibind.bench import threads as threads_bench

    setting = replace(setting, recipe=recipe, batch=batch)
    with made_media(modalities, items, media) as made:
        found = threads_bench.measure(setting, made, threads=count, runs=runs, bound=bound)
    if written({"figures": found}, out, as_json):
        return
    print_table(
        [
            "modality",
            ">threads",
            ">calls",
            ">items/s",
            ">one at a time",
            ">ratio",
            ">p50",
            ">p99",
            ">one full batch",
            ">p99 in batches",
        ],
        [
            (
                one.modality,
                one.threads,
                one.calls,
                shown(one.together),
                shown(one.alone),
                shown(one.ratio),
                f"{one.p50:.3f} s",
                f"{one.p99:.3f} s",
                f"{one.batch.median:.3f} s",
                f"{one.p99_over_batch:.1f}",
            )
            for one in found
        ],
    )


@taking(setting=setting_asked)
def overhead(
    recipe: OneRecipe = "starter",
    modalities: Modalities = None,
    items: Items = None,
    batch: Batch = 32,
    media: MediaFolder = None,
    *,
    setting: Setting,
    runs: Runs = 5,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time the engine beside a bare loop of the same preprocessing and forwards."""
    from omnibind.bench import overhead as overhead_bench

    setting = replace(setting, recipe=recipe, batch=batch)
    with made_media(modalities, items, media) as made:
        found = overhead_bench.measure(setting, made, runs=runs)
    if written({"figures": found}, out, as_json):
        return
    most = overhead_bench.LIMIT
    print_table(
        ["modality", ">items", ">engine", ">bare loop", ">ratio", ">of work", f"under {most}"],
        [
            (
                one.modality,
                one.items,
                shown(one.engine),
                shown(one.loop),
                shown(one.ratio),
                shown(one.work),
                "yes" if one.ratio.median < most else "no",
            )
            for one in found
        ],
    )


def ceiling(
    device: Device = "auto",
    runs: Runs = 5,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the device can do at most: large matrix products and copies."""
    from omnibind.bench import ceiling as ceiling_bench
    from omnibind.bench.setting import picked

    found = ceiling_bench.measure(picked(device), runs=runs)
    if not written({"ceiling": found}, out, as_json):
        _print_ceiling(found)


def _print_ceiling(found: Ceiling) -> None:
    rows = [(f"product, {name}", one, "FLOP/s") for name, one in found.products.items()]
    rows += [(f"copy, {name}", one, "B/s") for name, one in found.copies.items()]
    print_table(
        [f"{found.device}, {found.threads} threads", ">median", ">least", ">most"],
        [
            (what, *(number(value) + unit for value in (one.median, one.least, one.most)))
            for what, one, unit in rows
        ],
    )
    for name, why in found.left_out.items():
        talk(f"{name} is left out: {why}")


def _print_stages(stages: Sequence[tuple[str, Mapping[str, float]]]) -> None:
    print()
    print_table(
        ["one at a time, in a loop", ">decode", ">preprocess", ">forward"],
        [(name, *(f"{seconds:.2f} s" for seconds in one.values())) for name, one in stages],
    )


def endurance(
    items: Annotated[int, typer.Option("--items", min=100, help="Of a pass.")] = 10_000,
    passes: Annotated[int, typer.Option("--passes", min=1, help="Over all of them.")] = 10,
    kills: Annotated[
        int, typer.Option("--kills", min=0, help="Workers killed in the first pass.")
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of when, and whom.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Count items and memory over many passes, with bad items and killed workers."""
    from omnibind.bench import endurance as endurance_bench

    found = endurance_bench.measure(
        items=items,
        passes=passes,
        kills=kills,
        seed=seed,
        on_pass=lambda one: talk(f"{one.rows} rows, {one.failures} bad"),
    )
    if written({"passes": found}, out, as_json):
        return
    print_table(
        [">pass", ">rows", ">bad", "every item once", ">workers replaced", ">resident"],
        [
            (
                number,
                one.rows,
                one.failures,
                "yes" if one.once else "no",
                one.replaced,
                "" if one.resident_mb is None else f"{one.resident_mb:.0f} MB",
            )
            for number, one in enumerate(found, start=1)
        ],
    )
