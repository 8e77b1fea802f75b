"""Items a second of an engine, beside the published code's way and what the device could do."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from omnibind.bench.bare import Stages, loop
from omnibind.bench.ceiling import Ceiling
from omnibind.bench.flops import per_item
from omnibind.bench.hardware import cores
from omnibind.bench.media import Media
from omnibind.bench.naive import Naive
from omnibind.bench.networks import Networks
from omnibind.bench.profile import peak_of, profiled
from omnibind.bench.setting import Cards, Setting, cards_of
from omnibind.bench.timing import Spread
from omnibind.embedder import Embedder, SpaceRows
from omnibind.errors import ItemFailure, SetupError
from omnibind.plugins import Registry

__all__ = ["ALL", "Figure", "measure"]

ALL = "all"
"""What the figure of all modalities in one call is named."""
LOOPED = 2
"""Batches of each modality that the plain loop runs over."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One modality of one setting, or all of them in one call.

    Attributes:
        setting: recipe, size, weights, device and batch.
        dtype: what the engine's networks compute in where their cards bear it.
        modality: or `all`.
        items: how many were embedded in a run.
        seconds: wall, of the engine, from files to joint rows.
        naive: the same of the published code's way; None where it was not asked for.
        ratio: naive over engine, turn by turn.
        work: the same of processor seconds: what the engine saves, without what it does side by
            side. An accelerator's work is not in it.
        difference: largest |d| of a joint row's number between the two.
        cosine: the least of a joint row of the one with that of the other, which says more where
            the engine computes in narrower numbers than float32.
        alone: the networks of the naive way and of the plain loop did not fit together, and came
            one at a time, when the engine's had left; neither's coming is timed.
        resident: bytes of the engine's weights on its devices after a run.
        moved: bytes of weights that a run moved there: 0 where all of them stay.
        peak: bytes that a run took on the device at most, with activations; None on a CPU.
        flops: floating-point operations an item, each network once.
        share: of the ceiling: operations a second over the rate of the large product.
        floor: seconds that no program could beat: the operations at the ceiling, and each item
            decoded once by all cores; on a CPU one after the other, else side by side.
        prediction: seconds if the stages, measured one after another in a plain loop, kept all
            cores busy; on an accelerator, if the CPU's stages ran beside the forwards.
        stages: seconds of that loop, which runs over a few batches; scaled to all items.
    """

    setting: Setting
    dtype: str
    modality: str
    items: int
    seconds: Spread
    naive: Spread | None
    ratio: Spread | None
    work: Spread | None
    difference: float | None
    cosine: float | None
    alone: bool
    resident: int
    moved: int
    peak: int | None
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
    alone: bool | None = None,
    known: Registry | None = None,
    on_turn: Callable[[int], None] = lambda turn: None,
    profile: Path | None = None,
) -> tuple[Figure, ...]:
    """Measures each modality, and all of them in one call where there are several.

    Networks have run once before anything is timed, building them never is, and no row is kept. In
    every turn the engine, the naive way and the plain loop run once, so that other work on the
    machine hits all of them alike.

    Args:
        setting: what is measured.
        media: modality -> items, all different.
        ceiling: of the device.
        naive: measure the published code's way too.
        runs: of each.
        alone: whether networks beside the engine's come one at a time; by default, where they do
            not fit together.
        known: a registry of your own; by default the installed plugins.
        on_turn: called with the number of each turn that is done.
        profile: a file for what one more run of the engine spends its time on (see
            `omnibind.bench.profile`).

    Raises:
        SetupError: an item fails: a rate of items that are not encoded means nothing.
        UnknownNameError, RecipeError: modalities that the recipe does not have.
    """
    bench = _Bench(setting, media, ceiling, known)
    try:
        figures = tuple(bench.measure(runs, naive=naive, alone=alone, on_turn=on_turn))
        if profile is not None:
            bench.profile(profile)
        return figures
    finally:
        bench.model.engine.close()


@dataclass
class _Turns:
    """One modality, or all of them: what each turn gave.

    Attributes:
        seconds, work: wall and processor seconds of the engine.
        naive, naive_work: the same of the naive way.
        stages: of the plain loop.
    """

    items: int
    flops: float
    seconds: list[float] = field(default_factory=list[float])
    work: list[float] = field(default_factory=list[float])
    naive: list[float] = field(default_factory=list[float])
    naive_work: list[float] = field(default_factory=list[float])
    stages: list[Stages] = field(default_factory=list[Stages])
    difference: float | None = None
    cosine: float | None = None
    resident: int = 0
    moved: int = 0
    peak: int | None = None

    def compare(self, rows: Tensor, same: Tensor) -> None:
        """Keeps how far rows of the two ways lie apart at most."""
        self.difference = max(self.difference or 0.0, float((rows - same).abs().max()))
        alike = float(torch.cosine_similarity(rows.double(), same.double()).min())
        self.cosine = min(1.0 if self.cosine is None else self.cosine, alike)


class _Bench:
    """A model, its plain counterparts, and what they are measured with."""

    def __init__(
        self, setting: Setting, media: Media, ceiling: Ceiling, known: Registry | None
    ) -> None:
        self.setting, self.media, self.ceiling = setting, media, ceiling
        self.model = setting.model(known)
        self.device = self.model.engine.device
        self.networks = Networks(setting, self.device)
        self.naive = Naive(self.model, self.networks, setting.batch)
        self.cards: Cards = cards_of(self.model, list(media))
        self.turns: dict[str, _Turns] = {}

    def measure(
        self, runs: int, *, naive: bool, alone: bool | None, on_turn: Callable[[int], None]
    ) -> list[Figure]:
        self._warm(naive=naive, alone=alone)
        self.turns = {modality: self._turns(modality) for modality in self.media}
        whole = _Turns(
            items=sum(one.items for one in self.turns.values()),
            flops=sum(one.flops for one in self.turns.values()),
        )
        for turn in range(runs):
            for modality, one in self.turns.items():
                self._turn(modality, one, naive=naive)
            if len(self.turns) > 1:
                self._turn_of_all(whole, naive=naive)
            on_turn(turn + 1)
        figures = [self._figure(modality, one) for modality, one in self.turns.items()]
        return [*figures, self._figure(ALL, whole)] if len(figures) > 1 else figures

    def profile(self, file: Path) -> None:
        """One more run of the engine over a few batches of each modality."""
        self._give_engine(*self.media)
        with profiled(file, self.device):
            embedded(self.model, [one for m in self.media for one in self._few(m)])

    def _few(self, modality: str) -> Sequence[Path | str]:
        return self.media[modality][: LOOPED * self.setting.batch]

    def _turns(self, modality: str) -> _Turns:
        sources, card = self.media[modality], self.model.known.modality(modality)
        flops = per_item(card, self.cards, self.networks, sources)
        return _Turns(items=len(sources), flops=flops * len(sources))

    def _warm(self, *, naive: bool, alone: bool | None) -> None:
        """One small call of everything; the naive way and the loop use the same networks."""
        for modality in self.media:
            embedded(self.model, self._first(modality), modality)
        every = [card for cards in self.cards.values() for card in cards.values()]
        if alone is None:
            alone = not self.networks.fit(every, published=naive)
        self.networks.alone = alone
        self._give_others()
        for modality in self.media:
            first, card = self._first(modality), self.model.known.modality(modality)
            if naive:
                self.naive.embed(modality, first)
            else:
                loop(card, first, self.cards, self.networks, self.setting.batch)

    def _first(self, modality: str) -> Sequence[Path | str]:
        """A whole batch where kernels are chosen by its size."""
        return self.media[modality][: 2 if self.device.type == "cpu" else self.setting.batch]

    def _give_engine(self, *modalities: str) -> None:
        """The device to the engine alone, whose weights come back before it is timed."""
        if self.networks.alone:
            self.networks.forget()
            for modality in modalities:
                embedded(self.model, self._first(modality), modality)

    def _give_others(self) -> None:
        """The device to the naive way and the loop."""
        if self.networks.alone:
            self.model.engine.rest()

    def _turn(self, modality: str, one: _Turns, *, naive: bool) -> None:
        """The engine, the naive way and the plain loop, each once."""
        sources, card = self.media[modality], self.model.known.modality(modality)
        self._give_engine(modality)
        with self._engine_runs(one):
            rows = embedded(self.model, sources, modality)
        self._give_others()
        if naive:
            with _clocks(one.naive, one.naive_work, self.networks):
                same = self.naive.embed(modality, sources)
            one.compare(rows, same)
        few = self._few(modality)
        _, stages = loop(card, few, self.cards, self.networks, self.setting.batch)
        one.stages.append(stages * (len(sources) / len(few)))

    def _turn_of_all(self, whole: _Turns, *, naive: bool) -> None:
        """The engine takes all in one call; everything that goes one after another adds up."""
        self._give_engine(*self.media)
        with self._engine_runs(whole):
            embedded(self.model, [source for every in self.media.values() for source in every])
        every = list(self.turns.values())
        whole.stages.append(sum((one.stages[-1] for one in every), Stages()))
        if naive:
            whole.naive.append(sum(one.naive[-1] for one in every))
            whole.naive_work.append(sum(one.naive_work[-1] for one in every))
            whole.difference = max(one.difference or 0.0 for one in every)
            whole.cosine = min(one.cosine or 0.0 for one in every)

    @contextmanager
    def _engine_runs(self, one: _Turns) -> Generator[None]:
        """Times the engine, and looks at the memory that it takes."""
        before = _moved(self.model)
        with peak_of(self.device) as peak, _clocks(one.seconds, one.work):
            yield
        one.peak = None if peak.nbytes is None else peak.nbytes - self.networks.nbytes
        one.moved = _moved(self.model) - before
        lanes = self.model.engine.stats().lanes
        one.resident = sum(sum(lane.resident_bytes.values()) for lane in lanes)

    def _figure(self, modality: str, one: _Turns) -> Figure:
        seconds, dtype = Spread.of(one.seconds), self.model.engine.networks.dtype
        arithmetic = one.flops / self.ceiling.product(dtype)
        stages = sorted(one.stages, key=lambda turn: turn.total)[len(one.stages) // 2]
        return Figure(
            setting=self.setting,
            dtype=dtype,
            modality=modality,
            items=one.items,
            seconds=seconds,
            naive=Spread.of(one.naive) if one.naive else None,
            ratio=_ratio(one.naive, one.seconds),
            work=_ratio(one.naive_work, one.work),
            difference=one.difference,
            cosine=one.cosine,
            alone=self.networks.alone,
            resident=one.resident,
            moved=one.moved,
            peak=one.peak,
            flops=one.flops / one.items,
            share=arithmetic / seconds.median,
            floor=self._together(stages.decode / cores(), arithmetic),
            prediction=self._predicted(stages),
            stages=stages,
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


def embedded(model: Embedder, sources: Sequence[Path | str], modality: str | None = None) -> Tensor:
    """Joint rows of all items.

    Raises:
        SetupError: one of them fails.
    """
    found = model.embed(sources, modality)
    if found.errors:
        raise failed(found.errors)
    return found.rows


def encoded(
    model: Embedder, sources: Sequence[Path | str], modality: str | None = None
) -> SpaceRows:
    """Rows of all items by space, not bound.

    Raises:
        SetupError: one of them fails.
    """
    found = model.encode(sources, modality)
    if found.errors:
        raise failed(found.errors)
    return found


def failed(failures: Sequence[ItemFailure]) -> SetupError:
    """What a benchmark says when items fail."""
    first = failures[0]
    return SetupError(
        "a rate of items that all become rows",
        found=f"{len(failures)} fail; {first.item}, {first.stage}: {first.reason}",
        next_step="leave these files out",
    )


def _ratio(above: Sequence[float], below: Sequence[float]) -> Spread | None:
    """Turn by turn; None where the first was not measured."""
    return Spread.of(a / b for a, b in zip(above, below, strict=True)) if above else None


def _moved(model: Embedder) -> int:
    return sum(sum(lane.moved.values()) for lane in model.engine.stats().lanes)


@contextmanager
def _clocks(
    wall: list[float], work: list[float], networks: Networks | None = None
) -> Generator[None]:
    """Adds the wall and the processor seconds of what is done meanwhile, but for building."""

    def now() -> tuple[float, float]:
        built = (networks.wall, networks.work) if networks else (0.0, 0.0)
        return time.perf_counter() - built[0], time.process_time() - built[1]

    began = now()
    yield
    done = now()
    wall.append(done[0] - began[0])
    work.append(done[1] - began[1])
