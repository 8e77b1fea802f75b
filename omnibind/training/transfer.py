r"""How a new space's heads begin: as those of an old space, seen through a linear map.

Every item has rows in the new space and in the old ones, so no pseudo pair is needed to fit

$$ \min_{A, a} \sum_i \lVert A x_i + a - y_i \rVert^2 + \lambda \lVert A \rVert^2 $$

from the new space's rows x to an old space's rows y of the same items. The old heads after that
map are heads of the new space: their first layer absorbs it. Of the old spaces, the one whose rows
are explained best is taken. Ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from omnibind.projectors import HeadEnsemble, Projector
from omnibind.training.draws import sample
from omnibind.training.heads import modalities_of
from omnibind.training.tuples import RowSource, Tuples

__all__ = ["transferred"]

ITEMS = 4096
"""Of each modality, that the map is fitted on: several times the width of the rows."""
RIDGE = 1e-2
"""Lambda, beside the mean square of a row's entries."""


def transferred(
    space: str, projectors: Mapping[str, Projector], rows: RowSource, tuples: Tuples, *, seed: int
) -> tuple[str, HeadEnsemble] | None:
    """The space that heads are taken over from, and they; None where no old space shares items.

    Args:
        space: the new one.
        projectors: of the old ones; only ensembles of heads can be taken over.
        rows: of the pools.
        tuples: say which items take part.
        seed: of the items that are drawn.
    """
    reads = modalities_of(rows, space, tuples)
    best: tuple[float, str, HeadEnsemble, Tensor] | None = None
    for name, projector in projectors.items():
        shared = [m for m in reads if name in rows.spaces(m)]
        if not isinstance(projector, HeadEnsemble) or not shared:
            continue
        items = {m: _drawn(tuples.pools[m], seed, m) for m in shared}
        x = torch.cat([rows.take(space, m, items[m]) for m in shared])
        y = torch.cat([rows.take(name, m, items[m]) for m in shared])
        fit = _affine(x, y)
        left = float((_with_ones(x) @ fit - y).square().sum() / (y - y.mean(0)).square().sum())
        if best is None or left < best[0]:
            best = left, name, projector, fit
    if best is None:
        return None
    _, name, projector, fit = best
    return name, _after(projector, space, fit)


def _after(old: HeadEnsemble, space: str, fit: Float[Tensor, "input dim"]) -> HeadEnsemble:
    """The heads of a space that come after an affine map."""
    dim = len(fit) - 1
    new = HeadEnsemble([space], dim, old.joint, heads=old.heads, hidden=old.hidden)
    state = {key: value.clone() for key, value in old.state_dict().items()}
    state["first_bias"] = state["first_bias"] + state["first"] @ fit[dim]
    state["first"] = state["first"] @ fit[:dim].T
    new.load_state_dict(state)
    return new.train()


def _affine(
    x: Float[Tensor, "item dim"], y: Float[Tensor, "item other"]
) -> Float[Tensor, "input other"]:
    """Ridge regression; the last row is the offset, which is not held back."""
    one = _with_ones(x)
    held = torch.full((one.shape[1],), RIDGE * float(x.square().sum()) / x.shape[1])
    held[-1] = 0
    return torch.linalg.solve(one.T @ one + held.diag(), one.T @ y)


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], dim=1)


def _drawn(pool: Tensor, seed: int, modality: str) -> Tensor:
    return pool[sample(len(pool), ITEMS, seed=seed, name=f"transfer:{modality}")]
