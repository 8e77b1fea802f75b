"""Adds a space to a bound checkpoint: its heads, and one new row in each router it takes part in.

Everything else stays: the old projector files byte for byte, the old rows of the routers number
for number, their BatchNorm statistics. Ours; reviewers of the paper asked for it.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from omnibind.binder import Binder
from omnibind.checkpoint import BoundCheckpoint, read_checkpoint, write_checkpoint
from omnibind.errors import TrainingError
from omnibind.projectors import HeadEnsemble, Projector
from omnibind.seen import SEEN, Seen, read_seen, write_seen
from omnibind.specs import Recipe, Slot, SpaceSpec
from omnibind.training.descent import DescentSettings, OnStep, descend
from omnibind.training.done import fingerprint, of_rows, of_tuples
from omnibind.training.exchange import exchange, finish_exchange
from omnibind.training.grown import GrownRouter
from omnibind.training.heads import FEWEST, HeadSettings, modalities_of
from omnibind.training.project import train_heads
from omnibind.training.rotate import rotations
from omnibind.training.route import loads, router_tuples
from omnibind.training.routers import RouterObjective, RouterSettings
from omnibind.training.transfer import transferred
from omnibind.training.tuples import RowSource, Tuples

__all__ = ["SHARE", "Added", "Measure", "add", "all_seen", "grow", "grown_recipe"]

SHARE = 0.08
"""Of the full bind's work, that is spent on a new space by default; a step of the heads of one
space costs more than its share of a step of all of them."""
FASTER = 4.0
"""At most so many times the full bind's learning rate: fewer steps have to lead as far."""
Measure = Callable[[BoundCheckpoint], Mapping[str, Any]]
"""Looks at a grown checkpoint before it is written, and gives facts to record in it."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What adding took.

    Attributes:
        folder: of the new checkpoint.
        seconds: of training the heads and the router rows.
        full_seconds: of the bind that the checkpoint was made by; NaN where it did not say.
    """

    folder: Path
    seconds: float
    full_seconds: float

    @property
    def share(self) -> float:
        """Of the full bind's time."""
        return self.seconds / self.full_seconds

    @property
    def known(self) -> bool:
        """Whether the checkpoint says how long the full bind took."""
        return not math.isnan(self.full_seconds)


def add(
    space: str,
    *,
    to: Path,
    rows: RowSource,
    tuples: Tuples,
    spaces: Mapping[str, SpaceSpec],
    out: Path | None = None,
    heads: HeadSettings | None = None,
    routers: RouterSettings | None = None,
    seen: Seen | None = None,
    facts: Mapping[str, Any] | None = None,
    measure: Measure | None = None,
    on_step: OnStep | None = None,
) -> Added:
    """Trains what a new space needs and writes a checkpoint that has it.

    A killed run goes on where it had saved its state; a checkpoint folder is whole or not there.

    Args:
        space: with rows of at least one pool.
        to: folder of the checkpoint.
        rows: of the pools, of the new space and of those in the checkpoint.
        tuples: made by the stage `pair`.
        spaces: cards, for licences and revisions.
        out: another folder for the result; by default it takes the place of `to`.
        heads: by default those of the checkpoint, with as many steps as `SHARE` of the full
            bind's work pays for, at a rate that is raised as the steps are fewer; of the batch,
            what can be shared out among the modalities of the new space.
        routers: likewise.
        seen: the items that are trained on now; what the checkpoint has seen before is
            kept beside them. Without it only that is kept.
        facts: of these items, to record beside the settings.
        measure: called with the grown checkpoint before it is written; gives facts to record.
        on_step: told of each step.

    Raises:
        TrainingError: the space is there already, has no rows, or training had to stop.
        CheckpointError: `to` is no checkpoint.
    """
    finish_exchange(to)
    before, place = read_checkpoint(to), out or to
    work = place.with_name(f"{place.name}.adding")
    after, seconds = grow(before, space, rows, tuples, work, heads, routers, on_step)
    *earlier, now = after.facts["added"]
    after = replace(after, facts={**after.facts, "added": [*earlier, {**now, **(facts or {})}]})
    if measure:
        after = replace(after, facts={**after.facts, **measure(after)})
    part = work / "checkpoint"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    if (known := all_seen(to, seen)) is not None:
        write_seen(known, part / SEEN)
    write_checkpoint(after, part, spaces, as_in=to)
    exchange(part, place)
    shutil.rmtree(work)
    return Added(folder=place, seconds=seconds, full_seconds=_full_seconds(before))


