"""The same work without an engine: a plain loop, one item and one batch after another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from omnibind.bench.networks import Networks
from omnibind.bench.setting import Cards
from omnibind.engine.finishing import batch_of, finishes_early, sample_of
from omnibind.engine.precision import Numbers, computing
from omnibind.specs import Encoder, EncoderSpec, Modality, resolve

__all__ = ["Stages", "chunks", "forward", "loop"]

Sample = dict[str, Tensor]


@dataclass
class Stages:
    """Wall seconds of the stages of a loop that does one thing at a time."""

    decode: float = 0.0
    preprocess: float = 0.0
    forward: float = 0.0

    @property
    def total(self) -> float:
        """All of them."""
        return self.decode + self.preprocess + self.forward

    def __add__(self, other: Stages) -> Stages:
        return Stages(
            self.decode + other.decode,
            self.preprocess + other.preprocess,
            self.forward + other.forward,
        )

    def __mul__(self, factor: float) -> Stages:
        return Stages(self.decode * factor, self.preprocess * factor, self.forward * factor)


def loop(
    modality: Modality, sources: Sequence[Path | str], cards: Cards, networks: Networks, batch: int
) -> tuple[dict[str, Tensor], Stages]:
    """Decodes each item once and runs each network once an item, `batch` items at a time.

    Where not all networks fit together, items are decoded again for each: that is not counted, and
    nor is building.

    Returns:
        encoder key -> rows `[item, dim]` on the CPU, and the seconds of each stage.
    """
    rows: dict[str, Tensor] = {}
    stages = Stages()
    for group in networks.groups(cards[modality.name].values()):
        more, took = _together(modality, sources, group, networks, batch)
        stages += replace(took, decode=0.0) if rows else took
        rows |= more
    return rows, stages


def _together(
    modality: Modality,
    sources: Sequence[Path | str],
    group: Sequence[EncoderSpec],
    networks: Networks,
    batch: int,
) -> tuple[dict[str, Tensor], Stages]:
    """The loop over networks that are there together; when it ends, nobody holds them here."""
    load, stages = resolve(modality.load), Stages()
    early = finishes_early([networks.device])
    encoders = {card.key: networks.get(card) for card in group}
    rows: dict[str, list[Tensor]] = {key: [] for key in encoders}
    for chunk in chunks(sources, batch):
        began = time.perf_counter()
        media = [load(source) for source in chunk]
        stages.decode += time.perf_counter() - began
        for card in group:
            encoder, numbers = encoders[card.key], networks.numbers(card)
            began = time.perf_counter()
            samples = [sample_of(encoder, one, early=early) for one in media]
            done = time.perf_counter()
            rows[card.key].append(forward(encoder, samples, networks.device, numbers))
            stages.preprocess += done - began
            stages.forward += time.perf_counter() - done
    return {key: torch.cat(every) for key, every in rows.items()}, stages


def forward(
    encoder: Encoder, samples: Sequence[Sample], device: torch.device, numbers: Numbers = "float32"
) -> Tensor:
    """Rows of one batch, `[item, dim]`, on the CPU in float32; finished late but on a CPU."""
    batch = batch_of(encoder, samples, device, early=finishes_early([device]))
    with torch.inference_mode(), computing(numbers, device):
        return encoder(batch).float().cpu()


def chunks(sources: Sequence[Path | str], size: int) -> list[Sequence[Path | str]]:
    """Consecutive parts of at most `size` items."""
    return [sources[start : start + size] for start in range(0, len(sources), size)]
