r"""Spaces that are carried into the backbone's coordinates by a rotation, instead of by heads.

Items that both read need no pseudo pairs. Over those of a modality, with a space's rows x and the
backbone's rows y of the same items, the rotation that brings x nearest to y is

$$ W = \arg\max_{W^T W = I} \sum_m \frac{1}{n_m} \sum_i \langle W x_i, y_i \rangle = U V^T,
   \qquad U S V^T = \sum_m \frac{1}{n_m} \sum_i y_i x_i^T $$

Every modality counts the same. A rotation keeps all angles within a space; from a few thousand
items heads learn to bend them where nothing calls for it. Source: the orthogonal Procrustes problem
(Schönemann 1966, Psychometrika 31). Ours in this place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

from omnibind.errors import TrainingError
from omnibind.projectors import Linear
from omnibind.training.draws import sample
from omnibind.training.heads import modalities_of
from omnibind.training.tuples import RowSource, Tuples

__all__ = ["rotations"]

ITEMS = 65_536
"""Of each modality, that are looked at: many times the width of the rows."""
AT_ONCE = 8_192


def rotations(
    group: Sequence[str], backbone: str, rows: RowSource, tuples: Tuples, *, seed: int
) -> dict[str, Linear]:
    """One rotation for spaces that have their coordinates in common.

    Args:
        group: the spaces; in each modality the first one that reads it counts.
        backbone: whose coordinates they are carried into.
        rows: of the pools.
        tuples: say which items take part.
        seed: of the items that are drawn where there are more than 65,536.

    Raises:
        TrainingError: nothing that they and the backbone both read, or rows that are not finite.
    """
    shared = {
        modality: next(space for space in group if space in rows.spaces(modality))
        for modality in modalities_of(rows, backbone, tuples)
        if any(space in rows.spaces(modality) for space in group)
    }
    if not shared:
        raise TrainingError(
            f"a rotation of {', '.join(group)} into the coordinates of {backbone!r}",
            found=f"no pool that both read among {', '.join(rows.modalities())}",
            next_step="give a pool that both read, or take the group out of the recipe's `rotated`",
        )
    together = [
        _together(space, backbone, modality, rows, tuples, seed)
        for modality, space in shared.items()
    ]
    weight = _nearest_rotation(torch.stack(together).sum(0))
    return {space: _linear(space, weight) for space in group}


def _together(
    space: str, backbone: str, modality: str, rows: RowSource, tuples: Tuples, seed: int
) -> Float[Tensor, "joint dim"]:
    """The mean over items of the backbone's row times the space's."""
    pool = tuples.pools[modality]
    items = pool[sample(len(pool), ITEMS, seed=seed, name=f"rotate:{modality}")]

    def products() -> Iterator[Tensor]:
        for some in items.split(AT_ONCE):
            x = rows.take(space, modality, some).double()
            yield rows.take(backbone, modality, some).double().T @ x

    found = reduce(torch.add, products()) / len(items)
    if not torch.isfinite(found).all():
        raise TrainingError(
            f"a rotation of {space!r} into the coordinates of {backbone!r}",
            found=f"rows of {modality} that are not finite",
            next_step="embed the pool again; the encoder of one of them gives NaN",
        )
    return found


def _nearest_rotation(together: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(together, full_matrices=False)
    return (left @ right).float()


def _linear(space: str, weight: Float[Tensor, "joint dim"]) -> Linear:
    made = Linear(space, weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight, "bias": torch.zeros(len(weight))})
    return made.eval()