def all_seen(checkpoint: Path, now: Seen | None = None) -> Seen | None:
    """What a checkpoint has seen, and what it is trained on now; None where it does not say what it
    has seen: then nobody could tell what it has not.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not (checkpoint / SEEN).is_file():
        return None
    before = read_seen(checkpoint / SEEN)
    return before | now if now else before


def grow(
    before: BoundCheckpoint,
    space: str,
    rows: RowSource,
    tuples: Tuples,
    work: Path,
    heads: HeadSettings | None = None,
    routers: RouterSettings | None = None,
    on_step: OnStep | None = None,
) -> tuple[BoundCheckpoint, float]:
    """The checkpoint with the new space, and the seconds that training took; see `add`."""
    reads = modalities_of(rows, space, tuples)
    recipe = grown_recipe(before.recipe, space, reads)
    shared = set(reads) & set(modalities_of(rows, recipe.backbone, tuples))
    if shared and _turns(before):
        recipe = replace(recipe, rotated=(*recipe.rotated, (space,)))
    heads = heads or _fewer_heads(before, len(reads))
    routers = routers or _fewer_routers(before)
    made_of = fingerprint(
        asdict(recipe), asdict(heads), asdict(routers), of_rows(rows, tuples), of_tuples(tuples)
    )
    projectors, begun_from, learned = _projector(
        before, recipe, space, rows, tuples, heads, work / "heads", made_of, on_step
    )
    after = replace(
        before,
        recipe=recipe,
        projectors={**before.projectors, **projectors},
        priors=_fair_priors(before, recipe, space),
    )
    after, router_seconds = _grow_routers(
        after, space, rows, tuples, routers, work, made_of, on_step
    )
    seconds = learned + router_seconds
    settings: dict[str, Any] = {"space": space, "begun_from": begun_from}
    settings |= {"heads": asdict(heads), "routers": asdict(routers)}
    facts = {**after.facts, "added": [*after.facts.get("added", ()), settings]}
    timings = {**after.timings, f"add {space}": seconds}
    return replace(after, facts=facts, timings=timings), seconds


def _projector(
    before: BoundCheckpoint,
    recipe: Recipe,
    space: str,
    rows: RowSource,
    tuples: Tuples,
    heads: HeadSettings,
    work: Path,
    inputs: str,
    on_step: OnStep | None,
) -> tuple[Mapping[str, Projector], str | None, float]:
    """The new space's projector, the old space that its heads began from, and the seconds."""
    began, seed = time.monotonic(), heads.descent.seed
    if space in recipe.headless:
        turned = rotations((space,), recipe.backbone, rows, tuples, seed=seed)
        return turned, None, time.monotonic() - began
    given = transferred(space, before.projectors, rows, tuples, seed=seed)
    name, first = (given[0], {space: given[1]}) if given else (None, {})
    fitted = time.monotonic() - began
    trained, _, took = train_heads(
        work, recipe, (space,), rows, tuples, heads, inputs, on_step=on_step, first=first
    )
    return trained, name, fitted + took["seconds"]


def _turns(checkpoint: BoundCheckpoint) -> bool:
    """Whether a new space is rotated as the old ones are: none of them has heads."""
    heads = any(isinstance(one, HeadEnsemble) for one in checkpoint.projectors.values())
    return bool(checkpoint.recipe.rotated) and not heads


def grown_recipe(recipe: Recipe, space: str, reads: Sequence[str]) -> Recipe:
    """The recipe with a slot of the new space in every modality that it reads.

    Raises:
        TrainingError: it is there already, or reads nothing of the pools.
    """
    if space in recipe.spaces:
        raise TrainingError(
            f"the space {space!r} added to {recipe.name!r}",
            found="it is there already",
            next_step="bind again to train it anew",
        )
    if not reads:
        raise TrainingError(
            f"rows of {space!r} to train on",
            found="none in the pools",
            next_step="give a pool of a modality that it reads, and embed it first",
        )
    grown = {m: (*recipe.slots.get(m, ()), Slot.of(space)) for m in reads}
    return replace(recipe, slots={**recipe.slots, **grown})


