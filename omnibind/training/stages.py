"""The stages of a binding, in order: each runs alone, is skipped when it is done, and resumes.

DIR/embed   rows of pools and benchmarks in DIR/store and DIR/exclude; errors.jsonl
DIR/pairs   tuples.parquet, report.json, exclusions.json, seen.safetensors
DIR/project, DIR/route, DIR/evaluate, DIR/checkpoint: see `omnibind.training.learn_stages`

A further stage is one more line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from omnibind.errors import UnknownNameError
from omnibind.store import only_writer
from omnibind.training.embed_stage import embed
from omnibind.training.learn_stages import checkpoint, evaluate, project, route
from omnibind.training.pair_stage import pair
from omnibind.training.plan import Plan, Ran
from omnibind.training.progress import Progress, Talk
from omnibind.training.strict import refuse_failed

__all__ = ["STAGES", "Stage", "run_stages"]

Stage = Callable[[Plan, Progress, Talk], Ran]
"""Does what is not done yet. It says itself whether it is done (`omnibind.training.done`), and what
it lacks of earlier stages."""

STAGES: Mapping[str, Stage] = {
    "embed": embed,
    "pair": pair,
    "project": project,
    "route": route,
    "evaluate": evaluate,
    "checkpoint": checkpoint,
}


def run_stages(
    plan: Plan, progress: Progress, talk: Talk, only: Sequence[str] = (), *, strict: bool = False
) -> dict[str, Ran]:
    """Runs stages in the table's order.

    Args:
        plan: what to bind.
        progress: see `omnibind.training.progress`.
        talk: called with sentences for people.
        only: names of stages; all where nothing is said.
        strict: stop after the stage `embed` where an item failed.

    Raises:
        UnknownNameError: no such stage.
        StoreError: another process binds into the same folder.
        PoolError, TrainingError: what a stage cannot work with.
        ItemError: only when strict; the rows that were made are kept.
    """
    for name in only:
        if name not in STAGES:
            raise UnknownNameError("stage", name, STAGES, next_step="name one of these")
    plan = replace(plan)  # pools are looked at anew, and once a run
    with only_writer(plan.out, "to bind into the folder"):
        ran: dict[str, Ran] = {}
        for name, stage in STAGES.items():
            if only and name not in only:
                continue
            ran[name] = stage(plan, progress, talk)
            if strict and name == "embed":
                refuse_failed(ran[name], plan.out)
        return ran
