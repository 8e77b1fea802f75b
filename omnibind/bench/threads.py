"""Many threads with an item each through one engine, beside the same calls one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

from omnibind.bench.media import Media
from omnibind.bench.setting import Setting, spaces_of
from omnibind.bench.throughput import embedded, encoded
from omnibind.bench.timing import Spread, in_turns, quantile, seconds_of
from omnibind.embedder import Embedder
from omnibind.errors import SetupError
from omnibind.plugins import Registry

__all__ = ["Concurrency", "measure"]

Call = Callable[[Embedder, Sequence[Path | str], str], object]


@dataclass(frozen=True, kw_only=True)
class Concurrency:
    """Calls of one item each.

    Attributes:
        threads: that call side by side.
        calls: of a run, in all threads together.
        together, alone: items a second of the threads, and of the same calls one at a time.
        ratio: the first over the second, turn by turn.
        p50, p99: seconds that a call takes among the others: half, and 99 % of all calls of all
            runs take no longer.
        batch: seconds of one call with a full batch.
        p99_over_batch: how many full batches the slowest calls take.
    """

    setting: Setting
    modality: str
    threads: int
    calls: int
    together: Spread
    alone: Spread
    ratio: Spread
    p50: float
    p99: float
    batch: Spread
    p99_over_batch: float


def measure(
    setting: Setting,
    media: Media,
    *,
    threads: int = 32,
    runs: int = 3,
    bound: bool = False,
    known: Registry | None = None,
) -> tuple[Concurrency, ...]:
    """Measures each modality: all its items, shared out among the threads.

    Args:
        setting: recipe, size, batch.
        media: at least as many items as threads, and as a batch.
        threads: that call side by side.
        runs: that are counted.
        bound: whether a call makes joint rows; else rows by space, which is what an engine does.
        known: a registry of one's own.

    Raises:
        SetupError: fewer items than threads or than a batch, or an item fails.
        UnknownNameError, RecipeError: modalities that the recipe does not have.
    """
    model = setting.model(known)
    call = embedded if bound else encoded
    try:
        return tuple(
            _measured(model, call, setting, modality, sources, threads, runs)
            for modality, sources in media.items()
        )
    finally:
        model.engine.close()


def _measured(
    model: Embedder,
    call: Call,
    setting: Setting,
    modality: str,
    sources: Sequence[Path | str],
    threads: int,
    runs: int,
) -> Concurrency:
    spaces_of(model, modality)
    least = max(threads, setting.batch)
    if len(sources) < least:
        raise SetupError(
            f"{threads} threads with items of {modality!r}, and a batch of {setting.batch}",
            found=f"{len(sources)} items",
            next_step=f"ask for more: --items {modality}={least}",
        )
    call(model, sources[: min(setting.batch, 4)], modality)
    latencies: list[float] = []
    alone, together, batch = in_turns(
        runs,
        lambda: seconds_of(lambda: [call(model, [one], modality) for one in sources]),
        lambda: _side_by_side(model, call, modality, sources, threads, latencies),
        lambda: seconds_of(lambda: call(model, sources[: setting.batch], modality)),
    )
    p99 = quantile(latencies, 0.99)
    return Concurrency(
        setting=setting,
        modality=modality,
        threads=threads,
        calls=len(sources),
        together=Spread.of(len(sources) / seconds for seconds in together),
        alone=Spread.of(len(sources) / seconds for seconds in alone),
        ratio=Spread.of(a / b for a, b in zip(alone, together, strict=True)),
        p50=quantile(latencies, 0.5),
        p99=p99,
        batch=Spread.of(batch),
        p99_over_batch=p99 / Spread.of(batch).median,
    )


def _side_by_side(
    model: Embedder,
    call: Call,
    modality: str,
    sources: Sequence[Path | str],
    threads: int,
    latencies: list[float],
) -> float:
    """Seconds from the moment that all threads stand ready until the last call is done."""
    ready = Barrier(threads + 1)

    def calls(mine: Sequence[Path | str]) -> list[float]:
        ready.wait()
        return [seconds_of(lambda one=one: call(model, [one], modality)) for one in mine]

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(calls, sources[k::threads]) for k in range(threads)]
        ready.wait()
        began = time.perf_counter()
        taken = [seconds for one in running for seconds in one.result()]
        spent = time.perf_counter() - began
    latencies += taken
    return spent
