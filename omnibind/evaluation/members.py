"""Each space alone, in its own coordinates, in the directions that it can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omnibind.binder import Binder
from omnibind.evaluation.measure import Retrieval
from omnibind.evaluation.pairs import AnyToAny, any_to_any
from omnibind.evaluation.ranking import Labels

__all__ = ["LabelledRows", "bound", "compare", "members"]


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """A benchmark, encoded once: everything is measured on these rows.

    Attributes:
        rows: modality -> space -> unit rows `[item, dim]`.
        labels: modality -> a label, or a collection of labels, for each item.
    """

    rows: Mapping[str, Mapping[str, Tensor]]
    labels: Mapping[str, Labels]


def bound(
    binder: Binder, data: LabelledRows, *, without: Iterable[str] = (), **settings: Any
) -> AnyToAny:
    """Retrieval between all modalities by joint rows.

    Args:
        binder: of the model.
        data: the benchmark.
        without: slots to leave out; a modality that has no other keeps them.
        settings: of `retrieval`.
    """
    left_out = set(without)
    rows: dict[str, Tensor] = {}
    for modality, spaces in data.rows.items():
        names = {slot.name for slot in binder.present(modality, spaces)}
        gone = left_out & names if names - left_out else set[str]()
        with torch.no_grad():
            rows[modality] = binder(modality, spaces, without=gone).rows
    return any_to_any(rows, data.labels, **settings)


def members(data: LabelledRows, **settings: Any) -> dict[str, AnyToAny]:
    """By space, retrieval between the modalities that it reads; spaces of one modality drop out.

    Args:
        data: the benchmark.
        settings: of `retrieval`.
    """
    spaces = dict.fromkeys(space for listed in data.rows.values() for space in listed)
    found: dict[str, AnyToAny] = {}
    for space in spaces:
        own = {m: listed[space] for m, listed in data.rows.items() if space in listed}
        table = any_to_any(own, data.labels, **settings)
        if table.pairs:
            found[space] = table
    return found


def compare(
    whole: AnyToAny, alone: Mapping[str, AnyToAny], metric: str
) -> dict[tuple[str, str], tuple[str, Retrieval]]:
    """By direction that any member can do: the best member and what it found.

    The best is chosen on the same queries that it is compared on, which flatters it: a bound
    model that is as good as the best member here is likely better.
    """
    best: dict[tuple[str, str], tuple[str, Retrieval]] = {}
    for pair in whole.pairs:
        can = {space: one.pairs[pair] for space, one in alone.items() if pair in one.pairs}
        if can:
            name = max(can, key=lambda space: can[space].figures[metric].value)
            best[pair] = (name, can[name])
    return best
