"""How much memory pairing takes, and batches of pairs: peak of a process, by size of the pools."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnibind.errors import SetupError

__all__ = ["EXTRAPOLATED", "Footprint", "extrapolate", "measure"]

EXTRAPOLATED = 10_000_000
"""Items a pool for which memory is extrapolated."""
EXACT_BELOW = 50_000
"""Pools from here on are searched as those above a million are by default."""
STEPS = 200
BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """One process that pairs two pools of random rows and takes batches of the pairs.

    Attributes:
        items: of each pool.
        dim: of the rows.
        peak_mb: largest resident size of the process, in 10^6 bytes.
        start_mb: the same before anything was read.
        pair_seconds: of finding pairs in both directions.
        rows_per_second: taken from the store in random batches of 4,096.
    """

    items: int
    dim: int
    peak_mb: float
    start_mb: float
    pair_seconds: float
    rows_per_second: float


def measure(
    sizes: Sequence[int], dim: int = 64, on_done: Callable[[Footprint], None] | None = None
) -> tuple[Footprint, ...]:
    """Writes a store of two pools for each size, and pairs them in a process of its own.

    Raises:
        SetupError: a process fails.
    """
    found: list[Footprint] = []
    for items in sizes:
        with tempfile.TemporaryDirectory() as folder:
            _child("fill", folder, items, dim)
            found.append(Footprint(**_child("pair", folder, items, dim)))
        if on_done:
            on_done(found[-1])
    return tuple(found)


def extrapolate(found: Sequence[Footprint], items: int = EXTRAPOLATED) -> float | None:
    """Peak in 10^6 bytes for larger pools: the straight line through the two largest sizes.

    None where all are of one size.
    """
    by_size = {one.items: one for one in found}
    if len(by_size) < 2:
        return None
    smaller, larger = (by_size[size] for size in sorted(by_size)[-2:])
    slope = (larger.peak_mb - smaller.peak_mb) / (larger.items - smaller.items)
    return larger.peak_mb + slope * (items - larger.items)


def _child(what: str, folder: str, items: int, dim: int) -> dict[str, Any]:
    words = [sys.executable, "-m", __name__, what, folder, str(items), str(dim)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(
            f"to {what} pools of {items} items",
            found=(done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1],
            next_step="run it by hand; `omnibind doctor` shows what is missing",
        )
    return json.loads(done.stdout)


def _fill(folder: Path, items: int, dim: int) -> dict[str, Any]:
    """Rows around shared centres, as encoders make them."""
    import hashlib

    import torch

    from omnibind.store import Column, Entry, Writer

    column = Column(key="random", revision="1", dim=dim, identity="random")
    random = torch.Generator().manual_seed(0)
    centres = torch.randn(1000, dim, generator=random)
    with Writer(folder) as writer:
        for modality in ("image", "text"):
            for start in range(0, items, 65_536):
                count = min(65_536, items - start)
                which = torch.randint(1000, (count,), generator=random)
                rows = centres[which] + torch.randn(count, dim, generator=random)
                names = [f"{modality} {n}" for n in range(start, start + count)]
                ids = [hashlib.blake2b(n.encode(), digest_size=16).hexdigest() for n in names]
                entries = [Entry(id=i, source=n) for i, n in zip(ids, names, strict=True)]
                writer.write(modality, entries, {column: rows})
    return {}


def _pair(folder: Path, items: int, dim: int) -> dict[str, Any]:
    import time

    import torch

    from omnibind.specs import EncoderSpec, Recipe, SpaceSpec
    from omnibind.store import Store, StoreRows
    from omnibind.training.links import plan_links
    from omnibind.training.pairs import Pairing, make_tuples
    from omnibind.training.tuples import read_tuples, write_tuples

    start_mb = _peak_mb()
    encoders = {
        m: EncoderSpec(
            key="random", modality=m, dim=dim, params=0, flops_per_item=0.0, build="", weights=()
        )
        for m in ("image", "text")
    }
    space = SpaceSpec(
        name="random", dim=dim, encoders=encoders, licence="", commercial_use=None, revision="1"
    )
    rows = StoreRows(Store(folder), [space])
    recipe = Recipe(name="random", backbone="random", joint_dim=dim, slots={})
    pairing = Pairing(
        rows=rows,
        links=plan_links(recipe, {"random": space}, ["image", "text"]),
        items={m: torch.arange(items) for m in ("image", "text")},
        exact_below=EXACT_BELOW,
    )
    started = time.perf_counter()
    found = pairing.find()
    pair_seconds = time.perf_counter() - started
    write_tuples(make_tuples(found, pairing.items), folder / "tuples.parquet")
    del found
    tuples = read_tuples(folder / "tuples.parquet")
    started = time.perf_counter()
    for _ in range(STEPS):
        drawn = torch.randint(len(tuples), (BATCH,))
        for modality in tuples.modalities:
            rows.take("random", modality, tuples.items[modality][drawn])
    taken = STEPS * BATCH * 2 / (time.perf_counter() - started)
    return {
        "items": items,
        "dim": dim,
        "peak_mb": _peak_mb(),
        "start_mb": start_mb,
        "pair_seconds": pair_seconds,
        "rows_per_second": taken,
    }


def _peak_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    run = {"fill": _fill, "pair": _pair}[sys.argv[1]]
    print(json.dumps(run(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