def _fewer_heads(checkpoint: BoundCheckpoint, modalities: int) -> HeadSettings:
    facts = _stage(checkpoint, "project")
    settings = HeadSettings(**_with_descent(facts.get("settings", {})))
    count = len(facts.get("spaces", ())) or 1
    batch = max(settings.batch // modalities, FEWEST) * modalities
    return replace(settings, batch=batch, descent=_fewer(settings.descent, SHARE * count))


def _fewer_routers(checkpoint: BoundCheckpoint) -> RouterSettings:
    settings = RouterSettings(**_with_descent(_stage(checkpoint, "route").get("settings", {})))
    return replace(settings, descent=_fewer(settings.descent, SHARE))


def _fewer(descent: DescentSettings, share: float) -> DescentSettings:
    steps = max(1, math.ceil(descent.steps * min(1.0, share)))
    faster = min(FASTER, descent.steps / steps)
    return replace(descent, steps=steps, rate=descent.rate * faster)


def _with_descent(settings: Mapping[str, Any]) -> dict[str, Any]:
    if "descent" not in settings:
        return dict(settings)
    return {**settings, "descent": DescentSettings(**settings["descent"])}


def _stage(checkpoint: BoundCheckpoint, name: str) -> Mapping[str, Any]:
    return checkpoint.facts.get("training", {}).get(name, {})


def _full_seconds(checkpoint: BoundCheckpoint) -> float:
    stages = [checkpoint.timings.get(name, math.nan) for name in ("project", "route")]
    return sum(stages)


def _fair_priors(
    before: BoundCheckpoint, recipe: Recipe, space: str
) -> dict[str, dict[str, float]]:
    """Where slots are weighed by their priors, the new one gets the mean of the others."""
    priors = {m: dict(weights) for m, weights in before.priors.items()}
    for modality, weights in priors.items():
        if any(slot.name == space for slot in recipe.slots.get(modality, ())):
            weights[space] = sum(weights.values()) / len(weights)
            total = sum(weights.values())
            priors[modality] = {slot: weight / total for slot, weight in weights.items()}
    return priors


def _grow_routers(
    checkpoint: BoundCheckpoint,
    space: str,
    rows: RowSource,
    tuples: Tuples,
    settings: RouterSettings,
    work: Path,
    inputs: str,
    on_step: OnStep | None,
) -> tuple[BoundCheckpoint, float]:
    """The checkpoint with a new row in each router of a modality that the space reads."""
    recipe = checkpoint.recipe
    reads = [m for m in checkpoint.routers if space in {slot.name for slot in recipe.slots[m]}]
    growing = {m: GrownRouter(checkpoint.routers[m], space) for m in reads}
    others = {m: router.requires_grad_(False) for m, router in checkpoint.routers.items()}
    seconds = 0.0
    if _asked(growing, recipe, rows):
        both: Mapping[str, nn.Module] = {**others, **growing}
        binder = Binder(recipe, checkpoint.projectors, both, checkpoint.priors)
        binder.projectors.requires_grad_(False)
        binder.eval()
        found = router_tuples(binder, rows, tuples, settings)
        objective = RouterObjective(binder, rows, found, settings)
        seconds = descend(
            objective, settings.descent, work / "routers", inputs=inputs, on_step=on_step
        ).seconds
    routers = {**others, **{m: router.whole() for m, router in growing.items()}}
    binder = Binder(recipe, checkpoint.projectors, routers, checkpoint.priors).eval()
    load = loads(binder, rows, tuples, settings)
    whole = {m: one for m, one in load.items() if len(one.weights) == len(recipe.slots[m])}
    priors = {**checkpoint.priors, **{m: one.weights for m, one in whole.items()}}
    return replace(checkpoint, routers=routers, priors=priors), seconds


def _asked(growing: Iterable[str], recipe: Recipe, rows: RowSource) -> list[str]:
    """The modalities whose routers have their inputs here; the others are named."""
    asked: list[str] = []
    for modality in growing:
        there = rows.spaces(modality)
        if missing := [one for one in recipe.router_inputs[modality] if one not in there]:
            warnings.warn(
                f"no rows of {', '.join(missing)}: the new row of the router for {modality!r} is "
                "not trained, and stays the mean of the others",
                stacklevel=2,
            )
        else:
            asked.append(modality)
    return asked
