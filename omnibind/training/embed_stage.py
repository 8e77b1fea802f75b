"""The stage `embed`: pools into DIR/store, benchmarks that are excluded into DIR/exclude."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from omnibind.errors import PoolError
from omnibind.specs import EncoderSpec
from omnibind.training.done import done, fingerprint, mark_done
from omnibind.training.embed import PoolSummary, embed_pools
from omnibind.training.plan import Plan, Ran
from omnibind.training.pools import Pool
from omnibind.training.progress import Progress, Talk
from omnibind.training.rows_made import has_rows, items_file, judge, rows_made
from omnibind.writing import whole

__all__ = ["embed", "embedded"]

STAGE = "embed"
Positions = Mapping[str, NDArray[np.int64]]


def embed(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Encodes what has no rows yet; see `omnibind.training.embed`.

    Raises:
        PoolError: an empty pool, or one of which nothing can be encoded.
        StoreError: the store was made by other encoders, is being written, or the disk is full.
    """
    facts = _done(plan)
    if facts is not None:
        _lists(plan, facts)
        return Ran(skipped=True, facts=facts)
    facts, positions = _embed_all(plan, progress, talk)
    _write_items(plan, positions)
    outputs = [*(items_file(plan.out, what) for what in positions), *_lists(plan, facts)]
    mark_done(plan.out / STAGE, _inputs(plan), facts, outputs)
    return Ran(skipped=False, facts=facts)


def embedded(plan: Plan) -> str | None:
    """A digest of the rows that the stage has made; None where some are missing, or where pools or
    encoders have changed since."""
    return rows_made(plan) if _done(plan) is not None else None


def _done(plan: Plan) -> Mapping[str, Any] | None:
    facts = done(plan.out / STAGE, _inputs(plan))
    return facts if facts is not None and has_rows(plan) else None


def _inputs(plan: Plan) -> str:
    """What pools list, and what their encoders are."""
    identity = plan.engine.networks.identity
    encoders = {m: [identity(card) for card in plan.encoders(m).values()] for m in plan.pools}
    return fingerprint(
        {m: vars(one) for m, one in plan.surveys.items()},
        {m: vars(one) for m, one in plan.excluded_surveys.items()},
        {m: sorted(identities) for m, identities in encoders.items()},
        {m: sorted(judge(plan, m)) for m in plan.exclude},
    )


def _embed_all(
    plan: Plan, progress: Progress, talk: Talk
) -> tuple[dict[str, Any], dict[str, Positions]]:
    """What there is to record, and the positions of items, of pools and of what is excluded."""
    encoders = {modality: plan.encoders(modality) for modality in plan.pools}
    listed = {m: plan.exclude[m] for m, found in plan.excluded_surveys.items() if found.count}
    if plan.exclude and not listed:
        raise PoolError(
            "benchmark items to exclude",
            found="none of the modalities of the pools",
            next_step="correct --exclude",
        )
    pools, positions = _embed(plan, plan.pools, encoders, "store", progress, talk)
    found, excluded = {"store": positions}, dict[str, PoolSummary]()
    if listed:
        judges = {modality: judge(plan, modality) for modality in listed}
        excluded, found["exclude"] = _embed(plan, listed, judges, "exclude", progress, talk)
    return {
        "said": ", ".join(f"{one.distinct} {m} items" for m, one in pools.items()),
        "pools": {m: summary.to_json() for m, summary in pools.items()},
        "exclude": {m: summary.to_json() for m, summary in excluded.items()},
    }, found


def _write_items(plan: Plan, positions: Mapping[str, Positions]) -> None:
    """Only when all is encoded: a run that is refused or stopped leaves what was done before."""
    for what in ("store", "exclude"):
        path = items_file(plan.out, what)
        if what in positions:
            with whole(path) as part:
                save_file(dict(positions[what]), part)
        else:
            path.unlink(missing_ok=True)


def _errors(plan: Plan, what: str) -> Path:
    """Where items that fail are listed."""
    return plan.out / STAGE / ("errors.jsonl" if what == "store" else f"{what}-errors.jsonl")


def _lists(plan: Plan, facts: Mapping[str, Any]) -> list[Path]:
    """The lists of errors that the facts speak of; others are of runs that did not end."""
    found: list[Path] = []
    for what, summaries in (("store", facts["pools"]), ("exclude", facts["exclude"])):
        path = _errors(plan, what)
        if any(one["failed"] for one in summaries.values()):
            found.append(path)
        else:
            path.unlink(missing_ok=True)
    return found


def _embed(
    plan: Plan,
    pools: Mapping[str, Sequence[Pool]],
    encoders: Mapping[str, Mapping[str, EncoderSpec]],
    what: str,
    progress: Progress,
    talk: Talk,
) -> tuple[dict[str, PoolSummary], Positions]:
    errors = _errors(plan, what)
    summaries, positions = embed_pools(
        pools,
        encoders,
        plan.store_folder(what),
        engine=plan.engine,
        surveys=plan.surveys if what == "store" else plan.excluded_surveys,
        errors=errors,
        progress=progress,
        batch_items=plan.settings.batch_items,
    )
    for modality, summary in summaries.items():
        talk(_said(modality, what, summary))
        if summary.failed:
            talk(f"{summary.failed} {modality} items failed; see {errors}")
    return summaries, positions


def _said(modality: str, what: str, found: PoolSummary) -> str:
    whose = "to exclude" if what == "exclude" else "in the pool"
    counts = f"{found.listed} listed, {found.duplicates} with the content of another one"
    return f"{modality}: {found.distinct} items {whose}, {found.added} new rows ({counts})"
