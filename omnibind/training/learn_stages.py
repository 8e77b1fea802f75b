"""The stages `project`, `route`, `evaluate` and `checkpoint`: what is learned, as one folder.

DIR/project     a projector a space, curves of heads
DIR/route       trained routers, slot priors, their curves
DIR/evaluate    its figures on benchmarks, where some were given
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

from omnibind.checkpoint import BoundCheckpoint, is_whole, write_checkpoint
from omnibind.errors import TrainingError
from omnibind.named import CONTENT
from omnibind.seen import SEEN
from omnibind.specs import Recipe, Slot
from omnibind.store import Store, StoreRows
from omnibind.training import project as projecting
from omnibind.training import route as routing
from omnibind.training.asked import write_asked
from omnibind.training.descent import OnStep
from omnibind.training.done import Trained, done, fingerprint, mark_done
from omnibind.training.embed_stage import embedded
from omnibind.training.evaluate_stage import NOT_MEASURED, measure, measured
from omnibind.training.exchange import exchange, finish_exchange
from omnibind.training.pair_stage import FOLDER as PAIRS
from omnibind.training.pair_stage import paired
from omnibind.training.plan import Plan, Ran
from omnibind.training.progress import Progress, Talk
from omnibind.training.tuples import Tuples, read_tuples
from omnibind.writing import copy_file

__all__ = [
    "CHECKPOINT",
    "checkpoint",
    "evaluate",
    "paired_facts",
    "project",
    "route",
    "steps",
    "trimmed",
]

CHECKPOINT = "checkpoint"
PAIR = "pair"
DONE = "checkpoint.json"


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
        TrainingError: an earlier stage is not done by these pools and options, or training cannot
            start or had to stop.
    """
    given = _given(plan)
    _refuse_unless_made(plan, given, "project")
    if not given.recipe.router_inputs:
        talk(f"{given.recipe.name} has no router inputs: slots weigh the same, nothing to train")
    run = partial(routing.run, settings=plan.settings.routers)
    return _trained(run, plan, given, progress, "route")


