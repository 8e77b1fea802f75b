"""The stage `pair`: rows in DIR/store -> pseudo tuples in DIR/pairs, without what is excluded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnibind.errors import PoolError
from omnibind.seen import SEEN, Seen, write_seen
from omnibind.store import Store, StoreRows
from omnibind.training.done import done, fingerprint, last_done, mark_done
from omnibind.training.embed_stage import embedded
from omnibind.training.leakage import Excluded, judging_space, near_duplicates
from omnibind.training.neighbours import Side
from omnibind.training.noise import refuse_too_few
from omnibind.training.pairs import Pairing, make_tuples
from omnibind.training.plan import Plan, Ran
from omnibind.training.progress import Progress, Talk
from omnibind.training.rows_made import read_items
from omnibind.training.tuples import write_tuples
from omnibind.weights.checksums import checksum
from omnibind.writing import write_text

__all__ = ["FOLDER", "pair", "paired", "paired_alike"]

FOLDER = "pairs"
TUPLES = "tuples.parquet"
OUTPUTS = (TUPLES, "report.json", "exclusions.json", SEEN)


def pair(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Finds pairs and says how far they can be trusted.

    Raises:
        PoolError: the stage `embed` is not done, or too few distinct pairs remain to learn from.
    """
    rows = embedded(plan)
    if rows is None:
        raise PoolError(
            f"to pair the items in {plan.out}",
            found="the stage `embed` is not done, or its pools or encoders have changed since",
            next_step="run it first, with the same options: omnibind bind ... --stage embed",
        )
    inputs, folder = _inputs(plan, rows), plan.out / FOLDER
    facts = done(folder, inputs)
    if facts is not None:
        return Ran(skipped=True, facts=facts)
    facts = _pair(plan, rows, progress, talk)
    mark_done(folder, inputs, facts, [folder / name for name in OUTPUTS])
    return Ran(skipped=False, facts=facts)


def paired(plan: Plan) -> str | None:
    """A digest of the rows and the tuples; None where they are not there, or not of this plan."""
    rows, folder = embedded(plan), plan.out / FOLDER
    if rows is None or done(folder, _inputs(plan, rows)) is None:
        return None
    return fingerprint(rows, checksum(folder / TUPLES))


def paired_alike(home: Path, plan: Plan, asked: Collection[str] = ()) -> bool:
    """Whether the pairs of another folder are what the plan's own would be, spaces that are new in
    it left aside: of the same items of the same store, less the same benchmarks, by the same
    links.

    Args:
        home: the other folder.
        plan: its rows are there.
        asked: links, `MODALITY-MODALITY`, that the pairs have to have been found by.
    """
    facts = last_done(home / FOLDER)
    if facts is None or facts.get("choice") != _choice(plan):
        return False
    theirs, ours = facts["links"], _links(plan)
    return theirs.items() <= ours.items() and set(asked) <= theirs.keys()


def _inputs(plan: Plan, rows: str) -> str:
    return fingerprint(rows, plan.links.to_json(), _numbers(plan))


def _numbers(plan: Plan) -> tuple[int, int, int | float]:
    settings = plan.settings
    return (settings.exact_below, settings.min_pairs, settings.near_duplicate)


def _choice(plan: Plan) -> str:
    """A digest of the items that are paired and excluded, by position and id, and the numbers."""
    found: dict[str, str] = {}
    for what, modalities in (("store", plan.pools), ("exclude", plan.exclude)):
        store = Store(plan.store_folder(what))
        for modality, positions in read_items(plan.out, what).items():
            if modality in modalities:
                ids = store.digests(modality)[positions]
                digest = hashlib.blake2b(positions.tobytes() + ids.tobytes(), digest_size=16)
                found[f"{what}/{modality}"] = digest.hexdigest()
    return fingerprint(found, _numbers(plan))


def _links(plan: Plan) -> dict[str, str]:
    return {"-".join(pair): space for pair, space in plan.links.spaces.items()}


