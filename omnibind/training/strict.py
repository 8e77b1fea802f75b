"""`omnibind --strict bind`: an item that failed stops the stages after `embed`; rows are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from omnibind.errors import ItemError
from omnibind.training.plan import Ran

__all__ = ["refuse_failed"]

SHOWN = 5


def refuse_failed(ran: Ran, out: Path) -> None:
    """Raises for the items that failed, those of benchmarks to exclude included.

    Args:
        ran: what the stage `embed` came to, in this run or an earlier one.
        out: the folder of the binding.

    Raises:
        ItemError: at least one failed.
    """
    parts = ran.facts["pools"], ran.facts["exclude"]
    failed = sum(one["failed"] for part in parts for one in part.values())
    if failed:
        raise ItemError(
            "a row for every item",
            found=[f"{failed} failed; see {out / 'embed'}", *islice(_lines(out / "embed"), SHOWN)],
            next_step="mend or leave out these items, or do without --strict; rows are kept",
        )


def _lines(folder: Path) -> Iterator[str]:
    for file in sorted(folder.glob("*errors.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            reason = one["reason"].partition("\n")[0]
            yield f"{one['source'][:200]}, {one['stage']}: {reason}"
