"""Whether a stage has been done already: `DIR/<stage>/done.json` says by which inputs.

It has the checksums of what the stage made, too: a stage whose files are gone or damaged, or were
made again by a run that was stopped, is not done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from omnibind.training.tuples import RowSource, Tuples
from omnibind.weights.checksums import checksum
from omnibind.writing import write_text

__all__ = ["Trained", "done", "fingerprint", "last_done", "mark_done", "of_rows", "of_tuples"]

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
    """A digest of which spaces have rows of the tuples' items, and of the first and last rows.

    Rows in between may change unnoticed: whoever knows what the rows were made of says so in
    the stage's `inputs`.
    """
    digest = hashlib.blake2b(digest_size=16)
    for modality in sorted(set(rows.modalities()) & set(tuples.modalities)):
        items = tuples.pools[modality]
        for space in sorted(rows.spaces(modality)):
            digest.update(f"{modality}/{space}".encode())
            digest.update(
                _bytes(rows.take(space, modality, items[[0, -1]] if len(items) else items))
            )
    return digest.hexdigest()


def done(folder: Path, inputs: str, name: str = NAME) -> Mapping[str, Any] | None:
    """What a stage recorded when it was done by these inputs; None where it was not, or its files
    are not whole."""
    content = _recorded(folder, name)
    if content.get("fingerprint") != inputs or not _whole(folder, content.get("outputs")):
        return None
    return content["facts"]


def last_done(folder: Path, name: str = NAME) -> Mapping[str, Any] | None:
    """What a stage recorded when it was done last, by whatever; None likewise."""
    content = _recorded(folder, name)
    return content.get("facts") if _whole(folder, content.get("outputs")) else None


def mark_done(
    folder: Path,
    inputs: str,
    facts: Mapping[str, Any],
    outputs: Iterable[Path] = (),
    name: str = NAME,
) -> None:
    """Says that a stage is done; the last thing it does.

    Args:
        folder: of the stage.
        inputs: fingerprint of all that its result depends on.
        facts: what there is to know of it.
        outputs: files below the folder that the stage has made and others read.
        name: of the record.
    """
    sums = {path.relative_to(folder).as_posix(): checksum(path) for path in outputs}
    content = {"fingerprint": inputs, "outputs": sums, "facts": facts}
    write_text(folder / name, json.dumps(content, indent=1, default=dict))


def _recorded(folder: Path, name: str) -> dict[str, Any]:
    try:
        content: object = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _whole(folder: Path, outputs: Mapping[str, str] | None) -> bool:
    """Whether all files are as they were made; a record of former versions does not say."""
    if outputs is None:
        return False
    return all(
        (folder / name).is_file() and checksum(folder / name) == expected
        for name, expected in outputs.items()
    )


def _bytes(x: Tensor) -> bytes:
    return x.contiguous().numpy().tobytes()
