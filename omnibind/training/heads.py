r"""How projectors learn: every head of every space of one width, in one batched product.

A step draws, for each head, tuples of its own query subset. The rows of a space in all of its
modalities go through the head and meet the backbone's rows of the same tuple in all of *its*
modalities:

$$ L = \sum_{\text{space } s} \sum_{\text{head } h} \frac{1}{|M_s| |M_b|}
   \sum_{m \in M_s} \sum_{n \in M_b} \mathrm{InfoNCE}(g_{sh}(x_m), b_n) $$

Heads share no parameters, so each learns what it would have learned alone.

Source: arXiv:2407.11895 for the heads, their query subsets and the backbone as target. Ours: the
sum over modality pairs, batches that mix the modalities of a space (so that BatchNorm's statistics
are those of later use), repeats that are no negatives, and all numbers in the settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from omnibind.errors import TrainingError
from omnibind.projectors import EPS, HeadEnsemble
from omnibind.specs import Recipe
from omnibind.training.aggregate import Aggregates
from omnibind.training.contrast import contrast
from omnibind.training.descent import DescentSettings
from omnibind.training.draws import drawn, eligible, subset
from omnibind.training.losses import info_nce, repeats
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.tuples import RowSource, Tuples
from omnibind.weights.build import seeded

__all__ = ["HeadObjective", "HeadSettings", "modalities_of", "new_heads", "share"]

SHARPEST = 100.0
FEWEST = 2
"""Tuples a step: one alone has no negatives."""


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How projectors are trained; recorded in the checkpoint. All ours.

    Attributes:
        descent: steps, rate, seed.
        batch: rows a head and step, shared out evenly among the modalities of the space.
        temperature: of InfoNCE; where it is learned, the first value.
        learn_temperature: one for each head; at least 1/100.
        points_with: points queries join the subsets that have this letter; "" for `mix` alone.
        mask_repeats: places of a batch that show the same item are no negatives of each other.
        aggregate: 0 trains on the row of the paired item (OmniBind); another number on an average
            of that many rows of the backbone's, drawn once from the pool and weighed by nearness
            to it (FreeBind, which takes all of the pool: a few say little of its way).
        aggregate_temperature: of that average's softmax.
    """

    descent: DescentSettings = field(default_factory=DescentSettings)
    batch: int = 384
    temperature: float = 0.07
    learn_temperature: bool = True
    points_with: str = "V"
    mask_repeats: bool = True
    aggregate: int = 0
    aggregate_temperature: float = 0.02


