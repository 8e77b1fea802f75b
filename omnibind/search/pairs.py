"""Cosines between two lists of items; those that cannot be read are listed, not fatal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omnibind.embedder import Embedder, Embeddings
from omnibind.engine.items import short_name
from omnibind.errors import ItemFailure

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Cosines of every good left item with every good right one.

    Attributes:
        left, right: names of the items that have a row.
        cosines: a list for each left item.
        failures: items of both sides without a row.
    """

    left: tuple[str, ...]
    right: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]
    failures: tuple[ItemFailure, ...]


def compare(
    model: Embedder,
    left: Sequence[object],
    right: Sequence[object] | None = None,
    *,
    strict: bool = False,
) -> Comparison:
    """Compares items of any modalities; one list alone is compared with itself.

    Raises:
        ItemError: only when strict: an item cannot be embedded.
    """
    a = model.embed(left, strict=strict)
    b = a if right is None else model.embed(right, strict=strict)
    return Comparison(
        left=_names(left, a),
        right=_names(left if right is None else right, b),
        cosines=tuple(tuple(row) for row in model.compare(a, b).tolist()),
        failures=a.errors if right is None else (*a.errors, *b.errors),
    )


def _names(items: Sequence[object], found: Embeddings) -> tuple[str, ...]:
    chosen = (items[index] for index in found.indices)
    return tuple(item if isinstance(item, str) else short_name(item) for item in chosen)
