"""Joint rows of the demo's media, and what finds what among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from omnibind.demo.folder import MediaFolder, Shown
from omnibind.embedder import Embedder
from omnibind.engine import Item
from omnibind.errors import ItemFailure, SetupError
from omnibind.evaluation import AnyToAny, any_to_any

__all__ = ["Embedded", "Progress", "Row", "embed", "figures"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An item with its joint row and the weights of the slots it came from."""

    item: Shown
    row: Tensor
    weights: Mapping[str, float]


@dataclass(kw_only=True)
class Embedded:
    rows: list[Row]
    errors: list[ItemFailure]
    degraded: dict[str, None]


def embed(folder: MediaFolder, model: Embedder, progress: Progress | None) -> Embedded:
    wanted = [m for m in folder.modalities if m in model.modalities]
    total = sum(len(folder.of(m)) for m in wanted)
    done = count(1)

    def prepared(_: Item) -> None:
        if progress:
            progress(next(done), total)

    made = Embedded(rows=[], errors=[], degraded={})
    for modality in wanted:
        items = folder.of(modality)
        found = model.embed(
            [item.source for item in items],
            modality=modality,
            on_done=prepared,
        )
        made.rows += [
            Row(item=items[at], row=row, weights=weights)
            for at, row, weights in zip(found.indices, found.rows, found.weights, strict=True)
        ]
        made.errors += [replace(e, index=folder.items.index(items[e.index])) for e in found.errors]
        made.degraded.update(dict.fromkeys(found.degraded))
    return made


def figures(embedded: Embedded) -> AnyToAny:
    by_modality: dict[str, list[Row]] = {}
    for one in embedded.rows:
        by_modality.setdefault(one.item.modality, []).append(one)
    if len(by_modality) < 2:
        reasons = [f"{error.item}: {error.reason}" for error in embedded.errors[:3]]
        raise SetupError(
            "a demo of at least two modalities",
            found=[f"rows of {', '.join(by_modality) or 'nothing'}", *reasons],
            next_step="`omnibind doctor` says what is wrong",
        )
    return any_to_any(
        {m: torch.stack([one.row for one in rows]) for m, rows in by_modality.items()},
        {m: [one.item.concept for one in rows] for m, rows in by_modality.items()},
        ks=(1, 5),
    )
