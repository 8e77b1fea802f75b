"""The stages of a binding, in order: each runs alone, is skipped when it is done, and resumes.

    DIR/embed   rows of pools and benchmarks in DIR/store and DIR/exclude, errors.jsonl
    DIR/pairs   tuples.parquet, report.json, exclusions.json, seen.safetensors

A further stage is one more line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnibind.errors import UnknownNameError
from omnibind.training import done
from omnibind.training.embed_stage import embed, embed_inputs
from omnibind.training.pair_stage import pair, pair_inputs
from omnibind.training.plan import Plan
from omnibind.training.progress import Progress, Talk

__all__ = ["STAGES", "Ran", "Stage", "run_stages"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        name: on the command line.
        folder: in `DIR`, with its `done.json`.
        inputs: everything that its result depends on, as JSON; it may read what earlier stages
            have made, and says which of them is missing.
        run: does what is not done yet; gives what `done.json` records, `said` in it for people.
    """

    name: str
    folder: str
    inputs: Callable[[Plan], Mapping[str, Any]]
    run: Callable[[Plan, Progress, Talk], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What became of a stage: its record, and whether it had been done before."""

    name: str
    skipped: bool
    outcome: Mapping[str, Any]


STAGES: tuple[Stage, ...] = (
    Stage(name="embed", folder="embed", inputs=embed_inputs, run=embed),
    Stage(name="pair", folder="pairs", inputs=pair_inputs, run=pair),
)


def run_stages(
    plan: Plan, progress: Progress, talk: Talk, only: Sequence[str] = ()
) -> tuple[Ran, ...]:
    """Runs stages in the table's order.

    Args:
        plan: what to bind.
        progress: see `omnibind.training.progress`.
        talk: called with sentences for people.
        only: names of stages; all where nothing is said.

    Raises:
        UnknownNameError: no such stage.
        PoolError, StoreError, RecipeError: what a stage cannot work with.
    """
    names = [stage.name for stage in STAGES]
    for name in only:
        if name not in names:
            raise UnknownNameError("stage", name, names, next_step="name one of these")
    ran: list[Ran] = []
    for stage in STAGES:
        if not only or stage.name in only:
            inputs = stage.inputs(plan)
            outcome = done.outcome_of(plan.out, stage.folder, inputs)
            skipped = outcome is not None
            if not skipped:
                done.forget(plan.out, stage.folder)
                outcome = stage.run(plan, progress, talk)
                done.mark_done(plan.out, stage.folder, inputs, outcome)
            ran.append(Ran(name=stage.name, skipped=skipped, outcome=outcome))
    return tuple(ran)
