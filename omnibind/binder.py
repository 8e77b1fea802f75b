"""Rows by space in, joint rows out: projectors, slots, router weights. No encoders, no I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from omnibind.errors import RecipeError
from omnibind.projectors import EPS, Projector, ProjectorSet
from omnibind.specs import Recipe, Slot

__all__ = ["Binder", "BoundRows"]

Priors = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class BoundRows:
    """Joint rows of one modality, and how they came about.

    Attributes:
        rows: `[item, joint]`, unit norm.
        weights: `[item, slot]`, each row sums to 1.
        slots: names of the slot axis; only those that took part.
        degraded: spaces that were missing, and `router:<modality>` where the weights are
            priors or uniform because a router's input was.
    """

    rows: Float[Tensor, "item joint"]
    weights: Float[Tensor, "item slot"]
    slots: tuple[str, ...]
    degraded: tuple[str, ...]


class Binder(nn.Module):
    r"""Composes the spaces of a recipe into one.

    $$ \mathrm{joint} = \frac{\sum_k w_k s_k}{\lVert \sum_k w_k s_k \rVert_2} $$

    Any subset of the recipe's spaces works: a missing space drops out of its slots, a slot
    without spaces drops out, and the weights of the others are renormalised.

    Args:
        recipe: slots, router inputs and temperatures.
        projectors: by space; the backbone needs none.
        routers: by modality, each a `Router` or alike; a modality without one weighs its slots
            by `priors`, or the same.
        priors: modality -> slot -> mean weight recorded at training.
    Source:
        arXiv:2407.11895 and its released code. Ours: subsets, priors, uniform weights.
    """

    def __init__(
        self,
        recipe: Recipe,
        projectors: Mapping[str, Projector],
        routers: Mapping[str, nn.Module] | None = None,
        priors: Priors | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.projectors = ProjectorSet(projectors)
        self.routers = nn.ModuleDict(dict(routers or {}))
        self.priors: Priors = dict(priors or {})

    def forward(
        self, modality: str, rows: Mapping[str, Tensor], *, without: Collection[str] = ()
    ) -> BoundRows:
        """Joint rows of items of one modality.

        Args:
            modality: one that the recipe has slots for.
            rows: space -> unit rows `[item, dim]`; all with the same items.
            without: names of slots to leave out; the weights of the others are renormalised.

        Raises:
            RecipeError: the recipe has no slots for the modality, or none of its spaces is here.
            ShapeError: rows of another width than the space's projector.
        """
        slots = self.recipe.slots.get(modality, ())
        projected = dict(self.projectors(rows))
        if self.recipe.backbone in rows:
            projected[self.recipe.backbone] = rows[self.recipe.backbone]
        slots_left = [slot for slot in slots if slot.name not in without]
        present = [slot for slot in self.present(modality, rows) if slot in slots_left]
        if not present:
            raise self._no_slot(modality, rows)
        made = torch.stack([_mix(slot, projected) for slot in present], dim=1)
        weights, routed = self._weights(modality, rows, slots, present)
        weights = weights.to(made).expand(made.shape[0], -1)
        joint = F.normalize((weights.unsqueeze(-1) * made).sum(dim=1), dim=-1, eps=EPS)
        missing = [part for slot in slots_left for part in slot.parts if part not in projected]
        return BoundRows(
            rows=joint,
            weights=weights,
            slots=tuple(slot.name for slot in present),
            degraded=(*dict.fromkeys(missing), *(() if routed else (f"router:{modality}",))),
        )

    def present(self, modality: str, spaces: Iterable[str]) -> tuple[Slot, ...]:
        """The slots of a modality that take part where there are rows of these spaces."""
        here = {*self.projectors.spaces, self.recipe.backbone} & set(spaces)
        return tuple(
            slot for slot in self.recipe.slots.get(modality, ()) if here & slot.parts.keys()
        )

    def _weights(
        self, modality: str, rows: Mapping[str, Tensor], slots: Sequence[Slot], present: list[Slot]
    ) -> tuple[Tensor, bool]:
        """Weights of the present slots, `[item or 1, slot]`, and whether as the recipe says."""
        inputs = self.recipe.router_inputs.get(modality)
        kept = [k for k, slot in enumerate(slots) if slot in present]
        if inputs and modality in self.routers and all(name in rows for name in inputs):
            every = self.routers[modality](torch.cat([rows[name] for name in inputs], dim=-1))
            weights, routed = every[:, kept], True
        else:
            prior = self.priors.get(modality, {})
            weights = torch.tensor([[prior.get(slot.name, 1.0) for slot in present]])
            routed = not inputs
        return weights / weights.sum(dim=-1, keepdim=True), routed

    def _no_slot(self, modality: str, rows: Mapping[str, Tensor]) -> RecipeError:
        slots = self.recipe.slots.get(modality)
        wanted = [part for slot in slots or () for part in slot.parts]
        return RecipeError(
            f"joint rows of {modality!r} by the recipe {self.recipe.name!r}",
            found=f"rows of {', '.join(rows) or 'no space'}; "
            + (f"its slots need one of {', '.join(wanted)}" if slots else "no slots for it"),
            next_step="install a space that the recipe names, or choose another recipe",
        )


def _mix(slot: Slot, projected: Mapping[str, Tensor]) -> Float[Tensor, "item joint"]:
    here = {part: share for part, share in slot.parts.items() if part in projected}
    scale = sum(slot.parts.values()) / sum(here.values())
    mixed = torch.stack([projected[part] * (share * scale) for part, share in here.items()]).sum(0)
    return F.normalize(mixed, dim=-1, eps=EPS) if slot.normalise else mixed
