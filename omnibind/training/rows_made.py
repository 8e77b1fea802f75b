"""What rows a binding has, as a digest: of its pools' items, and of those that are excluded.

The digest is of content: equal rows of equal items give it again, whenever they were made. It is
kept in DIR/embed/rows.json with the state of the store's files, and read anew where that differs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from omnibind.specs import EncoderSpec
from omnibind.store import Store, column_of, digest_of, state_of
from omnibind.training.done import fingerprint
from omnibind.training.leakage import judging_space
from omnibind.training.plan import Plan
from omnibind.writing import write_text

__all__ = ["has_rows", "items_file", "judge", "read_items", "rows_made"]

KEPT = "rows.json"
Specs = Mapping[str, EncoderSpec]


def items_file(out: Path, what: str = "store") -> Path:
    """Modality -> positions in the store of the items that the pools name now."""
    return out / "embed" / f"{what}.safetensors"


def read_items(out: Path, what: str = "store") -> dict[str, NDArray[np.int64]]:
    """Reads that; empty where nothing was embedded."""
    path = items_file(out, what)
    return load_file(path) if path.is_file() else {}


def judge(plan: Plan, modality: str) -> dict[str, EncoderSpec]:
    """The encoder that says what is near to a benchmark's item, by key."""
    space = judging_space(plan.recipe, plan.spaces, modality)
    card = plan.spaces[space].encoders[modality]
    return {card.key: card}


def has_rows(plan: Plan) -> bool:
    """Whether the stores have every item and a column of every encoder, as it is now."""
    identity = plan.engine.networks.identity
    for what, encoders in _needed(plan).items():
        store, items = Store(plan.store_folder(what)), read_items(plan.out, what)
        for modality, specs in encoders.items():
            if modality not in items or modality not in store.modalities:
                return False
            wanted = {key: column_of(spec, identity(spec)) for key, spec in specs.items()}
            there = store.columns(modality)
            if any(there.get(key) != column for key, column in wanted.items()):
                return False
            if items[modality].max(initial=-1) >= store.count(modality):
                return False
    return True


def rows_made(plan: Plan) -> str:
    """A digest of the rows that pairs are made of; `has_rows` has to be true."""
    path = plan.out / "embed" / KEPT
    before, now = _read(path), dict[str, dict[str, str]]()
    for what, encoders in _needed(plan).items():
        store, items = Store(plan.store_folder(what)), read_items(plan.out, what)
        for modality, specs in encoders.items():
            name, positions = f"{what}/{modality}", items[modality]
            asked = hashlib.blake2b(positions.tobytes(), digest_size=16).hexdigest()
            state = fingerprint(state_of(store, modality), sorted(specs), asked)
            kept = before.get(name, {})
            digest = kept.get("digest") if kept.get("state") == state else None
            digest = digest or digest_of(store, modality, specs, positions)
            now[name] = {"state": state, "digest": digest}
    if now != before:
        write_text(path, json.dumps(now, indent=1))
    return fingerprint({name: one["digest"] for name, one in now.items()}, _read_by(plan))


def _needed(plan: Plan) -> dict[str, dict[str, Specs]]:
    """Which rows are read: of the pools by all encoders, of what is excluded by the judging one."""
    excluded = plan.exclude.keys() & read_items(plan.out, "exclude").keys()
    return {
        "store": {modality: plan.encoders(modality) for modality in plan.pools},
        "exclude": {modality: judge(plan, modality) for modality in sorted(excluded)},
    }


def _read_by(plan: Plan) -> dict[str, dict[str, str]]:
    """Space -> modality -> encoder: by whose rows items are compared."""
    return {
        name: {m: card.encoders[m].key for m in _both(card.encoders, plan.pools)}
        for name, card in plan.spaces.items()
    }


def _both(one: Iterable[str], other: Iterable[str]) -> list[str]:
    return sorted(set(one) & set(other))


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return {name: dict(one) for name, one in cast("dict[str, Any]", content).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
