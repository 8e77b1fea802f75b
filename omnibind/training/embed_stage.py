"""The stage `embed`: pools into DIR/store, benchmarks that are excluded into DIR/exclude."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from omnibind.errors import PoolError
from omnibind.specs import EncoderSpec
from omnibind.store import Store
from omnibind.training.done import done, fingerprint, mark_done
from omnibind.training.embed import PoolSummary, embed_pools
from omnibind.training.leakage import judging_space
from omnibind.training.plan import Plan, Ran
from omnibind.training.pools import Pool
from omnibind.training.progress import Progress, Talk
from omnibind.writing import whole

__all__ = ["embed", "embedded", "read_items"]

STAGE = "embed"


def embed(plan: Plan, progress: Progress, talk: Talk) -> Ran:
    """Encodes what has no rows yet; see `omnibind.training.embed`.

    Raises:
        PoolError: an empty pool, or one of which nothing can be encoded.
        StoreError: the store was made by other encoders, is being written, or the disk is full.
    """
    facts = embedded(plan)
    if facts is not None:
        return Ran(skipped=True, facts=facts)
    (plan.out / STAGE / "done.json").unlink(missing_ok=True)
    inputs = _inputs(plan)
    facts = {"made": time.time_ns(), **_embed_all(plan, progress, talk)}
    mark_done(plan.out / STAGE, inputs, facts)
    return Ran(skipped=False, facts=facts)


def embedded(plan: Plan) -> Mapping[str, Any] | None:
    """What the stage has recorded; None where rows are missing or inputs have changed since."""
    facts = done(plan.out / STAGE, _inputs(plan))
    there = items_file(plan.out).is_file() and _has_columns(plan)
    return facts if there else None


def _has_columns(plan: Plan) -> bool:
    store = Store(plan.store_folder())
    return all(
        modality in store.modalities
        and plan.encoders(modality).keys() <= store.columns(modality).keys()
        for modality in plan.pools
    )


def _inputs(plan: Plan) -> str:
    """What pools list, and what their encoders are."""
    identity = plan.engine.networks.identity
    encoders = {m: [identity(card) for card in plan.encoders(m).values()] for m in plan.pools}
    return fingerprint(
        {m: vars(one) for m, one in plan.surveys.items()},
        {m: vars(one) for m, one in plan.excluded_surveys.items()},
        {m: sorted(identities) for m, identities in encoders.items()},
        {m: sorted(_judge(plan, m)) for m in plan.exclude},
    )


def _embed_all(plan: Plan, progress: Progress, talk: Talk) -> dict[str, Any]:
    encoders = {modality: plan.encoders(modality) for modality in plan.pools}
    pools = _embed(plan, plan.pools, encoders, "store", progress, talk)
    listed = {m: plan.exclude[m] for m, found in plan.excluded_surveys.items() if found.count}
    if plan.exclude and not listed:
        raise PoolError(
            "benchmark items to exclude",
            found="none of the modalities of the pools",
            next_step="correct --exclude",
        )
    judges = {modality: _judge(plan, modality) for modality in listed}
    excluded = _embed(plan, listed, judges, "exclude", progress, talk) if listed else {}
    return {
        "said": ", ".join(f"{one.distinct} {m} items" for m, one in pools.items()),
        "pools": {m: summary.to_json() for m, summary in pools.items()},
        "exclude": {m: summary.to_json() for m, summary in excluded.items()},
    }


def items_file(out: Path, what: str = "store") -> Path:
    """Modality -> positions in the store of the items that the pools name now."""
    return out / "embed" / f"{what}.safetensors"


def read_items(out: Path, what: str = "store") -> dict[str, NDArray[np.int64]]:
    """Reads that; empty where nothing was embedded."""
    path = items_file(out, what)
    return load_file(path) if path.is_file() else {}


def _judge(plan: Plan, modality: str) -> dict[str, EncoderSpec]:
    space = judging_space(plan.recipe, plan.spaces, modality)
    card = plan.spaces[space].encoders[modality]
    return {card.key: card}


def _embed(
    plan: Plan,
    pools: Mapping[str, Sequence[Pool]],
    encoders: Mapping[str, Mapping[str, EncoderSpec]],
    what: str,
    progress: Progress,
    talk: Talk,
) -> dict[str, PoolSummary]:
    name = "errors.jsonl" if what == "store" else f"{what}-errors.jsonl"
    errors = plan.out / "embed" / name
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
    with whole(items_file(plan.out, what)) as part:
        save_file(positions, part)
    for modality, summary in summaries.items():
        talk(_said(modality, what, summary))
        if summary.failed:
            talk(f"{summary.failed} {modality} items failed; see {errors}")
    return summaries


def _said(modality: str, what: str, found: PoolSummary) -> str:
    whose = "to exclude" if what == "exclude" else "in the pool"
    counts = f"{found.listed} listed, {found.duplicates} with the content of another one"
    return f"{modality}: {found.distinct} items {whose}, {found.added} new rows ({counts})"