class HeadObjective(nn.Module):
    """The losses of all heads, one part each, named `space/head`.

    Args:
        recipe: backbone, heads.
        ensembles: each holds the spaces of one width.
        rows: what is trained on.
        tuples: which of them belong together.
        settings: see there.
        ranks: the processes that train together.

    Raises:
        TrainingError: no rows of the backbone, a batch that cannot be shared out, or too few
            tuples for a head.
    """

    def __init__(
        self,
        recipe: Recipe,
        ensembles: Sequence[HeadEnsemble],
        rows: RowSource,
        tuples: Tuples,
        settings: HeadSettings,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.ensembles = nn.ModuleList(ensembles)
        self.recipe, self.rows, self.tuples = recipe, rows, tuples
        self.settings, self.ranks = settings, ranks
        self.targets = modalities_of(rows, recipe.backbone, tuples)
        if not self.targets:
            raise TrainingError(
                f"rows of the backbone {recipe.backbone!r} to train towards",
                found=f"pools of {', '.join(rows.modalities()) or 'nothing'} without one",
                next_step="embed a pool of a modality that the backbone reads",
            )
        self.modalities = {
            s: modalities_of(rows, s, tuples) for group in ensembles for s in group.spaces
        }
        self._refuse_unread()
        self._among = [self._eligible(group.spaces) for group in ensembles]
        self._aggregates = Aggregates(
            recipe.backbone,
            rows,
            tuples.pools,
            settings.aggregate,
            settings.aggregate_temperature,
            seed=settings.descent.seed,
        )
        self.log_scale = nn.ParameterList(
            nn.Parameter(
                torch.full((len(group.spaces), group.heads), -math.log(settings.temperature)),
                requires_grad=settings.learn_temperature,
            )
            for group in ensembles
        )
        ranks.part(settings.batch)

    @property
    def names(self) -> tuple[str, ...]:
        """`space/head`, in the order of `parts`."""
        spaces = [s for g in cast("Sequence[HeadEnsemble]", self.ensembles) for s in g.spaces]
        return tuple(f"{space}/{head}" for space in spaces for head in self.recipe.heads)

    def parts(self, step: int) -> Float[Tensor, " part"]:
        """The loss of each head of each space."""
        groups = cast("Sequence[HeadEnsemble]", self.ensembles)
        return torch.cat(
            [self._of_group(group, at, step).flatten() for at, group in enumerate(groups)]
        )

    def figures(self, step: int) -> Mapping[str, float]:
        """The mean temperature of the heads."""
        scales = torch.cat([scale.detach().flatten() for scale in self.log_scale])
        return {"temperature": float(self._scale(scales).reciprocal().mean())}

    def _refuse_unread(self) -> None:
        unread = [space for space, modalities in self.modalities.items() if not modalities]
        if unread:
            raise TrainingError(
                f"rows of {', '.join(unread)} to train heads on",
                found=f"none in the pools of {', '.join(self.rows.modalities())}",
                next_step="embed a pool that they read, or leave them out of the recipe",
            )

    def _scale(self, log_scale: Tensor) -> Tensor:
        return log_scale.exp().clamp(max=SHARPEST)

    def _eligible(self, spaces: Sequence[str]) -> list[Tensor]:
        needed = dict.fromkeys((*self.targets, *(m for s in spaces for m in self.modalities[s])))
        letters = partial(subset, points_with=self.settings.points_with)
        whom = f"of {', '.join(spaces)}"
        return [
            eligible(
                self.tuples, letters(h, self.tuples.modalities), needed, whom=f"head {h!r} {whom}"
            )
            for h in self.recipe.heads
        ]

    def _of_group(self, group: HeadEnsemble, at: int, step: int) -> Float[Tensor, "space head"]:
        """Draws, projects all spaces at once, and contrasts those alike in modalities at once."""
        chosen = self._draw(group, at, step)
        made = group.own_batches(self._rows_of(group, chosen), self.ranks.batch_norm)
        scale = self._scale(cast("Tensor", self.log_scale[at]))
        runs = [
            (modalities, len(list(run)))
            for modalities, run in groupby(group.spaces, key=self.modalities.__getitem__)
        ]
        if len(runs) == 1:
            return self._contrast(made, scale, runs[0][0], chosen)
        lengths = [length for _, length in runs]
        parts = zip(runs, made.split(lengths), scale.split(lengths), strict=True)
        return torch.cat([self._contrast(x, s, run, chosen) for (run, _), x, s in parts])

    def _draw(self, group: HeadEnsemble, at: int, step: int) -> Int64[Tensor, "head tuple"]:
        """The tuples of each head: enough for the space with the fewest modalities."""
        most = max(share(self.settings.batch, self.modalities[space]) for space in group.spaces)
        among, seed = self._among[at], self.settings.descent.seed
        return torch.stack(
            [
                drawn(own, most, seed=seed, step=step, name=head)
                for head, own in zip(self.recipe.heads, among, strict=True)
            ]
        )

    def _part(self, chosen: Tensor, modalities: tuple[str, ...]) -> Int64[Tensor, "head tuple"]:
        """This rank's tuples for spaces that have these modalities."""
        tuples = share(self.settings.batch, modalities)
        return chosen[:, :tuples][:, self.ranks.part(tuples)]

    def _rows_of(
        self, group: HeadEnsemble, chosen: Int64[Tensor, "head tuple"]
    ) -> Float[Tensor, "space head item dim"]:
        """The items of each head: all of the first modality, then all of the next."""
        items = self.settings.batch // self.ranks.world
        found = torch.empty(len(group.spaces), group.heads, items, group.dim)
        for place, space in zip(found, group.spaces, strict=True):
            own, start = self._part(chosen, self.modalities[space]), 0
            for modality in self.modalities[space]:
                stop = start + own.shape[1]
                place[:, start:stop] = self._take(space, modality, self.tuples.items[modality][own])
                start = stop
        return found.to(self.ranks.device)

    def _take(self, space: str, modality: str, items: Tensor) -> Float[Tensor, "head tuple dim"]:
        return self.rows.take(space, modality, items.flatten()).view(*items.shape, -1)

    def _contrast(
        self,
        made: Float[Tensor, "space head joint item"],
        scale: Float[Tensor, "space head"],
        modalities: tuple[str, ...],
        chosen: Int64[Tensor, "head tuple"],
    ) -> Float[Tensor, "space head"]:
        """The mean over modality pairs, for spaces that have the same modalities."""
        own = self._part(chosen, modalities)
        aims = {target: self._aim(target, own) for target in self.targets}
        pairs = len(modalities) * len(self.targets)
        if self.ranks.world == 1:
            repeated = self._all_repeats(own, modalities)
            return contrast(made, torch.stack(list(aims.values()), 1), repeated, scale) / pairs
        unit = F.normalize(made, dim=2, eps=EPS).mT.unflatten(2, (len(modalities), -1))
        total = torch.zeros_like(unit[..., 0, 0, 0])
        for modality, side in zip(modalities, unit.unbind(2), strict=True):
            for target, aim in aims.items():
                total = total + info_nce(
                    side,
                    aim.expand_as(side),
                    self._repeats(own, modality, target),
                    scale=scale[..., None, None],
                    ranks=self.ranks,
                )
        return total / pairs

    def _aim(
        self, target: str, own: Int64[Tensor, "head tuple"]
    ) -> Float[Tensor, "head tuple joint"]:
        rows = self._take(self.recipe.backbone, target, self.tuples.items[target][own])
        return self._aggregates.around(rows, target).to(self.ranks.device)

    def _all_repeats(
        self, own: Int64[Tensor, "head tuple"], modalities: tuple[str, ...]
    ) -> Tensor | None:
        """`[head, target, tuple, side, tuple]`; the same for all spaces."""
        if not self.settings.mask_repeats:
            return None
        named = dict.fromkeys((*modalities, *self.targets))
        same = {m: repeats(self.tuples.items[m][own].to(self.ranks.device)) for m in named}
        both = [[same[t] | same[m] for m in modalities] for t in self.targets]
        return torch.stack([torch.stack(sides, 2) for sides in both], 1)

    def _repeats(self, chosen: Tensor, *modalities: str) -> Tensor | None:
        if not self.settings.mask_repeats:
            return None
        items = [self.tuples.items[m][chosen].to(self.ranks.device) for m in modalities]
        return repeats(*items, ranks=self.ranks)


def share(batch: int, modalities: Sequence[str]) -> int:
    """Tuples a head and step: the batch is divided among the modalities of a space.

    Raises:
        TrainingError: rows are left over, or a tuple would have no other to be told from.
    """
    tuples, left = divmod(batch, len(modalities))
    if left or tuples < FEWEST:
        raise TrainingError(
            f"batches of {batch} rows shared out among {', '.join(modalities)}",
            found=f"{left} rows left over" if left else f"{tuples} tuple a step: nothing to tell",
            next_step=f"choose a multiple of {math.lcm(12, len(modalities))} as `batch`",
        )
    return tuples


def modalities_of(rows: RowSource, space: str, tuples: Tuples) -> tuple[str, ...]:
    """The modalities in which a space has rows of the pools, in the tuples' order."""
    pools = rows.modalities()
    return tuple(m for m in tuples.modalities if m in pools and space in rows.spaces(m))


def new_heads(space: str, dim: int, recipe: Recipe, *, seed: int) -> HeadEnsemble:
    """Untrained heads of one space; the same for the same name and seed, whoever else is there."""
    module = seeded(
        lambda: HeadEnsemble(
            [space], dim, recipe.joint_dim, heads=len(recipe.heads), hidden=recipe.hidden
        ),
        space,
        seed,
    )
    return cast("HeadEnsemble", module)
