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
    """Retrieval by directed pair (modality that asks, modality that is searched)."""

    pairs: Mapping[tuple[str, str], Retrieval]

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
    """Asks every modality with every other.

    Args:
        rows: modality -> `[item, joint]`.
        labels: modality -> a label, or a collection of labels, for each of its items.
        within: also ask each modality with itself; an item is never offered to itself.
        order: of the modalities; as in `rows` by default.
        settings: of `retrieval`: ks, resamples, seed.

    Raises:
        ShapeError: a pair has rows of different widths, or nothing in common.
    """
    names = list(rows if order is None else order)
    asked = [*permutations(names, 2), *((name, name) for name in names if within)]
    return AnyToAny(
        pairs={
            (a, b): retrieval(
                rows[a],
                rows[b],
                relevance(labels[a], labels[b]),
                excluded=torch.eye(len(rows[a]), dtype=torch.bool) if a == b else None,
                **settings,
            )
            for a, b in asked
        }
    )
