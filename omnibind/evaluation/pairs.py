"""Every modality asked by every other: one Retrieval for each directed pair."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from omnibind.evaluation.measure import Retrieval, retrieval
from omnibind.evaluation.ranking import Labels, relevance

__all__ = ["AnyToAny", "any_to_any"]


@dataclass(frozen=True, kw_only=True)
class AnyToAny:
    """Retrieval by directed pair (modality that asks, modality that is searched).

    Attributes:
        pairs: what was found.
        left_out: pairs in which no query has a relevant candidate.
    """

    pairs: Mapping[tuple[str, str], Retrieval]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the figures that are means over queries; none where there is no pair."""
        return tuple(next(iter(self.pairs.values())).figures) if self.pairs else ()

    def __iter__(self) -> Iterator[tuple[str, str, Retrieval]]:
        return ((asked, searched, found) for (asked, searched), found in self.pairs.items())

    def __len__(self) -> int:
        return len(self.pairs)

    def to_json(self) -> list[dict[str, Any]]:
        """One object a pair, with `from` and `to`."""
        return [
            {"from": asked, "to": searched, **found.to_json()} for asked, searched, found in self
        ]


def any_to_any(
    rows: Mapping[str, Tensor],
    labels: Mapping[str, Labels],
    *,
    within: bool = False,
    order: Iterable[str] | None = None,
    **settings: Any,
) -> AnyToAny:
    """Asks every modality with every other; a pair in which nothing is relevant is left out.

    Args:
        rows: modality -> `[item, joint]`.
        labels: modality -> a label, or a collection of labels, for each of its items.
        within: also ask each modality with itself; an item is never offered to itself.
        order: of the modalities; as in `rows` by default.
        settings: of `retrieval`: ks, resamples, seed.

    Raises:
        ShapeError: a pair has rows of different widths.
    """
    names = list(rows if order is None else order)
    asked = [*permutations(names, 2), *((name, name) for name in names if within)]
    pairs: dict[tuple[str, str], Retrieval] = {}
    for a, b in asked:
        relevant = relevance(labels[a], labels[b])
        excluded = torch.eye(len(rows[a]), dtype=torch.bool) if a == b else None
        if (relevant if excluded is None else relevant & ~excluded).any():
            pairs[a, b] = retrieval(rows[a], rows[b], relevant, excluded=excluded, **settings)
    return AnyToAny(pairs=pairs, left_out=tuple(pair for pair in asked if pair not in pairs))
