"""Tuples for the routers, found by what all slots say together, not by one linking space.

An item that was retrieved by the rows of one space is near in that space because of that space's
errors too. A router that is trained on such pairs learns to trust the linking space, and ends
below uniform weights (`docs/binding.md` has the figures). So its tuples are found in the joint
space, with every slot weighing the same. Ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from omnibind.binder import Binder
from omnibind.training.draws import sample
from omnibind.training.ranks import ALONE, Ranks
from omnibind.training.routers import rows_of
from omnibind.training.tuples import RowSource, Tuples

__all__ = ["joint_tuples"]

AT_ONCE = 2048


def joint_tuples(
    binder: Binder,
    rows: RowSource,
    pools: Mapping[str, Int64[Tensor, " item"]],
    *,
    items: int,
    seed: int,
    ranks: Ranks = ALONE,
) -> Tuples:
    """The nearest item of every modality for each item of every modality, in the joint space.

    Every modality's rows are centred first: their mean is where the modality lies, not what an
    item shows.

    Args:
        binder: its routers are not asked; slots weigh the same.
        rows: of the pools.
        pools: the items that may take part, by modality.
        items: at most so many of each pool, drawn; bounds memory and time.
        seed: of the draw.
        ranks: whose device is used.
    """
    uniform = Binder(binder.recipe, {}).eval()
    uniform.projectors = binder.projectors
    there = tuple(m for m in rows.modalities() if m in binder.recipe.slots)
    modalities = tuple(m for m in there if len(pools.get(m, ())))
    chosen = {
        m: pools[m][sample(len(pools[m]), items, seed=seed, name=f"joint:{m}")] for m in modalities
    }
    joint = {m: _joint(uniform, rows, m, chosen[m], ranks) for m in modalities}
    found = [_nearest(joint, chosen, m) for m in modalities]
    counts = torch.tensor([len(chosen[m]) for m in modalities])
    return Tuples(
        modalities=modalities,
        query=torch.arange(len(modalities)).repeat_interleave(counts),
        items={m: torch.cat([one[m][0] for one in found]) for m in modalities},
        similarity={m: torch.cat([one[m][1] for one in found]) for m in modalities},
        margin={m: torch.cat([one[m][2] for one in found]) for m in modalities},
    )


def _joint(
    binder: Binder, rows: RowSource, modality: str, items: Int64[Tensor, " item"], ranks: Ranks
) -> Float[Tensor, "item joint"]:
    with torch.no_grad():
        made = [
            binder(modality, rows_of(rows, binder.recipe, modality, some, ranks)).rows
            for some in items.split(AT_ONCE)
        ]
    together = torch.cat(made)
    return F.normalize(together - together.mean(0), dim=-1)


def _nearest(
    joint: Mapping[str, Tensor], chosen: Mapping[str, Tensor], query: str
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """By modality: item numbers, cosines and margins for each item of the query modality."""
    own = chosen[query]
    found = {query: (own, torch.ones(len(own)), torch.ones(len(own)))}
    for modality, pool in joint.items():
        if modality != query:
            best = [(some @ pool.T).topk(min(2, len(pool))) for some in joint[query].split(AT_ONCE)]
            cosine = torch.cat([one.values for one in best]).cpu()
            place = torch.cat([one.indices[:, 0] for one in best]).cpu()
            found[modality] = (chosen[modality][place], cosine[:, 0], cosine[:, 0] - cosine[:, -1])
    return found
