"""Items a second of an engine, beside the published code's way and what the device could do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from omnibind.bench.bare import Stages, loop
from omnibind.bench.ceiling import Ceiling
from omnibind.bench.flops import per_item
from omnibind.bench.hardware import cores
from omnibind.bench.media import Media
from omnibind.bench.naive import Naive
from omnibind.bench.setting import Cards, Networks, Setting, cards_of
from omnibind.bench.timing import Spread, in_turns, seconds_of
from omnibind.embedder import Embedder
from omnibind.errors import ItemFailure, SetupError
from omnibind.plugins import Registry

__all__ = ["ALL", "Figure", "measure"]

ALL = "all"
"""What the figure of all modalities in one call is named."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One modality of one setting, or all of them in one call.

    Attributes:
        setting: recipe, size, weights, device and batch.
        dtype: of the engine's networks.
        modality: or `all`.
        items: how many were embedded in a run.
        seconds: wall, of the engine, from files to joint rows.
        naive: the same of the published code's way; None where it was not asked for.
        ratio: naive over engine, turn by turn.
        difference: largest |d| of a joint row's number between the two.
        flops: floating-point operations an item, each network once.
        share: of the ceiling: operations a second over the rate of the large product.
        floor: seconds that no program could beat: the operations at the ceiling, and each item
            decoded once by all cores; on a CPU one after the other, else side by side.
        prediction: seconds if the stages, measured one after another in a plain loop, kept all
            cores busy; on an accelerator, if the CPU's stages ran beside the forwards.
        stages: seconds of that loop, one thread of torch's number for the forwards.
    """

    setting: Setting
    dtype: str
    modality: str
    items: int
    seconds: Spread
    naive: Spread | None
    ratio: Spread | None
    difference: float | None
    flops: float
    share: float
    floor: float
    prediction: float
    stages: Stages

    @property
    def rate(self) -> float:
        """Items a second, by the median."""
        return self.items / self.seconds.median


def measure(
    setting: Setting,
    media: Media,
    ceiling: Ceiling,
    *,
    naive: bool = False,
    runs: int = 3,
    known: Registry | None = None,
    on_done: Callable[[Figure], None] | None = None,
) -> tuple[Figure, ...]:
    """Measures each modality, then all of them in one call where there are several.

    Networks are built and have run once before anything is timed, and no row is kept. Engine and
    naive take turns in one process.

    Args:
        setting: what is measured.
        media: modality -> items, all different.
        ceiling: of the device.
        naive: measure the published code's way too.
        runs: of each.
        known: a registry of your own; by default the installed plugins.
        on_done: called with each figure once it is there.

    Raises:
        SetupError: an item fails: a rate of items that are not encoded means nothing.
        UnknownNameError, RecipeError: modalities that the recipe does not have.
    """
    bench = _Bench(setting, media, ceiling, runs, known)
    try:
        return bench.figures(naive=naive, on_done=on_done)
    finally:
        bench.model.engine.close()


@dataclass
class _Measured:
    """One modality before it is put beside its ceiling."""

    items: int
    seconds: list[float]
    naive: list[float] = field(default_factory=list[float])
    difference: float | None = None
    flops: float = 0.0
    stages: Stages = field(default_factory=Stages)


class _Bench:
    """A model, its plain counterparts, and what they are measured with."""

    def __init__(
        self,
        setting: Setting,
        media: Media,
        ceiling: Ceiling,
        runs: int,
        known: Registry | None,
    ) -> None:
        self.setting, self.media, self.ceiling, self.runs = setting, media, ceiling, runs
        self.model = setting.model(known)
        self.device = self.model.engine.device
        self.networks = Networks(setting, self.device)
        self.cards: Cards = cards_of(self.model, list(media))

    def figures(
        self, *, naive: bool, on_done: Callable[[Figure], None] | None
    ) -> tuple[Figure, ...]:
        self._warm()
        measured: dict[str, _Measured] = {}
        found: list[Figure] = []
        for modality in self.media:
            measured[modality] = self._one(modality, naive=naive)
            found.append(self._figure(modality, measured[modality]))
            if on_done:
                on_done(found[-1])
        if len(self.media) > 1:
            found.append(self._figure(ALL, self._all(measured)))
            if on_done:
                on_done(found[-1])
        return tuple(found)

    def _warm(self) -> None:
        """One small call of everything on a CPU, one of a whole batch where kernels are chosen."""
        few = 2 if self.device.type == "cpu" else self.setting.batch
        for modality, sources in self.media.items():
            embedded(self.model, sources[:few], modality)
            loop(self.model.known.modality(modality), sources[:few], self.cards, self.networks, few)

    def _one(self, modality: str, *, naive: bool) -> _Measured:
        sources, card = self.media[modality], self.model.known.modality(modality)
        kept: dict[str, Tensor] = {}
        way = Naive(self.model, self.networks, self.setting.batch)
        runs = [_kept(kept, "engine", partial(embedded, self.model, sources, modality))]
        if naive:
            runs.append(_kept(kept, "naive", partial(way.embed, modality, sources)))
        columns = in_turns(self.runs, *runs)
        _, stages = loop(card, sources, self.cards, self.networks, self.setting.batch)
        return _Measured(
            items=len(sources),
            seconds=columns[0],
            naive=columns[1] if naive else [],
            difference=_largest(kept["engine"], kept["naive"]) if naive else None,
            flops=per_item(card, self.cards, self.networks, sources) * len(sources),
            stages=stages,
        )

    def _all(self, measured: Mapping[str, _Measured]) -> _Measured:
        """The engine takes all in one call; the naive way, one after another, is the sum."""
        every = list(measured.values())
        sources = [source for listed in self.media.values() for source in listed]
        run = partial(embedded, self.model, sources, None)
        (seconds,) = in_turns(self.runs, lambda: seconds_of(run))
        differences = [one.difference for one in every if one.difference is not None]
        return _Measured(
            items=len(sources),
            seconds=seconds,
            naive=[sum(turn) for turn in zip(*(one.naive for one in every), strict=True)],
            difference=max(differences, default=None),
            flops=sum(one.flops for one in every),
            stages=sum((one.stages for one in every), Stages()),
        )

    def _figure(self, modality: str, one: _Measured) -> Figure:
        seconds = Spread.of(one.seconds)
        dtype = "float32"
        pairs = zip(one.naive, one.seconds, strict=True) if one.naive else ()
        ratios = [naive / engine for naive, engine in pairs]
        arithmetic = one.flops / self.ceiling.product(dtype)
        return Figure(
            setting=self.setting,
            dtype=dtype,
            modality=modality,
            items=one.items,
            seconds=seconds,
            naive=Spread.of(one.naive) if one.naive else None,
            ratio=Spread.of(ratios) if ratios else None,
            difference=one.difference,
            flops=one.flops / one.items,
            share=arithmetic / seconds.median,
            floor=self._together(one.stages.decode / cores(), arithmetic),
            prediction=self._predicted(one.stages),
            stages=one.stages,
        )

    def _predicted(self, stages: Stages) -> float:
        prepared = (stages.decode + stages.preprocess) / cores()
        if self.device.type != "cpu":
            return self._together(prepared, stages.forward)
        threads = min(torch.get_num_threads(), cores())
        return self._together(prepared, stages.forward * threads / cores())

    def _together(self, prepared: float, encoded: float) -> float:
        """A CPU does both with the same cores; beside an accelerator they overlap."""
        return prepared + encoded if self.device.type == "cpu" else max(prepared, encoded)


def embedded(model: Embedder, sources: Sequence[Path | str], modality: str | None) -> Tensor:
    """Joint rows of all items.

    Raises:
        SetupError: one of them fails.
    """
    found = model.embed(sources, modality)
    if found.errors:
        raise failed(found.errors)
    return found.rows


def failed(failures: Sequence[ItemFailure]) -> SetupError:
    """What a benchmark says when items fail."""
    first = failures[0]
    return SetupError(
        "a rate of items that all become rows",
        found=f"{len(failures)} fail; {first.item}, {first.stage}: {first.reason}",
        next_step="leave these files out",
    )


def _kept(kept: dict[str, Tensor], name: str, run: Callable[[], Tensor]) -> Callable[[], float]:
    """Times a run and keeps its rows."""

    def timed() -> float:
        rows: list[Tensor] = []
        seconds = seconds_of(lambda: rows.append(run()))
        kept[name] = rows[0]
        return seconds

    return timed


def _largest(a: Tensor, b: Tensor) -> float:
    return float((a.cpu() - b.cpu()).abs().max())
