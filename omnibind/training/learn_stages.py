"""The stages `project`, `route` and `checkpoint`: what is learned from pairs, as one folder.

DIR/project     trained heads a space, their curves
DIR/route       trained routers, slot priors, their curves
DIR/checkpoint  the bound checkpoint: `omnibind.load("DIR/checkpoint")`
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omnibind.checkpoint import write_checkpoint
from omnibind.errors import TrainingError
from omnibind.specs import Recipe, Slot
from omnibind.store import Store, StoreRows
from omnibind.training import project as projecting
from omnibind.training import route as routing
from omnibind.training.descent import OnStep
from omnibind.training.done import Trained, done, fingerprint, mark_done
from omnibind.training.embed_stage import store_folder
from omnibind.training.pair_stage import FOLDER as PAIRS
from omnibind.training.pair_stage import paired
from omnibind.training.plan import Plan, Ran
from omnibind.training.progress import Progress, Talk
from omnibind.training.tuples import Tuples, read_tuples

__all__ = ["checkpoint", "project", "route", "trimmed"]

CHECKPOINT = "checkpoint"


def project(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Trains the heads of every space but the backbone.

    Raises:
        TrainingError: the stage `pair` is not done, or training cannot start or had to stop.
    """
    given = _given(plan)
    run = partial(projecting.run, settings=plan.settings.heads)
    return _trained(run, plan, given, progress, "project")


def route(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Trains the routers over the projectors.

    Raises:
        TrainingError: an earlier stage is not done, or training cannot start or had to stop.
    """
    given = _given(plan)
    _refuse_unless_done(plan.out, "project")
    if not given.recipe.router_inputs:
        talk(f"{given.recipe.name} has no router inputs: slots weigh the same, nothing to train")
    run = partial(routing.run, settings=plan.settings.routers)
    return _trained(run, plan, given, progress, "route")


def checkpoint(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Writes the bound checkpoint, with what it was made of.

    Raises:
        TrainingError: an earlier stage is not done.
    """
    for stage in ("project", "route"):
        _refuse_unless_done(plan.out, stage)
    folder, facts = plan.out / CHECKPOINT, _facts(plan)
    made_of = fingerprint(facts, _content(plan.out / "project"), _content(plan.out / "route"))
    known = done(folder, made_of)
    if known is not None:
        return Ran(skipped=True, facts=known)
    bound = routing.bound(plan.out, trimmed(plan.recipe, plan), facts)
    write_checkpoint(bound, folder, plan.spaces)
    shutil.copyfile(plan.out / PAIRS / "seen.safetensors", folder / "seen.safetensors")
    recorded = {"said": str(folder), "folder": str(folder)}
    mark_done(folder, made_of, recorded)
    return Ran(skipped=False, facts=recorded)


def trimmed(recipe: Recipe, plan: Plan) -> Recipe:
    """A recipe without the spaces that are not there: their slots, router inputs, modalities."""

    def whole(slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        return tuple(slot for slot in slots if slot.parts.keys() <= plan.spaces.keys())

    slots = {m: whole(listed) for m, listed in recipe.slots.items() if whole(listed)}
    inputs = {
        m: names
        for m, names in recipe.router_inputs.items()
        if m in slots and set(names) <= plan.spaces.keys()
    }
    aligned = tuple(name for name in recipe.aligned if name in plan.spaces)
    return replace(recipe, slots=slots, router_inputs=inputs, aligned=aligned, checkpoint="")


@dataclass(frozen=True, kw_only=True)
class _Given:
    recipe: Recipe
    rows: StoreRows
    tuples: Tuples
    made_of: str


def _given(plan: Plan) -> _Given:
    made_of = paired(plan)
    if made_of is None:
        raise TrainingError(
            f"to learn from the pairs in {plan.out}",
            found="the stage `pair` is not done, or its pools or options have changed since",
            next_step="run it first, with the same options: omnibind bind ... --stage pair",
        )
    return _Given(
        recipe=trimmed(plan.recipe, plan),
        rows=StoreRows(Store(store_folder(plan.out)), plan.spaces.values()),
        tuples=read_tuples(plan.out / PAIRS / "tuples.parquet"),
        made_of=made_of,
    )


def _trained(
    run: Callable[..., Trained], plan: Plan, given: _Given, progress: Progress, label: str
) -> Ran:
    with _steps(progress, label) as on_step:
        found = run(
            plan.out,
            recipe=given.recipe,
            rows=given.rows,
            tuples=given.tuples,
            inputs=given.made_of,
            on_step=on_step,
        )
    facts = found.facts
    said = f"{facts['steps']} steps in {facts['seconds']:.0f} s"
    return Ran(skipped=found.skipped, facts={**facts, "said": said})


def _refuse_unless_done(out: Path, stage: str) -> None:
    if not (out / stage / "done.json").is_file():
        raise TrainingError(
            f"what the stage `{stage}` makes in {out}",
            found="nothing: it is not done",
            next_step=f"run it first, with the same options: omnibind bind ... --stage {stage}",
        )


@contextmanager
def _steps(progress: Progress, label: str) -> Generator[OnStep]:
    """A bar that is advanced by steps; its own estimate of the time left is used."""
    with progress(label, None) as advance:
        at = [0]

        def on_step(step: int, steps: int, seconds_left: float) -> None:
            advance(step - at[0], steps)
            at[0] = step

        yield on_step


def _facts(plan: Plan) -> dict[str, Any]:
    """What a reader of the checkpoint should know of its data."""
    report = _content(plan.out / PAIRS, "report.json")
    return {
        "pools": {m: [pool.where for pool in pools] for m, pools in plan.pools.items()},
        "excluded": _content(plan.out / PAIRS, "exclusions.json"),
        "links": report["links"],
        "distinct_pairs": report["distinct_pairs"],
    }


def _content(folder: Path, name: str = "done.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))
