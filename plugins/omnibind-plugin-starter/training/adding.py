"""Binds without a space, adds it, and measures both beside the full bind.

    python adding.py bound --pools pools --out added

Store, pairs and settings are those of the folder `bound`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ablate import CARDS, learned_from, settings_of
from evaluate import BENCHMARKS, MEASURED, Benchmark, means, read, values

import omnibind
from omnibind.checkpoint import write_checkpoint
from omnibind.specs import Recipe
from omnibind.training import project, route
from omnibind.training.add import add
from omnibind.training.heads import HeadSettings
from omnibind.training.routers import RouterSettings

LATER = ("views-wordllama", "lite0-wordllama")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bound", type=Path, help="the folder of a finished bind")
    parser.add_argument("--pools", type=Path, required=True, help="what pools.py has written")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    model = omnibind.load(asked.bound / "checkpoint")
    benchmarks = {name: read(model, asked.pools / BENCHMARKS[name]) for name in MEASURED}
    print(
        "| space that comes later | without it | added | bound anew | seconds | of the full bind |"
    )
    print("|---" * 6 + "|")
    anew = _mean(asked.bound / "checkpoint", benchmarks)
    rows, tuples = learned_from(asked.bound)
    for space in LATER:
        folder = asked.out / space
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint = bind(asked.bound, folder, without(model.binder.recipe, space))
        before = _mean(checkpoint, benchmarks)
        took = add(space, to=checkpoint, rows=rows, tuples=tuples, spaces=CARDS)
        figures = f"{before:.4f} | {_mean(checkpoint, benchmarks):.4f} | {anew:.4f}"
        print(f"| {space} | {figures} | {took.seconds:.1f} | {took.share:.1%} |")


def without(recipe: Recipe, space: str) -> Recipe:
    """The recipe as it was before the space came."""
    groups = (tuple(name for name in group if name != space) for group in recipe.rotated)
    return replace(
        recipe,
        slots={m: tuple(s for s in slots if s.name != space) for m, slots in recipe.slots.items()},
        router_inputs={
            m: tuple(name for name in names if name != space)
            for m, names in recipe.router_inputs.items()
        },
        rotated=tuple(group for group in groups if group),
    )


def bind(bound: Path, folder: Path, recipe: Recipe) -> Path:
    """A checkpoint by the settings of another bind."""
    rows, tuples = learned_from(bound)
    heads = settings_of(HeadSettings, bound / "project")
    routers = settings_of(RouterSettings, bound / "route")
    project.run(folder, recipe=recipe, rows=rows, tuples=tuples, settings=heads)
    route.run(folder, recipe=recipe, rows=rows, tuples=tuples, settings=routers)
    write_checkpoint(route.bound(folder, recipe), folder / "checkpoint", CARDS)
    return folder / "checkpoint"


def _mean(checkpoint: Path, benchmarks: Mapping[str, Benchmark]) -> float:
    """Mean mAP over directions."""
    binder = omnibind.load(checkpoint).binder
    return means(values(binder, benchmarks))["mAP"]


if __name__ == "__main__":
    main()
