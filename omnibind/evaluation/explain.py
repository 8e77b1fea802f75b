"""Which slots made an item's joint row, and by what weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from omnibind.embedder import Embedder
from omnibind.engine.items import short_name

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One item's slot weights.

    Attributes:
        item: a short name.
        modality: what it was read as.
        weights: by slot; they add up to 1.
        usual: by slot, the mean weight recorded at training; empty where none was.
        degraded: spaces and routers that were missing.
    """

    item: str
    modality: str
    weights: Mapping[str, float]
    usual: Mapping[str, float]
    degraded: tuple[str, ...]


def explain(
    model: Embedder, items: Iterable[object], modality: str | None = None
) -> list[Explanation]:
    """Slot weights of some items.

    Args:
        model: loaded.
        items: as for `Embedder.embed`.
        modality: read every item as this.

    Raises:
        ItemError: an item that cannot be embedded.
    """
    listed = list(items)
    found = model.embed(listed, modality, strict=True)
    return [
        Explanation(
            item=short_name(item),
            modality=kind,
            weights=weights,
            usual=model.binder.priors.get(kind, {}),
            degraded=found.degraded,
        )
        for item, kind, weights in zip(listed, found.modalities, found.weights, strict=True)
    ]