def _pair(plan: Plan, rows_made: str, progress: Progress, talk: Talk) -> dict[str, Any]:
    for line in plan.links.said():
        talk(line)
    rows = StoreRows(Store(plan.store_folder()), plan.spaces.values())
    items = _items(plan, rows, talk)
    items, excluded = _without_benchmarks(plan, rows, items, talk)
    folder = plan.out / FOLDER
    pairing = Pairing(
        rows=rows,
        links=plan.links,
        items=items,
        kept_in=folder / "links" / rows_made,
        exact_below=plan.settings.exact_below,
        device=str(plan.engine.device),
        progress=progress,
    )
    _forget_other_links(pairing)
    found = pairing.find()
    counts = refuse_too_few(found, items, plan.settings.min_pairs)
    report = {
        "links": plan.links.to_json(),
        "distinct_pairs": counts,
        "directions": pairing.report(found),
        "pools": {m: _spread(rows, plan, m, items[m]) for m in items},
    }
    tuples = make_tuples(found, items)
    _write_json(folder / "report.json", report)
    _write_json(folder / "exclusions.json", {m: e.to_json() for m, e in excluded.items()})
    write_seen(_seen(rows.store, items), folder / SEEN)
    write_tuples(tuples, folder / TUPLES)
    return {
        "said": f"{len(tuples)} tuples",
        "choice": _choice(plan),
        "links": _links(plan),
        "tuples": len(tuples),
        "items": {m: len(found) for m, found in items.items()},
        "distinct_pairs": counts,
        "excluded": {m: len(e.by_content) + len(e.by_distance) for m, e in excluded.items()},
    }


def _items(plan: Plan, rows: StoreRows, talk: Talk) -> dict[str, Tensor]:
    """Items that the pools name and that every space has a row of."""
    found: dict[str, Tensor] = {}
    for modality, positions in read_items(plan.out).items():
        whole = rows.whole(modality)[positions]
        found[modality] = torch.from_numpy(np.sort(positions[whole]))
        if not whole.all():
            talk(f"{int((~whole).sum())} {modality} items lack rows of a space and are left out")
    return found


def _without_benchmarks(
    plan: Plan, rows: StoreRows, items: dict[str, Tensor], talk: Talk
) -> tuple[dict[str, Tensor], dict[str, Excluded]]:
    store = Store(plan.store_folder("exclude"))
    benchmark = StoreRows(store, plan.spaces.values())
    excluded: dict[str, Excluded] = {}
    for modality, positions in read_items(plan.out, "exclude").items():
        if modality in plan.exclude and modality in items:
            theirs = torch.from_numpy(np.sort(positions))
            pool, found = _judge(plan, rows, benchmark, modality, items[modality], theirs)
            excluded[modality] = found
            items = {**items, modality: pool}
            talk(
                f"{modality}: {len(found.by_content)} items excluded by content, "
                f"{len(found.by_distance)} by cosine >= {found.cosine} in {found.space}"
            )
    return items, excluded


def _judge(
    plan: Plan, rows: StoreRows, benchmark: StoreRows, modality: str, ours: Tensor, theirs: Tensor
) -> tuple[Tensor, Excluded]:
    """Items that stay, and what left."""
    space = judging_space(plan.recipe, plan.spaces, modality)
    digests = rows.store.digests(modality)[ours.numpy()]
    known = benchmark.store.digests(modality)[theirs.numpy()]
    same = torch.from_numpy(np.isin(digests, known))
    near = near_duplicates(
        Side(rows=rows, space=space, modality=modality, items=ours),
        Side(rows=benchmark, space=space, modality=modality, items=theirs),
        plan.settings.near_duplicate,
        exact_below=plan.settings.exact_below,
        device=str(plan.engine.device),
    )
    near &= ~same
    return ours[~(same | near)], Excluded(
        benchmark=len(theirs),
        by_content=_hex(digests[same.numpy()]),
        by_distance=_hex(digests[near.numpy()]),
        space=space,
        cosine=plan.settings.near_duplicate,
    )


def _seen(store: Store, items: Mapping[str, Tensor]) -> Seen:
    return Seen.of({m: store.digests(m)[positions.numpy()] for m, positions in items.items()})


def _spread(rows: StoreRows, plan: Plan, modality: str, items: Tensor) -> dict[str, Any]:
    """Mean cosine of any two items: the squared norm of the mean row. 1: all say the same."""
    space = judging_space(plan.recipe, plan.spaces, modality)
    side = Side(rows=rows, space=space, modality=modality, items=items)
    total = torch.zeros(1)
    for _, block in side.blocks(65_536):
        total = total + block.sum(0)
    mean_cosine = float((total / max(1, len(items))).square().sum())
    return {"items": len(items), "space": space, "mean_cosine": round(mean_cosine, 4)}


def _forget_other_links(pairing: Pairing) -> None:
    """Deletes directions that were found among other items."""
    for folder in pairing.kept_in.parent.glob("*") if pairing.kept_in else ():
        if folder != pairing.kept_in:
            shutil.rmtree(folder, ignore_errors=True)


def _write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=1, allow_nan=False))


def _hex(digests: Any) -> tuple[str, ...]:
    return tuple(bytes(one).hex() for one in digests.view("V16"))
