"""Training heads: all of them as one batched module against a loop over heads and spaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch

from omnibind.projectors import HeadEnsemble
from omnibind.specs import Recipe
from omnibind.training.heads import HeadObjective, HeadSettings, new_heads
from omnibind.training.tuples import RowsInMemory, Tuples

__all__ = ["Sizes", "Throughput", "measure"]

ITEMS = 2000
LEAST_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is trained.

    Attributes:
        spaces: of one width, each of texts and pictures.
        dim: of their rows and of the backbone's.
        hidden: of the heads.
        batch: rows a head and step.
    """

    spaces: int = 4
    dim: int = 64
    hidden: int = 64
    batch: int = 48


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Rows that pass a head and are learned from, a second.

    Attributes:
        batched: all heads of all spaces as one module, one optimiser.
        loop: one head of one space after another, an optimiser each; the same loss.
    """

    sizes: Sizes
    batched: float
    loop: float

    @property
    def ratio(self) -> float:
        """How many times as fast."""
        return self.batched / self.loop


def measure(sizes: Sizes, *, seconds: float = 5.0) -> Throughput:
    """Times steps of both in turns, so that other work on the machine hits both alike.

    Args:
        sizes: of the heads and batches.
        seconds: to spend on each.
    """
    names = [f"space-{k}" for k in range(sizes.spaces)]
    recipe = Recipe(
        name="bench", backbone="back", joint_dim=sizes.dim, slots={}, hidden=sizes.hidden
    )
    rows, tuples = _data(names, sizes.dim)
    settings = HeadSettings(batch=sizes.batch)
    whole = _stepper(names, recipe, rows, tuples, settings)
    each = [
        _stepper([name], replace(recipe, heads=(head,)), rows, tuples, settings)
        for name in names
        for head in recipe.heads
    ]
    batched, loop = _in_turns(whole, lambda step: [one(step) for one in each], seconds)
    learned = len(names) * len(recipe.heads) * sizes.batch
    return Throughput(sizes=sizes, batched=learned / batched, loop=learned / loop)


def _data(names: Sequence[str], dim: int) -> tuple[RowsInMemory, Tuples]:
    random = torch.Generator().manual_seed(0)
    rows = {
        m: {name: torch.randn(ITEMS, dim, generator=random) for name in ("back", *names)}
        for m in ("text", "image")
    }
    modalities = ("text", "image", "audio")
    every = torch.arange(ITEMS)
    ones: dict[str, torch.Tensor] = {m: torch.ones(ITEMS) for m in modalities}
    items: dict[str, torch.Tensor] = dict.fromkeys(modalities, every)
    tuples = Tuples(
        modalities=modalities, query=every % 3, items=items, similarity=ones, margin=ones
    )
    return RowsInMemory(rows), tuples


def _stepper(
    names: Sequence[str], recipe: Recipe, rows: RowsInMemory, tuples: Tuples, settings: HeadSettings
) -> Callable[[int], None]:
    group = HeadEnsemble.stacked(
        [new_heads(name, recipe.joint_dim, recipe, seed=0) for name in names]
    )
    objective = HeadObjective(recipe, [group], rows, tuples, settings).train()
    optimiser = torch.optim.AdamW(objective.parameters(), fused=True)

    def step(number: int) -> None:
        optimiser.zero_grad()
        objective.parts(number).sum().backward()
        optimiser.step()

    return step


def _in_turns(
    a: Callable[[int], object], b: Callable[[int], object], seconds: float
) -> tuple[float, float]:
    """Median seconds a step of each."""
    times: tuple[list[float], list[float]] = ([], [])
    step = 0
    while step <= LEAST_RUNS or sum(map(sum, times)) < 2 * seconds:
        for run, spent in zip((a, b), times, strict=True):
            began = time.perf_counter()
            run(step)
            spent.append(time.perf_counter() - began)
        step += 1
    return median(times[0][1:]), median(times[1][1:])
