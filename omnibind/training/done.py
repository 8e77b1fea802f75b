"""Whether a stage has been done already: `DIR/<stage>/done.json` says by which inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnibind.training.tuples import RowSource, Tuples
from omnibind.writing import write_text

__all__ = ["Trained", "done", "fingerprint", "mark_done", "of_rows", "of_tuples"]

NAME = "done.json"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a stage that trains came to.

    Attributes:
        skipped: nothing had changed since it was done.
        resumed: the step at which it went on.
        facts: settings, steps, seconds and what the stage found: recorded in the checkpoint.
    """

    skipped: bool
    resumed: int
    facts: Mapping[str, Any]


def fingerprint(*parts: object) -> str:
    """A digest of anything that JSON can say; mappings count as the same in any order."""
    said = json.dumps(parts, sort_keys=True, default=dict)
    return hashlib.blake2b(said.encode(), digest_size=16).hexdigest()


def of_tuples(tuples: Tuples) -> str:
    """A digest of which items stand together."""
    digest = hashlib.blake2b(repr(tuples.modalities).encode(), digest_size=16)
    for column in (tuples.query, *(tuples.items[m] for m in tuples.modalities)):
        digest.update(_bytes(column))
    return digest.hexdigest()


def of_rows(rows: RowSource, tuples: Tuples) -> str:
    """A digest of which spaces and how many items there are, and of the pools' first and last rows.

    Rows in between may change unnoticed: whoever knows what the rows were made of says so in
    the stage's `inputs`.
    """
    digest = hashlib.blake2b(digest_size=16)
    for modality in sorted(rows.modalities()):
        count = rows.count(modality)
        for space in sorted(rows.spaces(modality)):
            digest.update(f"{modality}/{space}/{count}".encode())
            items = tuples.pools.get(modality, torch.empty(0, dtype=torch.int64))
            digest.update(
                _bytes(rows.take(space, modality, items[[0, -1]] if len(items) else items))
            )
    return digest.hexdigest()


def done(folder: Path, inputs: str, name: str = NAME) -> Mapping[str, Any] | None:
    """What a stage recorded when it was done by these inputs; None where it was not."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content["facts"] if content.get("fingerprint") == inputs else None


def mark_done(folder: Path, inputs: str, facts: Mapping[str, Any], name: str = NAME) -> None:
    """Says that a stage is done; the last thing it does."""
    content = {"fingerprint": inputs, "facts": facts}
    write_text(folder / name, json.dumps(content, indent=1, default=dict))


def _bytes(x: Tensor) -> bytes:
    return x.contiguous().numpy().tobytes()
