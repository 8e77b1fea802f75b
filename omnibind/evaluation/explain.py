"""Which slots made an item's joint row, and by what weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from omnibind.embedder import Embedder
from omnibind.engine.items import short_name
from omnibind.errors import ItemFailure

__all__ = ["Explanation", "Explanations", "explain"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One item's slot weights.

    Attributes:
        item: a short name.
        modality: what it was read as.
        weights: by slot; they add up to 1.
        usual: by slot, the mean weight recorded at training; empty where none was.
        degraded: spaces of its modality, and its router, that were missing.
    """

    item: str
    modality: str
    weights: Mapping[str, float]
    usual: Mapping[str, float]
    degraded: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Explanations:
    """What became of the items of a call.

    Attributes:
        good: in the order that they were given.
        errors: the items without a row.
    """

    good: tuple[Explanation, ...]
    errors: tuple[ItemFailure, ...]


def explain(
    model: Embedder,
    items: Iterable[object],
    modality: str | None = None,
    *,
    strict: bool = False,
) -> Explanations:
    """Slot weights of some items.

    Args:
        model: loaded.
        items: as for `Embedder.embed`.
        modality: read every item as this.
        strict: raise where an item cannot be embedded instead of listing it.

    Raises:
        ItemError: only when strict.
    """
    listed = list(items)
    found = model.encode(listed, modality, strict=strict)
    good: dict[int, Explanation] = {}
    for kind, rows in found.rows.items():
        with torch.no_grad():
            bound = model.binder(kind, rows)
        for index, weights in zip(found.indices[kind], bound.weights.tolist(), strict=True):
            good[index] = Explanation(
                item=short_name(listed[index]),
                modality=kind,
                weights=dict(zip(bound.slots, weights, strict=True)),
                usual=model.binder.priors.get(kind, {}),
                degraded=bound.degraded,
            )
    return Explanations(good=tuple(good[index] for index in sorted(good)), errors=found.errors)
