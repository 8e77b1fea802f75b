"""Whether an engine loses items or keeps memory: many passes, bad items, killed workers."""

from __future__ import annotations

import gc
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from omnibind.engine import Engine, Item
from omnibind.engine.outcome import Encoded
from omnibind.errors import SetupError
from omnibind.plugins import registry
from omnibind.testing.toyspace import ToySpace

__all__ = ["Pass", "measure"]

STATM = Path("/proc/self/statm")
EVERY_BAD = 100
"""One item in so many is bad: an empty text."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over all items.

    Attributes:
        rows: items that came back as a row.
        failures: items that came back as an error.
        once: whether every item came back exactly once, and the right ones failed.
        replaced: worker processes that have died so far.
        resident_mb: of this process after the pass, in 10^6 bytes; None where it cannot be read.
    """

    rows: int
    failures: int
    once: bool
    replaced: int
    resident_mb: float | None


def measure(
    *,
    items: int,
    passes: int,
    kills: int,
    seed: int = 0,
    on_pass: Callable[[Pass], None] | None = None,
) -> list[Pass]:
    """Encodes the same texts again and again, by two toy encoders, in worker processes.

    Args:
        items: of a pass; one in a hundred is bad.
        passes: how many.
        kills: worker processes that are killed in the first pass, at random.
        seed: of when and whom.
        on_pass: told of each pass.

    Raises:
        SetupError: more are to be killed than there are items: one dies at an item.
    """
    if kills > items:
        raise SetupError(
            f"{kills} workers killed in a pass",
            found=f"{items} items, at each of which one can be killed",
            next_step="ask for more --items, or for fewer --kills",
        )
    modality = registry().modality("text")
    encoders = [ToySpace(name, dim=16, modalities=["text"]).encoders["text"] for name in "ab"]
    engine = Engine(device="cpu", size="tiny", batch_size=64, processes=True)
    chance = random.Random(seed)
    due = sorted(chance.sample(range(items), kills))

    def kill(item: Item) -> None:
        pids = engine.processes.pids if engine.processes else ()
        while due and item.index >= due[0] and pids:
            due.pop(0)
            with suppress(ProcessLookupError):
                os.kill(chance.choice(pids), signal.SIGKILL)

    found: list[Pass] = []
    try:
        for _ in range(passes):
            given = [
                Item(index=k, source="" if _is_bad(k) else f"text {k}", modality=modality)
                for k in range(items)
            ]
            encoded = engine.encode(given, {"text": encoders}, kill)
            found.append(_counted(encoded, items, engine.stats().replaced))
            if on_pass:
                on_pass(found[-1])
    finally:
        engine.close()
    return found


def _is_bad(index: int) -> bool:
    return index % EVERY_BAD == 7


def _counted(encoded: Encoded, items: int, replaced: int) -> Pass:
    failed = [failure.index for failure in encoded.failures]
    good = encoded.indices["text"]
    whole = all(len(rows) == len(good) for rows in encoded.rows.values())
    right = failed == [k for k in range(items) if _is_bad(k)]
    return Pass(
        rows=len(good),
        failures=len(failed),
        once=whole and right and sorted([*failed, *good]) == list(range(items)),
        replaced=replaced,
        resident_mb=_resident(),
    )


def _resident() -> float | None:
    gc.collect()
    if not STATM.exists():
        return None
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
