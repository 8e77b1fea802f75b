r"""How routers learn: the projectors are frozen, and every modality has to find every other.

$$ L = \sum_{m < n} \mathrm{InfoNCE}(z_m, z_n)
   + \lambda_1 \, \mathrm{steer}(w_{\text{text}})
   + \lambda_2 \, \mathrm{spread}(z_{\text{text}}) $$

with `z` the joint rows of a tuple's items and `w` the text router's weights.

Source: arXiv:2407.11895 has the two objectives, alignment of all modality pairs and decoupling of
languages by the text router; it gives no formula. Ours: both terms of the second, and all numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from omnibind.binder import Binder, BoundRows
from omnibind.errors import TrainingError
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot
from omnibind.training.descent import DescentSettings
from omnibind.training.draws import drawn, eligible
from omnibind.training.losses import info_nce, repeats, spread, steer
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.tuples import RowSource, Tuples
from omnibind.weights.build import seeded

__all__ = ["Load", "RouterObjective", "RouterSettings", "load_of", "new_router", "rows_of"]

TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class RouterSettings:
    """How routers are trained; recorded in the checkpoint. All ours.

    Attributes:
        descent: steps, rate, seed.
        batch: tuples a step.
        joint_items: the tuples are found anew in the joint space among so many items a pool (see
            `omnibind.training.joint`); 0 trains on those of the stage `pair`.
        temperature: of InfoNCE; fixed.
        steer: weight of the term that sends texts to the slots that know their modality.
        spread: weight of the term that keeps texts apart.
        mask_repeats: places of a batch that show the same item are no negatives of each other.
        collapse_entropy, collapse_share: training stops when a router's mean entropy (of log
            slots) is below the one while one slot's mean weight is above the other.
        prior_items: items of each pool over which the slot priors are means.
    """

    descent: DescentSettings = field(default_factory=lambda: DescentSettings(steps=1000))
    batch: int = 384
    joint_items: int = 20_000
    temperature: float = 0.05
    steer: float = 0.1
    spread: float = 0.1
    mask_repeats: bool = True
    collapse_entropy: float = 0.02
    collapse_share: float = 0.98
    prior_items: int = 4096


@dataclass(frozen=True, kw_only=True)
class Load:
    """How evenly a router uses its slots.

    Attributes:
        entropy: mean over items, as a share of log(slots): 1 is uniform, 0 is one slot an item.
        weights: mean weight by slot; they add up to 1.
        balance: entropy of the mean weights, likewise: 0 when all items use one slot.
    """

    entropy: float
    weights: Mapping[str, float]
    balance: float


class RouterObjective(nn.Module):
    """The loss in parts: one a modality pair (`audio-image`), then `steer` and `spread`.

    Args:
        binder: with routers to train; its projectors are frozen and in eval mode.
        rows: what is trained on.
        tuples: which of them belong together.
        settings: see there.
        ranks: the processes that train together.

    Raises:
        TrainingError: fewer than two modalities, or too few whole tuples.
    """

    def __init__(
        self,
        binder: Binder,
        rows: RowSource,
        tuples: Tuples,
        settings: RouterSettings,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.routers = binder.routers
        self._bind = binder.forward  # no child: its projectors are no part of the state
        self.recipe, self.rows, self.tuples = binder.recipe, rows, tuples
        self.settings, self.ranks = settings, ranks
        self.modalities = tuple(
            m for m in tuples.modalities if m in self.recipe.slots and m in rows.modalities()
        )
        if len(self.modalities) < 2:
            raise TrainingError(
                "routers that align modalities with one another",
                found=f"pools of {', '.join(self.modalities) or 'nothing'} with slots",
                next_step="give pools of at least two modalities of the recipe",
            )
        self._pairs = tuple(combinations(self.modalities, 2))
        self._among = eligible(tuples, self.modalities, self.modalities, whom="the routers")
        knowing = torch.tensor(
            [
                [knows(slot, m, rows) for slot in self.recipe.slots.get(TEXT, ())]
                for m in self.modalities
            ]
        )
        self._knows = knowing | ~knowing.any(1, keepdim=True)
        self._loads: dict[str, Load] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        extra = ("steer", "spread") if TEXT in self.modalities else ()
        return (*(f"{a}-{b}" for a, b in self._pairs), *extra)

    def parts(self, step: int) -> Float[Tensor, " part"]:
        """The losses of one step, weighted."""
        chosen = drawn(
            self._among,
            self.settings.batch,
            seed=self.settings.descent.seed,
            step=step,
            name="routers",
        )[self.ranks.part(self.settings.batch)]
        items = {m: self.tuples.items[m][chosen] for m in self.modalities}
        bound = {m: self._bound(m, items[m]) for m in self.modalities}
        self._loads = {m: load_of(one.weights, one.slots) for m, one in bound.items()}
        parts = [self._align(bound, items, a, b) for a, b in self._pairs]
        if TEXT in bound:
            parts.append(self.settings.steer * self._steer(bound[TEXT], chosen))
            parts.append(self.settings.spread * self._spread(bound[TEXT], items[TEXT]))
        return torch.stack(parts)

    def figures(self, step: int) -> Mapping[str, float]:
        """Entropy, balance and mean weights of the latest batch.

        Raises:
            TrainingError: a router has collapsed.
        """
        found: dict[str, float] = {}
        for modality, load in self._loads.items():
            if len(load.weights) > 1:
                self._refuse_collapse(modality, load, step)
                found[f"entropy/{modality}"] = load.entropy
                found[f"balance/{modality}"] = load.balance
                found |= {f"weight/{modality}/{slot}": w for slot, w in load.weights.items()}
        return found

    def _bound(self, modality: str, items: Tensor) -> BoundRows:
        return self._bind(modality, rows_of(self.rows, self.recipe, modality, items, self.ranks))

    def _align(
        self, bound: Mapping[str, BoundRows], items: Mapping[str, Tensor], a: str, b: str
    ) -> Float[Tensor, ""]:
        repeated = self._repeats(items[a], items[b]) if self.settings.mask_repeats else None
        scale = 1 / self.settings.temperature
        return info_nce(bound[a].rows, bound[b].rows, repeated, scale=scale, ranks=self.ranks)

    def _steer(self, texts: BoundRows, chosen: Tensor) -> Float[Tensor, ""]:
        slots = [slot.name for slot in self.recipe.slots[TEXT]]
        kept = [slots.index(name) for name in texts.slots]
        known = self._known(chosen)[:, kept].to(self.ranks.device)
        return steer(texts.weights, known, ranks=self.ranks)

    def _known(self, chosen: Tensor) -> Bool[Tensor, "item slot"]:
        """Which slot knows the modality that each tuple was seeded by; all where none does."""
        order = [self.tuples.modalities.index(m) for m in self.modalities]
        place = torch.empty(len(self.tuples.modalities), dtype=torch.int64)
        place[order] = torch.arange(len(order))
        return self._knows[place[self.tuples.query[chosen]]]

    def _spread(self, texts: BoundRows, items: Tensor) -> Float[Tensor, ""]:
        return spread(texts.rows, self._repeats(items), ranks=self.ranks)

    def _repeats(self, *items: Tensor) -> Tensor:
        return repeats(*(one.to(self.ranks.device) for one in items), ranks=self.ranks)

    def _refuse_collapse(self, modality: str, load: Load, step: int) -> None:
        slot = max(load.weights, key=load.weights.__getitem__)
        entropy, share = self.settings.collapse_entropy, self.settings.collapse_share
        if load.entropy < entropy and load.weights[slot] > share:
            raise TrainingError(
                f"a router for {modality!r} that uses its slots, at step {step}",
                found=f"{slot!r} has {load.weights[slot]:.1%} of the weight; "
                f"entropy {load.entropy:.4f} of 1, less than {entropy}",
                next_step=f"lower the temperature of {modality!r} in the recipe or `rate`; if "
                f"{slot!r} really is all that is needed, leave the other slots out",
            )


def rows_of(
    rows: RowSource, recipe: Recipe, modality: str, items: Tensor, ranks: Ranks = ALONE
) -> dict[str, Tensor]:
    """The rows that the slots and the router of a modality read, by space."""
    parts = [part for slot in recipe.slots[modality] for part in slot.parts]
    named = dict.fromkeys((*parts, *recipe.router_inputs.get(modality, ())))
    there = rows.spaces(modality)
    return {s: rows.take(s, modality, items).to(ranks.device) for s in named if s in there}


def new_router(modality: str, recipe: Recipe, dim: int, *, seed: int) -> Router:
    """An untrained router of a modality.

    Args:
        modality: with slots in the recipe.
        recipe: slots and temperature.
        dim: width of its inputs, all together.
        seed: of the initial values, together with the modality.
    """
    slots = [slot.name for slot in recipe.slots[modality]]
    temperature = recipe.temperature.get(modality, 1.0)
    made = seeded(lambda: Router(dim, slots, temperature=temperature), f"router:{modality}", seed)
    return cast("Router", made)


def knows(slot: Slot, modality: str, rows: RowSource) -> bool:
    """Whether a space of the slot reads the modality."""
    return any(part in rows.spaces(modality) for part in slot.parts)


def load_of(weights: Float[Tensor, "item slot"], slots: tuple[str, ...]) -> Load:
    """Entropy, mean weights and balance of some items' slot weights."""
    weights = weights.detach()
    mean = weights.mean(0)
    most = math.log(len(slots)) or 1.0
    return Load(
        entropy=float(torch.special.entr(weights).sum(-1).mean() / most),
        weights=dict(zip(slots, mean.tolist(), strict=True)),
        balance=float(torch.special.entr(mean).sum() / most),
    )
