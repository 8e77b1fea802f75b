"""`omnibind bind add`: from a binding and the name of a space to a checkpoint that has it.

The binding's pools are encoded by the new space alone, into a column of its store; its pairs are
used again, where they are of the items and links that are asked for; with another pool or link, or
a pool of a new modality, pairs are found anew. See `omnibind.training.add` for what is trained.

DIR/added/SPACE   what the stages `embed` and `pair` record of it
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from omnibind.binder import Binder
from omnibind.checkpoint import BoundCheckpoint, read_checkpoint
from omnibind.embedder import Embedder
from omnibind.engine import Engine
from omnibind.errors import PoolError, TrainingError
from omnibind.evaluation import AnyToAny, Evaluation, Figure, refuse_unmeasurable
from omnibind.evaluation import bound as retrieved
from omnibind.plugins import Registry
from omnibind.seen import Seen
from omnibind.store import Store, StoreRows, only_writer
from omnibind.training.add import Added, add, all_seen, grown_recipe
from omnibind.training.asked import Asked, read_asked
from omnibind.training.embed_stage import embed
from omnibind.training.evaluate_stage import encoded_benchmark, model_of
from omnibind.training.exchange import finish_exchange
from omnibind.training.learn_stages import CHECKPOINT, paired_facts, steps
from omnibind.training.links import parse_link
from omnibind.training.pair_stage import FOLDER as PAIRS
from omnibind.training.pair_stage import pair, paired_alike
from omnibind.training.plan import Plan, Settings, make_plan
from omnibind.training.progress import Progress, Talk
from omnibind.training.strict import refuse_failed
from omnibind.training.tuples import MISSING, Tuples, read_tuples

__all__ = ["Change", "SpaceAdded", "add_space"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a direction of a benchmark gained.

    Attributes:
        asked, searched: modalities.
        before: None where the old model could not do it.
        after: with the new space.
        gain: after minus before, by paired bootstrap.
    """

    asked: str
    searched: str
    before: float | None
    after: float
    gain: Figure | None


@dataclass(frozen=True, kw_only=True)
class SpaceAdded:
    """What became of it.

    Attributes:
        added: folder and cost.
        changes: by benchmark, the mAP of every direction before and after.
    """

    added: Added
    changes: Mapping[str, Sequence[Change]]


def add_space(
    space: str,
    *,
    to: Path,
    known: Registry,
    engine: Engine,
    progress: Progress,
    talk: Talk,
    pools: Sequence[str] = (),
    links: Sequence[str] = (),
    benchmarks: Sequence[str] = (),
    settings: Settings | None = None,
    strict: bool = False,
) -> SpaceAdded:
    """Encodes, pairs, trains and measures what a new space needs.

    Args:
        space: of an installed plugin.
        to: the folder of a binding, or of its checkpoint; a checkpoint that came alone needs pools.
        known: the installed plugins.
        engine: runs encoders.
        progress: see `omnibind.training.progress`.
        talk: called with sentences for people.
        pools: `MODALITY=WHERE` each, in place of the binding's of the same modality.
        links: `MODALITY-MODALITY=SPACE` each.
        benchmarks: measured before and after.
        settings: numbers, where the binding has recorded none.
        strict: stop where an item has no row of the new space.

    Raises:
        UnknownNameError: no such space.
        CheckpointError: `to` holds no checkpoint.
        PoolError: no pools are known, or none that the space reads.
        TrainingError: the space is there already, or training had to stop.
        ItemError: only when strict.
    """
    known.space(space)
    place, home = _places(to)
    finish_exchange(place)
    before = read_checkpoint(place)
    plan = _plan(space, before, home, known, engine, pools, links, benchmarks, settings)
    with only_writer(home, "to bind into the folder"):
        encoded = embed(plan, progress, talk)
        if strict:
            refuse_failed(encoded, plan.out)
        rows = StoreRows(Store(plan.store_folder()), plan.spaces.values())
        again = _reusable(plan, home, links)
        tuples = _tuples(plan, home, rows, progress, talk, again=again)
        seen = _seen(rows, tuples)
        known_seen = all_seen(place, seen)
        if known_seen is None:
            talk(f"{place} does not say what its training has seen, nor will the new one")
        tried = {
            data: encoded_benchmark(plan, _all_spaces(plan), data, known_seen, progress, talk)
            for data in plan.benchmarks
        }
        for data, benchmark in tried.items():
            refuse_unmeasurable(data, benchmark.rows.labels)
        changes: dict[str, Sequence[Change]] = {}

        def measure(after: BoundCheckpoint) -> Mapping[str, Any]:
            found: dict[str, Any] = {}
            for data, benchmark in tried.items():
                old = retrieved(before.binder(), benchmark.only(before.recipe.slots).rows)
                new = benchmark.evaluate(model_of(after, plan), plan.prompts)
                changes[data] = _changes(old, new)
                found[data] = new.summary()
            return {"evaluation": found or f"not measured since {space} was added"}

        with steps(progress, f"adding {space}") as on_step:
            added = add(
                space,
                to=place,
                rows=rows,
                tuples=tuples,
                spaces=plan.spaces,
                seen=seen,
                facts=paired_facts(plan, (home if again else plan.out) / PAIRS),
                measure=measure,
                on_step=on_step,
            )
    return SpaceAdded(added=added, changes=changes)


