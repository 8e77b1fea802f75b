"""Training heads: all of them as one batched module against a plain loop over spaces and heads."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from omnibind.projectors import HeadEnsemble
from omnibind.specs import Recipe
from omnibind.training.draws import drawn, eligible, subset
from omnibind.training.heads import HeadObjective, HeadSettings, new_heads
from omnibind.training.losses import repeats
from omnibind.training.tuples import RowsInMemory, Tuples

__all__ = ["Given", "Sizes", "Throughput", "batched_step", "given", "loop_step", "measure"]

Step = Callable[[int], float]
"""Takes the number of the step, and gives its loss."""
MODALITIES = ("text", "image")
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
        loop: one head of one space after another, each an `nn.Sequential` with an optimiser and
            draws of its own; the same loss, as PyTorch has it.
        own_loop: the same loop over modules of ours, with one head each.
    """

    sizes: Sizes
    batched: float
    loop: float
    own_loop: float

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
    names, data = given(sizes)
    recipe = data.recipe
    whole = batched_step(names, data)
    plain = [loop_step(name, head, data) for name in names for head in recipe.heads]
    ours = [
        batched_step([name], replace(data, recipe=replace(recipe, heads=(head,))))
        for name in names
        for head in recipe.heads
    ]
    turns = [whole, *(partial(_each, several) for several in (plain, ours))]
    learned = len(names) * len(recipe.heads) * sizes.batch
    batched, loop, own_loop = (learned / one for one in _in_turns(turns, seconds))
    return Throughput(sizes=sizes, batched=batched, loop=loop, own_loop=own_loop)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What all of them train."""

    recipe: Recipe
    rows: RowsInMemory
    tuples: Tuples
    settings: HeadSettings


def given(sizes: Sizes) -> tuple[list[str], Given]:
    """Names of the spaces, and random rows of them and of the backbone, paired by position."""
    names = [f"space-{k}" for k in range(sizes.spaces)]
    recipe = Recipe(
        name="bench", backbone="back", joint_dim=sizes.dim, slots={}, hidden=sizes.hidden
    )
    rows, tuples = _data(names, sizes.dim)
    settings = HeadSettings(batch=sizes.batch)
    return names, Given(recipe=recipe, rows=rows, tuples=tuples, settings=settings)


def _data(names: Sequence[str], dim: int) -> tuple[RowsInMemory, Tuples]:
    random = torch.Generator().manual_seed(0)
    rows = {
        m: {name: torch.randn(ITEMS, dim, generator=random) for name in ("back", *names)}
        for m in MODALITIES
    }
    modalities = ("text", "image", "audio")
    every = torch.arange(ITEMS)
    ones: dict[str, torch.Tensor] = {m: torch.ones(ITEMS) for m in modalities}
    items: dict[str, torch.Tensor] = dict.fromkeys(modalities, every)
    tuples = Tuples(
        modalities=modalities, query=every % 3, items=items, similarity=ones, margin=ones
    )
    return RowsInMemory(rows), tuples


def batched_step(names: Sequence[str], given: Given) -> Step:
    """A step of all heads of some spaces at once."""
    dim = given.recipe.joint_dim
    group = HeadEnsemble.stacked([new_heads(name, dim, given.recipe, seed=0) for name in names])
    objective = HeadObjective(
        given.recipe, [group], given.rows, given.tuples, given.settings
    ).train()
    optimiser = torch.optim.AdamW(objective.parameters(), fused=True)

    def step(number: int) -> float:
        optimiser.zero_grad()
        loss = objective.parts(number).sum()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def loop_step(space: str, head: str, given: Given) -> Step:
    """A step of one head of one space, as one would write it first."""
    network = _network(space, head, given.recipe)
    log_scale = nn.Parameter(torch.tensor(-math.log(given.settings.temperature)))
    optimiser = torch.optim.AdamW([*network.parameters(), log_scale], fused=True)
    tuples, pairs = given.tuples, list(product(MODALITIES, MODALITIES))
    among = eligible(tuples, subset(head, tuples.modalities), MODALITIES, whom=head)
    share = given.settings.batch // len(MODALITIES)

    def step(number: int) -> float:
        optimiser.zero_grad()
        chosen = drawn(among, share, seed=0, step=number, name=head)
        items = {m: tuples.items[m][chosen] for m in MODALITIES}
        rows = torch.cat([given.rows.take(space, m, items[m]) for m in MODALITIES])
        made = dict(zip(MODALITIES, F.normalize(network(rows), dim=1).split(share), strict=True))
        loss = torch.zeros(())
        for m, n in pairs:
            logits = made[m] @ given.rows.take("back", n, items[n]).T * log_scale.exp()
            logits = logits.masked_fill(repeats(items[m], items[n]), -torch.inf)
            own = torch.arange(share)
            both = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
            loss = loss + both / (2 * len(pairs))
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def _network(space: str, head: str, recipe: Recipe) -> nn.Sequential:
    """The head of that name, with the same first values."""
    state = new_heads(space, recipe.joint_dim, recipe, seed=0)
    at = recipe.heads.index(head)
    first, last = nn.Linear(state.dim, state.hidden), nn.Linear(state.hidden, state.joint)
    with torch.no_grad():
        first.weight.copy_(state.first.view(-1, state.hidden, state.dim)[at])
        last.weight.copy_(state.second[at])
        first.bias.zero_()
        last.bias.zero_()
    norms = nn.BatchNorm1d(state.hidden), nn.BatchNorm1d(state.joint)
    return nn.Sequential(first, norms[0], nn.ReLU(), last, norms[1]).train()


def _each(steps: Sequence[Step], number: int) -> float:
    return sum(step(number) for step in steps)


def _in_turns(runs: Sequence[Step], seconds: float) -> list[float]:
    """Median seconds a step of each."""
    times: list[list[float]] = [[] for _ in runs]
    step = 0
    while step <= LEAST_RUNS or sum(map(sum, times)) < len(runs) * seconds:
        for run, spent in zip(runs, times, strict=True):
            began = time.perf_counter()
            run(step)
            spent.append(time.perf_counter() - began)
        step += 1
    return [median(spent[1:]) for spent in times]
