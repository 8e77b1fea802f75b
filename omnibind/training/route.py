"""The stage `route`: trains the routers over frozen projectors, into `DIR/route/`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from omnibind.binder import Binder
from omnibind.checkpoint import BoundCheckpoint, read_routers, write_routers
from omnibind.projectors import Projector
from omnibind.routers import Router
from omnibind.specs import Recipe
from omnibind.training.descent import OnStep, descend
from omnibind.training.done import Trained, done, fingerprint, mark_done, of_rows, of_tuples
from omnibind.training.draws import sample
from omnibind.training.joint import joint_tuples
from omnibind.training.project import read_projectors
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.routers import (
    Load,
    RouterObjective,
    RouterSettings,
    load_of,
    new_router,
    rows_of,
)
from omnibind.training.state import forget
from omnibind.training.tuples import RowSource, Tuples
from omnibind.weights.checksums import checksum

__all__ = [
    "bound",
    "bound_without_routers",
    "loads",
    "made_of",
    "priors_of",
    "router_tuples",
    "run",
]


def run(
    out: Path,
    *,
    recipe: Recipe,
    rows: RowSource,
    tuples: Tuples,
    settings: RouterSettings | None = None,
    inputs: str = "",
    ranks: Ranks = ALONE,
    on_step: OnStep | None = None,
) -> Trained:
    """Trains a router for every modality that the recipe gives router inputs for.

    Reads `out/project`; skipped where it was done by the same inputs; goes on where it was killed.

    Args:
        out: the folder of the bind; everything is written below `out/route`.
        recipe: slots, router inputs, temperatures.
        rows: of the pools.
        tuples: made by the stage `pair`.
        settings: of the training.
        inputs: fingerprint of what the rows and tuples were made of.
        ranks: the processes that train together.
        on_step: told of each step.

    Raises:
        TrainingError: it cannot start, or had to stop.
    """
    settings, folder = settings or RouterSettings(), out / "route"
    inputs = made_of(out, recipe, rows, tuples, settings, inputs)
    known = done(folder, inputs)
    if known is not None:
        return Trained(skipped=True, resumed=0, facts=known)
    binder = _binder(out, recipe, rows, tuples, settings, ranks)
    facts: dict[str, Any] = {"settings": asdict(settings), "steps": 0, "seconds": 0.0, "resumed": 0}
    if binder.routers:
        found = router_tuples(binder, rows, tuples, settings, ranks)
        objective = RouterObjective(binder, rows, found, settings, ranks=ranks)
        objective.to(ranks.device)
        result = descend(
            objective, settings.descent, folder, inputs=inputs, ranks=ranks, on_step=on_step
        )
        facts |= asdict(result)
    load = loads(binder.cpu().eval(), rows, tuples, settings)
    facts["load"] = {m: asdict(one) for m, one in load.items()}
    if ranks.first:
        folder.mkdir(parents=True, exist_ok=True)
        write_routers(_routers(binder), folder / "routers.safetensors")
        mark_done(folder, inputs, facts, [folder / "routers.safetensors"])
        forget(folder)
    ranks.wait()
    return Trained(skipped=False, resumed=facts["resumed"], facts=facts)


def made_of(
    out: Path,
    recipe: Recipe,
    rows: RowSource,
    tuples: Tuples,
    settings: RouterSettings,
    inputs: str,
) -> str:
    """A fingerprint of all that the routers depend on, projectors too; arguments as of `run`."""
    return fingerprint(
        asdict(recipe),
        asdict(settings),
        of_rows(rows, tuples),
        of_tuples(tuples),
        _projected(out),
        inputs,
    )


def bound_without_routers(out: Path, recipe: Recipe) -> BoundCheckpoint:
    """The trained projectors, every slot weighing the same."""
    return BoundCheckpoint(recipe=recipe, projectors=read_projectors(out))


def bound(out: Path, recipe: Recipe, facts: Mapping[str, Any] | None = None) -> BoundCheckpoint:
    """The checkpoint that the stages `project` and `route` amount to.

    Args:
        out: the folder of the bind.
        recipe: as trained.
        facts: further ones to record: pools, exclusions, metrics.
    """
    stages: dict[str, dict[str, Any]] = {
        stage: json.loads((out / stage / "done.json").read_text(encoding="utf-8"))["facts"]
        for stage in ("project", "route")
    }
    timings = {stage: float(facts.pop("seconds")) for stage, facts in stages.items()}
    for facts_of_stage in stages.values():
        del facts_of_stage["resumed"]  # the same bytes, whether a run was killed or not
    return BoundCheckpoint(
        recipe=recipe,
        projectors=read_projectors(out),
        routers=read_routers(out / "route" / "routers.safetensors", recipe),
        priors=priors_of(stages["route"]["load"]),
        facts={**(facts or {}), "training": stages},
        timings=timings,
    )


def loads(
    binder: Binder, rows: RowSource, tuples: Tuples, settings: RouterSettings
) -> dict[str, Load]:
    """How every modality's pool uses its slots, over a drawn part of the pool."""
    found: dict[str, Load] = {}
    for modality in binder.recipe.slots:
        if modality not in rows.modalities() or modality not in tuples.pools:
            continue
        pool, seed = tuples.pools[modality], settings.descent.seed
        items = pool[sample(len(pool), settings.prior_items, seed=seed, name="priors")]
        with torch.no_grad():
            made = binder(modality, rows_of(rows, binder.recipe, modality, items))
        found[modality] = load_of(made.weights, made.slots)
    return found


def router_tuples(
    binder: Binder,
    rows: RowSource,
    tuples: Tuples,
    settings: RouterSettings,
    ranks: Ranks = ALONE,
) -> Tuples:
    """What routers are trained on: tuples of the joint space, or those of the stage `pair`."""
    if not settings.joint_items:
        return tuples
    size, seed = settings.joint_items, settings.descent.seed
    return joint_tuples(binder, rows, tuples.pools, items=size, seed=seed, ranks=ranks)


def priors_of(load: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean weights by modality and slot, as a checkpoint records them."""
    return {modality: dict(one["weights"]) for modality, one in load.items()}


def _binder(
    out: Path,
    recipe: Recipe,
    rows: RowSource,
    tuples: Tuples,
    settings: RouterSettings,
    ranks: Ranks,
) -> Binder:
    routers: dict[str, Router] = {}
    for modality, spaces in recipe.router_inputs.items():
        pooled = modality in rows.modalities() and modality in tuples.pools
        there = rows.spaces(modality) if pooled else ()
        if missing := [space for space in spaces if space not in there]:
            warnings.warn(
                f"no router for {modality!r}: no rows of {', '.join(missing)}", stacklevel=3
            )
            continue
        first = tuples.pools[modality][:1]
        dim = sum(rows.take(space, modality, first).shape[1] for space in spaces)
        routers[modality] = new_router(modality, recipe, dim, seed=settings.descent.seed)
    projectors: Mapping[str, Projector] = read_projectors(out)
    binder = Binder(recipe, projectors, routers)
    binder.projectors.requires_grad_(False)
    for router in _routers(binder).values():
        ranks.shared_norms(router.net)
    binder.to(ranks.device).projectors.eval()
    return binder


def _routers(binder: Binder) -> dict[str, Router]:
    return cast("dict[str, Router]", dict(binder.routers.items()))


def _projected(out: Path) -> dict[str, str]:
    paths = sorted((out / "project" / "projectors").glob("*.safetensors"))
    return {path.name: checksum(path) for path in paths}
