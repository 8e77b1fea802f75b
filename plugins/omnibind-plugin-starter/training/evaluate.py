"""Measures a bound model on the test bed, beside its members and what it would be without training.

    python pools.py --out DIR && python evaluate.py --pools DIR --out results
    python evaluate.py --pools DIR --recipe bound/checkpoint --others ablations

Nothing here was trained on. Intervals are 95 %, over resampled queries; differences are paired.
`omnibind evaluate DIR/tuxpaint.csv` gives the first table of one benchmark in more detail.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import omnibind
from omnibind import evaluation
from omnibind.binder import Binder
from omnibind.evaluation import AnyToAny, LabelledRows

BENCHMARKS = {
    "Tux Paint": "tuxpaint.csv",
    "Tux Paint, case folded": "tuxpaint-folded.csv",
    "Tux Paint sounds": "tuxpaint-sounds.csv",
    "24 concepts": "concepts.csv",
    "48 concepts": "concepts48.csv",
    "furniture": "furniture.csv",
    "further sounds": "further-sounds.csv",
}
MEASURED = ("Tux Paint", "Tux Paint sounds", "48 concepts", "furniture", "further sounds")
"""What means over directions are taken over: each item once."""
NEVER_TOGETHER = (("audio", "points"), ("points", "audio"), ("audio", "image"), ("image", "audio"))
QUICK, DRAWS = 10, 2000


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Rows of a table of labelled items, and what the members make of them."""

    rows: LabelledRows
    alone: Mapping[str, AnyToAny]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pools", type=Path, required=True, help="what pools.py has written")
    parser.add_argument("--recipe", default="starter", help="or the folder of a checkpoint")
    parser.add_argument("--others", type=Path, help="what ablate.py has written")
    parser.add_argument("--out", type=Path, help="writes OUT.md and OUT.json")
    asked = parser.parse_args()
    model = omnibind.load(asked.recipe)
    benchmarks = {name: read(model, asked.pools / file) for name, file in BENCHMARKS.items()}
    others = sorted(asked.others.glob("*/checkpoint")) if asked.others else []
    binders = {one.parent.name.replace("-", " "): omnibind.load(one).binder for one in others}
    lines = [*directions(model.binder, benchmarks), "", *together(model.binder, benchmarks), ""]
    lines += [*weighing(model.binder, benchmarks), ""]
    lines += [*ablations(model.binder, binders, benchmarks), "", *unseen(model.binder, benchmarks)]
    print("\n".join(lines))
    if asked.out:
        asked.out.with_suffix(".md").write_text("\n".join([*lines, ""]), encoding="utf-8")
        facts = {name: evaluated(model.binder, one) for name, one in benchmarks.items()}
        asked.out.with_suffix(".json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def read(model: omnibind.Embedder, table: Path) -> Benchmark:
    """Encodes a table; every item of the test bed has to have its rows."""
    items = evaluation.labelled_items(table, model.known)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # meshes that lack a texture
        rows, failed = evaluation.encoded(model, items)
    if failed:
        raise SystemExit(f"error: {len(failed)} items of {table} failed, the first: {failed[0]}")
    return Benchmark(rows=rows, alone=evaluation.members(rows))


def evaluated(binder: Binder, one: Benchmark) -> dict[str, Any]:
    """All figures of a benchmark, as JSON."""
    whole = evaluation.bound(binder, one.rows)
    return {"bound": whole.to_json(), "members": {n: a.to_json() for n, a in one.alone.items()}}


def directions(binder: Binder, benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    """Bound beside the best member, which is chosen on the same queries by the same metric."""
    head = "| | queries | candidates | R@1 | R@5 | R@10 | mAP | best member, mAP "
    yield head + "| bound - member, mAP | R@10 |"
    yield "|---" * 10 + "|"
    for name, one in benchmarks.items():
        whole = evaluation.bound(binder, one.rows)
        best = {metric: evaluation.compare(whole, one.alone, metric) for metric in ("mAP", "R@10")}
        for a, b, found in whole:
            figures = [found.figures[metric] for metric in ("R@1", "R@5", "R@10", "mAP")]
            cells = [f"{one.value:.3f} ({one.low:.2f}-{one.high:.2f})" for one in figures]
            for metric, members in best.items():
                if (a, b) in members:
                    member, theirs = members[a, b]
                    gain = found.minus(theirs, metric)
                    if metric == "mAP":
                        cells.append(f"{theirs.figures[metric].value:.3f} {member}")
                    cells.append(f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")
                else:
                    cells += [""] * (2 if metric == "mAP" else 1)
            row = [f"{name}: {a} -> {b}", str(found.queries), str(found.candidates), *cells]
            yield f"| {' | '.join(row)} |"


def together(binder: Binder, benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    """A line a direction: all its queries in the benchmarks that are `MEASURED`.

    The best member is chosen on these queries by the same metric.
    """
    head = "| all queries of a direction | queries | mAP | best member "
    yield head + "| bound - member, mAP | R@10 |"
    yield "|---" * 6 + "|"
    bound = {n: evaluation.bound(binder, benchmarks[n].rows, resamples=QUICK) for n in MEASURED}
    for pair in dict.fromkeys(pair for whole in bound.values() for pair in whole.pairs):
        at = [name for name in MEASURED if pair in bound[name].pairs]
        spaces = [s for s, one in benchmarks[at[0]].alone.items() if pair in one.pairs]
        if not spaces:
            continue
        cells: list[str] = []
        for metric in ("mAP", "R@10"):
            mine = np.concatenate([bound[name].pairs[pair].values[metric] for name in at])
            theirs = {
                space: np.concatenate(
                    [benchmarks[name].alone[space].pairs[pair].values[metric] for name in at]
                )
                for space in spaces
            }
            best = max(spaces, key=lambda space: theirs[space].mean())
            gain = _interval([mine - theirs[best]])
            cells += [str(len(mine)), f"{mine.mean():.3f}"] if not cells else []
            cells += [f"{theirs[best].mean():.3f} {best}"] if metric == "mAP" else []
            cells.append(gain)
        yield f"| {' -> '.join(pair)} | {' | '.join(cells)} |"


def weighing(binder: Binder, benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    """The learned routers, the same weights for all, and the best choice of one slot a modality.

    What the routers gain is given with its interval, over queries resampled in each direction.
    """
    uniform, usual = Binder(binder.recipe, {}), Binder(binder.recipe, {}, {}, binder.priors)
    for other in (uniform.eval(), usual.eval()):
        other.projectors = binder.projectors
    slots = {m: [slot.name for slot in listed] for m, listed in binder.recipe.slots.items()}
    choices = [dict(zip(slots, one, strict=True)) for one in product(*slots.values())]
    best = max(choices, key=lambda one: means(values(binder, benchmarks, only=one))["mAP"])
    learned = values(binder, benchmarks)
    ways = {
        "learned router": learned,
        "the router's mean weights": values(usual, benchmarks),
        "the same for all": values(uniform, benchmarks),
        f"one slot a modality, the best choice: {', '.join(best.values())}": values(
            binder, benchmarks, only=best
        ),
    }
    yield "| slot weights | mean mAP | mean R@1 | mean R@10 | learned router better by, mAP |"
    yield "|---" * 5 + "|"
    for name, found in ways.items():
        pairs = zip(learned["mAP"], found["mAP"], strict=True)
        gain = "" if found is learned else _interval([mine - theirs for mine, theirs in pairs])
        yield f"{_means(name, means(found))} {gain} |"


def ablations(
    binder: Binder, others: Mapping[str, Binder], benchmarks: Mapping[str, Benchmark]
) -> Iterator[str]:
    """Checkpoints that were trained otherwise, and this one without each of its slots."""
    yield "| trained | mean mAP | mean R@1 | mean R@10 |"
    yield "|---" * 4 + "|"
    yield _means("as shipped", means(values(binder, benchmarks)))
    for name, other in others.items():
        yield _means(name, means(values(other, benchmarks)))
    for slot in dict.fromkeys(s.name for listed in binder.recipe.slots.values() for s in listed):
        found = means(values(binder, benchmarks, without=[slot]))
        yield _means(f"without the slot {slot}", found)


def unseen(binder: Binder, benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    """Pairs of modalities that no space has both of."""
    head = "| no space has both | queries | candidates | R@1 "
    yield head + "| chance | R@1 / chance | R@10 | chance |"
    yield "|---" * 8 + "|"
    for name in ("24 concepts", "48 concepts"):
        whole = evaluation.bound(binder, benchmarks[name].rows)
        for pair in NEVER_TOGETHER:
            found = whole.pairs[pair]
            first, tenth = found.recall[1], found.recall[10]
            cells = [f"{name}: {' -> '.join(pair)}", str(found.queries), str(found.candidates)]
            cells += [f"{first.value:.3f} ({first.low:.2f}-{first.high:.2f})"]
            cells += [f"{first.chance:.4f}", f"{first.value / first.chance:.1f}"]
            cells += [f"{tenth.value:.3f}", f"{tenth.chance:.3f}"]
            yield f"| {' | '.join(cells)} |"


def values(
    binder: Binder,
    benchmarks: Mapping[str, Benchmark],
    *,
    only: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> dict[str, list[NDArray[np.float64]]]:
    """By metric, a number a query for each direction of the benchmarks that are `MEASURED`."""
    found: dict[str, list[NDArray[np.float64]]] = {"mAP": [], "R@1": [], "R@10": []}
    for name in MEASURED:
        rows = benchmarks[name].rows
        if only:
            joint = {m: _one_slot(binder, m, spaces, only[m]) for m, spaces in rows.rows.items()}
            whole = evaluation.any_to_any(joint, rows.labels, resamples=QUICK)
        else:
            whole = evaluation.bound(binder, rows, without=without, resamples=QUICK)
        for _, _, one in whole:
            for metric, listed in found.items():
                listed.append(one.values[metric])
    return found


def means(found: Mapping[str, Sequence[NDArray[np.float64]]]) -> dict[str, float]:
    """By metric, the mean over directions."""
    return {metric: mean(float(one.mean()) for one in listed) for metric, listed in found.items()}


def _interval(differences: Sequence[NDArray[np.float64]]) -> str:
    """The mean over directions, and its 95 % interval: queries are drawn anew in each."""
    random = np.random.default_rng(0)
    drawn = np.mean(
        [one[random.integers(len(one), size=(DRAWS, len(one)))].mean(1) for one in differences], 0
    )
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{np.mean([one.mean() for one in differences]):+.3f} ({low:+.3f} to {high:+.3f})"


def _one_slot(
    binder: Binder, modality: str, spaces: Mapping[str, torch.Tensor], slot: str
) -> torch.Tensor:
    others = [one.name for one in binder.recipe.slots[modality] if one.name != slot]
    with torch.no_grad():
        return binder(modality, spaces, without=others).rows


def _means(name: str, found: Mapping[str, float]) -> str:
    return f"| {name} | {found['mAP']:.3f} | {found['R@1']:.3f} | {found['R@10']:.3f} |"


if __name__ == "__main__":
    main()
