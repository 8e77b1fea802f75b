"""What the engine costs over a bare loop of the same preprocessing and forwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omnibind.bench.bare import loop
from omnibind.bench.media import Media
from omnibind.bench.networks import Networks
from omnibind.bench.setting import Setting, cards_of
from omnibind.bench.throughput import failed
from omnibind.bench.timing import Spread, in_turns
from omnibind.embedder import Embedder
from omnibind.engine import recognise
from omnibind.plugins import Registry

__all__ = ["LIMIT", "Overhead", "measure"]

LIMIT = 1.05
"""Seconds of the engine over those of the loop, at most."""


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """The same items, networks and batch through both, in turns.

    Attributes:
        items: of a run.
        engine, loop: wall seconds.
        ratio: engine over loop, turn by turn; below 1 where the engine's threads run side by side.
        work: the same ratio of processor seconds, which side by side does not make smaller: what
            the engine itself adds.
    """

    setting: Setting
    modality: str
    items: int
    engine: Spread
    loop: Spread
    ratio: Spread
    work: Spread


def measure(
    setting: Setting, media: Media, *, runs: int = 5, known: Registry | None = None
) -> tuple[Overhead, ...]:
    """Measures each modality; networks have run once before.

    Raises:
        SetupError: an item fails.
        UnknownNameError, RecipeError: modalities that the recipe does not have.
    """
    model = setting.model(known)
    try:
        networks = Networks(setting, model.engine.device)
        return tuple(
            _measured(model, networks, modality, sources, runs)
            for modality, sources in media.items()
        )
    finally:
        model.engine.close()


def _measured(
    model: Embedder, networks: Networks, modality: str, sources: Sequence[Path | str], runs: int
) -> Overhead:
    setting, every, cards = networks.setting, model.known.modalities, cards_of(model, [modality])

    def through_engine(sources: Sequence[Path | str]) -> None:
        items = [recognise(k, source, every, modality) for k, source in enumerate(sources)]
        encoded = model.engine.encode(items, {modality: list(cards[modality].values())})
        if encoded.failures:
            raise failed(encoded.failures)

    def through_loop(sources: Sequence[Path | str]) -> None:
        loop(model.known.modality(modality), sources, cards, networks, setting.batch)

    through_engine(sources[:2])
    through_loop(sources[:2])
    clocks: list[list[float]] = [[], []]
    engine, plain = in_turns(
        runs,
        _timed(through_engine, sources, clocks[0]),
        _timed(through_loop, sources, clocks[1]),
    )
    return Overhead(
        setting=setting,
        modality=modality,
        items=len(sources),
        engine=Spread.of(engine),
        loop=Spread.of(plain),
        ratio=Spread.of(a / b for a, b in zip(engine, plain, strict=True)),
        work=Spread.of(a / b for a, b in zip(*clocks, strict=True)),
    )


def _timed(
    run: Callable[[Sequence[Path | str]], None],
    sources: Sequence[Path | str],
    processor: list[float],
) -> Callable[[], float]:
    def once() -> float:
        wall, worked = time.perf_counter(), time.process_time()
        run(sources)
        processor.append(time.process_time() - worked)
        return time.perf_counter() - wall

    return once
