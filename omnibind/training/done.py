"""Whether a stage of binding is done: `DIR/<stage>/done.json` knows from which inputs.

A stage whose inputs have not changed is skipped. The file comes last: a stage that has it is
whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["fingerprint", "forget", "mark_done", "outcome_of", "write_json"]


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """A hash of everything that a stage's result depends on, given as JSON."""
    return hashlib.blake2b(json.dumps(inputs, sort_keys=True).encode(), digest_size=16).hexdigest()


def outcome_of(out: Path, stage: str, inputs: Mapping[str, Any] | None = None) -> Any:
    """What a finished stage has recorded; None where it is not done, or was with other inputs.

    Args:
        out: of `omnibind bind`.
        stage: its name.
        inputs: what it would depend on now; whatever it depended on where nothing is given.
    """
    try:
        content = json.loads((out / stage / "done.json").read_text(encoding="utf-8"))
        if inputs is not None and content["inputs"] != fingerprint(inputs):
            return None
        return content["outcome"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def mark_done(out: Path, stage: str, inputs: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Says that a stage is done."""
    content = {"inputs": fingerprint(inputs), "outcome": outcome}
    write_json(out / stage / "done.json", content)


def forget(out: Path, stage: str) -> None:
    """Says that a stage is not done any more, before it begins anew."""
    (out / stage / "done.json").unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