def _places(to: Path) -> tuple[Path, Path]:
    """The checkpoint's folder, and that of the binding whose rows and pairs are used."""
    if read_asked(to) is not None:
        return to / CHECKPOINT, to
    if read_asked(to.parent) is not None and to.name == CHECKPOINT:
        return to, to.parent
    return to, to.with_name(f"{to.name}.rows")


def _plan(
    space: str,
    before: BoundCheckpoint,
    home: Path,
    known: Registry,
    engine: Engine,
    pools: Sequence[str],
    links: Sequence[str],
    benchmarks: Sequence[str],
    settings: Settings | None,
) -> Plan:
    asked = read_asked(home)
    listed = _merged(asked.pools if asked else (), pools)
    if not listed:
        raise PoolError(
            f"pools to add {space!r} with",
            found=f"no binding in {home}, and no --pool",
            next_step="name the --out of the `omnibind bind` that made the checkpoint, or pools",
        )
    pooled = dict.fromkeys(one.partition("=")[0] for one in listed)
    reads = [m for m in pooled if m in known.space(space).encoders]
    return make_plan(
        grown_recipe(before.recipe, space, reads),
        known,
        pools=listed,
        out=home / "added" / space,
        engine=engine,
        links=_merged(asked.links if asked else (), links),
        exclude=asked.exclude if asked else (),
        benchmarks=benchmarks,
        stores=home,
        settings=settings or _numbers(asked),
    )


def _numbers(asked: Asked | None) -> Settings:
    if asked is None:
        return Settings()
    return Settings(
        batch_items=asked.batch_items,
        exact_below=asked.exact_below,
        min_pairs=asked.min_pairs,
        near_duplicate=asked.near_duplicate,
    )


def _merged(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Options of the form NAME=VALUE; those of a name that is said anew are replaced."""
    said = {one.partition("=")[0] for one in new}
    return [*(one for one in old if one.partition("=")[0] not in said), *new]


def _reusable(plan: Plan, home: Path, links: Sequence[str]) -> bool:
    """Whether the binding's pairs are those of the pools and links that are asked for."""
    asked = {"-".join(pair) for pair, _ in (parse_link(link, plan.pools) for link in links)}
    return paired_alike(home, plan, asked)


def _tuples(
    plan: Plan, home: Path, rows: StoreRows, progress: Progress, talk: Talk, *, again: bool
) -> Tuples:
    """Tuples whose items have rows of every space."""
    if again:
        tuples = read_tuples(home / PAIRS / "tuples.parquet")
        talk(f"the {len(tuples)} tuples of {home / PAIRS} are used again")
        return _whole(plan, tuples, rows, talk)
    if (home / PAIRS / "tuples.parquet").is_file():
        talk(f"the tuples of {home / PAIRS} are of other items or options: pairs are found anew")
    pair(plan, progress, talk)
    return read_tuples(plan.out / PAIRS / "tuples.parquet")


def _seen(rows: StoreRows, tuples: Tuples) -> Seen:
    """Items that the new space is trained on."""
    return Seen.of({m: rows.store.digests(m)[at.numpy()] for m, at in tuples.pools.items()})


def _whole(plan: Plan, tuples: Tuples, rows: StoreRows, talk: Talk) -> Tuples:
    kept = torch.ones(len(tuples), dtype=torch.bool)
    for modality, items in tuples.items.items():
        kept &= torch.from_numpy(rows.whole(modality))[items] | (items == MISSING)
    if int(kept.sum()) < plan.settings.min_pairs:
        raise TrainingError(
            f"at least {plan.settings.min_pairs} tuples whose items have rows of every space",
            found=f"{int(kept.sum())} of {len(tuples)}; see {plan.out / 'embed'}",
            next_step="mend the items that the new space could not encode, or give other pools",
        )
    if not kept.all():
        talk(f"{int((~kept).sum())} tuples have an item without a row of the new space: left out")
    return tuples if kept.all() else tuples.only(kept)


def _all_spaces(plan: Plan) -> Embedder:
    """Encodes by every space of the grown recipe; binds nothing."""
    cards = [plan.spaces[name] for name in plan.recipe.spaces if name in plan.spaces]
    return Embedder(Binder(plan.recipe, {}), cards, plan.engine, plan.known)


def _changes(before: AnyToAny, after: Evaluation) -> list[Change]:
    found: list[Change] = []
    for a, b, new in after.whole:
        old = before.pairs.get((a, b))
        found.append(
            Change(
                asked=a,
                searched=b,
                before=old.mean_average_precision.value if old else None,
                after=new.mean_average_precision.value,
                gain=new.minus(old, "mAP") if old else None,
            )
        )
    return found
