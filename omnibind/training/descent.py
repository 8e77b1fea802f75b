"""One descent from first step to last: AdamW, a cosine, a state that a kill cannot take away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from omnibind.errors import TrainingError
from omnibind.training.curves import Curves, Pace
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.state import Reached, restore, save

__all__ = ["Descended", "DescentSettings", "Objective", "OnStep", "descend"]

OnStep = Callable[[int, int, float], None]
"""Called after each step with: steps done, steps in all, estimated seconds that remain."""


@dataclass(frozen=True, kw_only=True)
class DescentSettings:
    """How parameters are moved. All ours: the source is silent.

    Attributes:
        steps: in all.
        rate: AdamW's learning rate at its peak.
        weight_decay: AdamW's, on what has two axes or more: matrices, and of heads, which are
            stacked, biases (which BatchNorm takes back) and logarithms of temperatures too.
        warmup: share of the steps in which the rate rises from 0; then it falls as a cosine.
        seed: of the initial values and of every draw.
        save_every: steps between saved states: what a kill can cost.
        log_every: steps between points of a curve.
    """

    steps: int = 2000
    rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    seed: int = 0
    save_every: int = 200
    log_every: int = 20


@runtime_checkable
class Objective(Protocol):
    """A module with a loss in named parts, each of which has one culprit."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        ...

    def parts(self, step: int) -> Float[Tensor, " part"]:
        """This rank's shares of the parts in one step."""
        ...

    def figures(self, step: int) -> Mapping[str, float]:
        """Further points for the curves; raises TrainingError where they show a collapse."""
        ...


@dataclass(frozen=True, kw_only=True)
class Descended:
    """What a descent took.

    Attributes:
        steps: in all.
        seconds: of all its runs together.
        resumed: the step that the last run began at.
        loss: the sum of the parts at the last step.
    """

    steps: int
    seconds: float
    resumed: int
    loss: float


def descend(
    objective: Objective,
    settings: DescentSettings,
    folder: Path,
    *,
    inputs: str,
    ranks: Ranks = ALONE,
    on_step: OnStep | None = None,
) -> Descended:
    """Minimises an objective; goes on where a killed run of the same inputs had saved its state.

    Args:
        objective: an `nn.Module`; parameters that do not require gradients stay.
        settings: of the optimiser.
        folder: for `state.safetensors`, `curves.jsonl` and TensorBoard's event files.
        inputs: fingerprint; a saved state of other inputs is not used.
        ranks: the processes that train together.
        on_step: told of each step.

    Raises:
        TrainingError: a loss or parameter that is not finite, or a collapse.
    """
    assert isinstance(objective, nn.Module)
    optimiser = _adamw(objective, settings)
    start, spent, loss = restore(folder, objective, optimiser, inputs=inputs)
    pace = Pace(settings.steps - start)
    began = time.monotonic()
    with Curves(folder, start, writes=ranks.first) as curves:
        for step in range(start, settings.steps):
            parts = _step(objective, optimiser, settings, step, ranks)
            loss = float(parts.sum())
            if step % settings.log_every == 0 or step + 1 == settings.steps:
                curves.add(step, _points(objective, parts, step, settings))
            remaining = pace.after_step(time.monotonic())
            if on_step:
                on_step(step + 1, settings.steps, remaining)
            if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
                _refuse_broken(objective, step)
                if ranks.first:
                    now = Reached(step + 1, spent + time.monotonic() - began, loss)
                    save(folder, objective, optimiser, inputs=inputs, at=now)
    ranks.wait()
    seconds = spent + time.monotonic() - began
    return Descended(steps=settings.steps, seconds=seconds, resumed=start, loss=loss)


def rate_at(step: int, settings: DescentSettings) -> float:
    """The learning rate of a step: linear rise, then half a cosine down to 0."""
    rise = max(1, round(settings.warmup * settings.steps))
    if step < rise:
        return settings.rate * (step + 1) / rise
    share = (step - rise) / max(1, settings.steps - rise)
    return settings.rate * (1 + math.cos(math.pi * share)) / 2


def _adamw(module: nn.Module, settings: DescentSettings) -> torch.optim.AdamW:
    learned = [p for p in module.parameters() if p.requires_grad]
    decayed = [p for p in learned if p.ndim > 1]
    others = [p for p in learned if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.rate, fused=True)


def _step(
    objective: Objective,
    optimiser: torch.optim.AdamW,
    settings: DescentSettings,
    step: int,
    ranks: Ranks,
) -> Tensor:
    """One step; the parts of the global batch's loss."""
    for group in optimiser.param_groups:
        group["lr"] = rate_at(step, settings)
    optimiser.zero_grad()
    parts = objective.parts(step)
    whole = ranks.total(parts.detach())
    _refuse_not_finite(objective.names, whole, step)
    parts.sum().backward()
    ranks.add_gradients(p for group in optimiser.param_groups for p in group["params"])
    optimiser.step()
    return whole


def _points(
    objective: Objective, parts: Tensor, step: int, settings: DescentSettings
) -> dict[str, float]:
    named = {f"loss/{n}": p for n, p in zip(objective.names, parts.tolist(), strict=True)}
    figures = objective.figures(step)
    return {"loss": float(parts.sum()), "rate": rate_at(step, settings), **named, **figures}


def _refuse_not_finite(names: tuple[str, ...], parts: Tensor, step: int) -> None:
    if not parts.isfinite().all():
        culprits = [
            f"{name}: {value}"
            for name, value in zip(names, parts.tolist(), strict=True)
            if not math.isfinite(value)
        ]
        raise TrainingError(
            f"a finite loss at step {step}",
            found=culprits,
            next_step="look for rows that are not finite, or lower `rate`; the last saved state is "
            "from before",
        )


def _refuse_broken(module: nn.Module, step: int) -> None:
    broken = [n for n, p in module.state_dict().items() if not p.isfinite().all()]
    if broken:
        raise TrainingError(
            f"finite parameters after step {step}",
            found=f"none in {', '.join(broken[:5])}",
            next_step="lower `rate`; the last saved state is from before",
        )
