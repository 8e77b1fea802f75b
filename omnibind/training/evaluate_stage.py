"""The stage `evaluate`: what was bound, measured on benchmarks, into DIR/evaluate.

Its figures go into the checkpoint and its model card. Without a benchmark nothing is measured, and
both say so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omnibind.checkpoint import BoundCheckpoint
from omnibind.embedder import Embedder
from omnibind.errors import OmnibindError
from omnibind.evaluation import (
    Benchmark,
    Evaluation,
    content_ids,
    labelled_items,
    read_benchmark,
    said_of,
)
from omnibind.evaluation.labelled import LabelledItem
from omnibind.seen import SEEN, Seen, read_seen
from omnibind.training.done import done, fingerprint, mark_done
from omnibind.training.plan import Plan, Ran
from omnibind.training.progress import Progress, Talk
from omnibind.weights.checksums import checksum

__all__ = [
    "NOT_MEASURED",
    "encoded_benchmark",
    "measure",
    "measured",
    "model_of",
    "unmeasured",
]

FOLDER = "evaluate"
NOT = "not_measured"
NOT_MEASURED = "not measured: no benchmark was given (`--evaluate DATA`)"


def measure(
    plan: Plan, bound: BoundCheckpoint, made_of: str, progress: Progress, talk: Talk
) -> Ran:
    """Measures a checkpoint on every benchmark of the plan.

    Args:
        plan: names the benchmarks.
        bound: what is measured.
        made_of: fingerprint of what it was made of.
        progress: see `omnibind.training.progress`.
        talk: told of items that failed and of those that training has seen.

    A benchmark that cannot be measured is named and recorded as such: what was learned is not lost
    by it. It is tried again by the next run.
    """
    if not plan.benchmarks:
        talk("how good it is, is not measured: name a benchmark with --evaluate")
        return Ran(skipped=True, asked=False, facts={"said": NOT_MEASURED})
    facts = measured(plan, made_of)
    if facts is not None and not unmeasured(facts):
        return Ran(skipped=True, facts=facts)
    inputs, folder, model = _inputs(plan, made_of), plan.out / FOLDER, model_of(bound, plan)
    seen = read_seen(_seen(plan)) if _seen(plan).is_file() else None
    found, written = dict[str, Any](), list[Path]()
    for name, data in _named(plan.benchmarks).items():
        try:
            benchmark = encoded_benchmark(plan, model, data, seen, progress, talk)
            evaluation = benchmark.evaluate(model, plan.prompts)
        except OmnibindError as error:
            talk(f"warning: {data} is not measured: {error}")
            found[data] = {NOT: str(error)}
            continue
        evaluation.write(folder / name)
        written += sorted(path for path in (folder / name).rglob("*") if path.is_file())
        found[data] = {**evaluation.summary(), "failed": len(benchmark.failures)}
        talk(f"{data}: {_said(evaluation)}; all of it in {folder / name}")
    made: dict[str, Any] = {"benchmarks": found}
    missing = len(unmeasured(made))
    said = f"{len(found) - missing} benchmarks measured in {folder}"
    made["said"] = f"{said}, {missing} could not be" if missing else said
    mark_done(folder, inputs, made, written)
    return Ran(skipped=False, facts=made)


def unmeasured(facts: Mapping[str, Any]) -> list[str]:
    """Benchmarks that could not be measured, of what the stage has recorded."""
    return [data for data, one in facts.get("benchmarks", {}).items() if NOT in one]


def measured(plan: Plan, made_of: str) -> Mapping[str, Any] | None:
    """What the stage has recorded of this checkpoint; None where a benchmark or it has changed."""
    return done(plan.out / FOLDER, _inputs(plan, made_of))


def model_of(bound: BoundCheckpoint, plan: Plan) -> Embedder:
    """Embeds by a checkpoint, with the engine of the plan."""
    cards = [plan.spaces[name] for name in bound.recipe.spaces if name in plan.spaces]
    return Embedder(bound.binder(), cards, plan.engine, plan.known)


def encoded_benchmark(
    plan: Plan, model: Embedder, data: str, seen: Seen | None, progress: Progress, talk: Talk
) -> Benchmark:
    """Encodes a benchmark, and says which items failed and which training has seen."""
    items = labelled_items(data, plan.known)
    with progress(f"encoding {data}", len(items)) as advance:
        found = read_benchmark(
            model,
            items,
            name=data,
            seen=seen,
            on_done=partial(_one, advance),
        )
    for failure in found.failures:
        talk(f"failed: {failure.item}: {failure.stage}: {failure.reason}")
    if found.left_out:
        talk(f"{data}: {said_of(found.left_out)}")
    if found.seen.count:
        talk(f"warning: {data}: {found.seen.said()}; leave its items out with --exclude")
    return found


def _seen(plan: Plan) -> Path:
    return plan.out / "pairs" / SEEN


def _one(advance: Any, item: object) -> None:
    advance(1)


def _inputs(plan: Plan, made_of: str) -> str:
    items = {data: _content(labelled_items(data, plan.known), plan) for data in plan.benchmarks}
    seen = _seen(plan)
    known = checksum(seen) if seen.is_file() else ""
    return fingerprint(made_of, items, plan.prompts, known)


def _content(items: Sequence[LabelledItem], plan: Plan) -> Any:
    return [content_ids(items, plan.known), [one.labels for one in items]]


def _named(benchmarks: Sequence[str]) -> dict[str, str]:
    """Folder -> benchmark."""
    found: dict[str, str] = {}
    for data in dict.fromkeys(benchmarks):
        name = re.sub(r"[^\w.-]+", "-", Path(data).stem) or "benchmark"
        found[name if name not in found else f"{name}-{len(found) + 1}"] = data
    return found


def _said(evaluation: Evaluation) -> str:
    figures = [found.mean_average_precision.value for _, _, found in evaluation.whole]
    if not figures:
        tops = {m: found.bound.top[1].value for m, found in evaluation.classified.items()}
        return ", ".join(f"{m} top-1 {value:.3f}" for m, value in tops.items())
    return f"mean mAP of {len(figures)} directions {sum(figures) / len(figures):.3f}"