def evaluate(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Measures what was learned on the plan's benchmarks; see `omnibind.training.evaluate_stage`.

    Raises:
        TrainingError: an earlier stage is not done by these pools and options.
        SetupError, MediaError: a benchmark that is not there, or of which nothing can be encoded.
    """
    bound = _bound(plan)
    return measure(plan, bound, _learned(plan), progress, talk)


def checkpoint(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Writes the bound checkpoint, with what it was made of.

    Raises:
        TrainingError: an earlier stage is not done by these pools and options.
    """
    bound, folder = _bound(plan), plan.out / CHECKPOINT
    finish_exchange(folder)
    bound = replace(
        bound,
        facts={**paired_facts(plan, plan.out / PAIRS), "evaluation": _figures(plan), **bound.facts},
    )
    made_of = fingerprint(bound.facts, _learned(plan))
    write_asked(plan)
    recorded = {"said": str(folder), "folder": str(folder)}
    if done(plan.out, made_of, DONE) is not None and is_whole(folder):
        return Ran(skipped=True, facts=recorded)
    for name in _added(folder):
        talk(f"{name} had been added to {folder}; it is no part of the new checkpoint")
    part = plan.out / f"{CHECKPOINT}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    copy_file(plan.out / PAIRS / SEEN, part / SEEN)
    write_checkpoint(bound, part, plan.spaces)
    exchange(part, folder)
    mark_done(plan.out, made_of, recorded, name=DONE)
    return Ran(skipped=False, facts=recorded)


def paired_facts(plan: Plan, pairs: Path) -> dict[str, Any]:
    """What a reader of a checkpoint should know of the data that it was trained on.

    Args:
        plan: names the pools.
        pairs: the folder that the stage `pair` made of them.
    """
    report = _content(pairs, "report.json")
    return {
        "pools": {m: [pool.where for pool in pools] for m, pools in plan.pools.items()},
        "excluded": _content(pairs, "exclusions.json"),
        "links": report["links"],
        "distinct_pairs": report["distinct_pairs"],
    }


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
    there = (tuple(n for n in group if n in plan.spaces) for group in recipe.rotated)
    return replace(
        recipe,
        slots=slots,
        router_inputs=inputs,
        aligned=aligned,
        rotated=tuple(group for group in there if group),
        checkpoint="",
    )


@dataclass(frozen=True, kw_only=True)
class _Given:
    recipe: Recipe
    rows: StoreRows
    tuples: Tuples
    made_of: str


def _given(plan: Plan) -> _Given:
    made_of = paired(plan)
    if made_of is None:
        raise _not_made(plan.out, "embed" if embedded(plan) is None else PAIR)
    return _Given(
        recipe=trimmed(plan.recipe, plan),
        rows=StoreRows(Store(plan.store_folder()), plan.spaces.values()),
        tuples=read_tuples(plan.out / PAIRS / "tuples.parquet"),
        made_of=made_of,
    )


def _trained(
    run: Callable[..., Trained], plan: Plan, given: _Given, progress: Progress, label: str
) -> Ran:
    with steps(progress, label) as on_step:
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
    if not facts["steps"]:
        said = "nothing to train" if label == "route" else f"rotations in {facts['seconds']:.0f} s"
    return Ran(skipped=found.skipped, facts={**facts, "said": said})


def _refuse_unless_made(plan: Plan, given: _Given, stage: str) -> None:
    """What `project` or `route` made has to be of this recipe, these pairs and these settings."""
    settings, wanted = plan.settings, (given.recipe, given.rows, given.tuples)
    inputs = (
        projecting.made_of(*wanted, settings.heads, given.made_of)
        if stage == "project"
        else routing.made_of(plan.out, *wanted, settings.routers, given.made_of)
    )
    if done(plan.out / stage, inputs) is None:
        raise _not_made(plan.out, stage)


def _not_made(out: Path, stage: str) -> TrainingError:
    folder = out / (PAIRS if stage == PAIR else stage)
    found = "nothing: it is not done"
    if (folder / "done.json").is_file():
        found = "what other pools, options or recipe gave, or files that are gone or damaged"
    return TrainingError(
        f"what the stage `{stage}` makes in {out}, of what is asked for now",
        found=found,
        next_step=f"run it first, with the same options: omnibind bind ... --stage {stage}",
    )


@contextmanager
def steps(progress: Progress, label: str) -> Generator[OnStep]:
    """A bar that is advanced by steps; its own estimate of the time left is used."""
    with progress(label, None) as advance:
        at = [0]

        def on_step(step: int, steps: int, seconds_left: float) -> None:
            advance(step - at[0], steps)
            at[0] = step

        yield on_step


def _bound(plan: Plan) -> BoundCheckpoint:
    """What the stages `project` and `route` amount to, if they were done by what is asked for."""
    given = _given(plan)
    for stage in ("project", "route"):
        _refuse_unless_made(plan, given, stage)
    return routing.bound(plan.out, given.recipe)


def _learned(plan: Plan) -> str:
    """A fingerprint of heads and routers, by what they were made of."""
    return fingerprint([_content(plan.out / s)["fingerprint"] for s in ("project", "route")])


def _figures(plan: Plan) -> Any:
    """For the checkpoint: figures by benchmark.

    Raises:
        TrainingError: benchmarks were given, and the stage `evaluate` is not done.
    """
    if not plan.benchmarks:
        return NOT_MEASURED
    facts = measured(plan, _learned(plan))
    if facts is None:
        raise _not_made(plan.out, "evaluate")
    return facts["benchmarks"]


def _added(folder: Path) -> list[str]:
    """Spaces that were added to the checkpoint that is there."""
    try:
        return [str(one["space"]) for one in _content(folder, CONTENT)["facts"].get("added", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # none, or damaged beyond knowing


def _content(folder: Path, name: str = "done.json") -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))
