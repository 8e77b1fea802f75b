"""The rows of a table that are nearest to a query: every row is looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnibind.embedder import Embedder
from omnibind.errors import ShapeError
from omnibind.search.binding import binding_of, refuse_other
from omnibind.search.formats import Batch, rows_of
from omnibind.search.table import Table

__all__ = ["Hit", "nearest", "search"]

Rows = NDArray[np.floating[Any]]
SLACK = 1e-5
"""How far a float32 product may be off: rows this near to the last place are looked at again."""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A row that was found.

    Attributes:
        id, source, modality: of the row.
        score: cosine with the query, in [-1, 1].
        weights: the row's slot weights.
    """

    id: int
    source: str
    modality: str
    score: float
    weights: Mapping[str, float]


def search(
    model: Embedder,
    table: Table,
    query: object,
    top: int = 10,
    *,
    only: Collection[str] = (),
    modality: str | None = None,
) -> list[Hit]:
    """Finds the rows nearest to one item of any modality, best first; ties by id.

    Args:
        model: must be bound as the table's rows were.
        table: see `read_table`.
        query: a text, path, picture, array, ...: whatever `embed` takes.
        top: how many.
        only: modalities of the rows to look at; all where empty.
        modality: read the query as this.

    Raises:
        SetupError: the table was made by another recipe, spaces or weights.
        ItemError: the query cannot be read.
    """
    refuse_other(
        f"to search {table.path} by the recipe {model.recipe.name!r}",
        table.facts.binding,
        binding_of(model),
        next_step="load the model as the table says, or embed the items again",
    )
    rows = model.embed([query], modality, strict=True).rows
    return nearest(table, rows.detach().numpy(), top, only=only)[0]


def nearest(
    table: Table, queries: Rows, top: int = 10, *, only: Collection[str] = ()
) -> list[list[Hit]]:
    """The same for joint rows `[query, joint]`, a list of hits for each.

    Raises:
        ShapeError: rows of another width.
    """
    if queries.ndim != 2 or queries.shape[1] != table.facts.binding.joint_dim:
        raise ShapeError(
            f"query rows [query, {table.facts.binding.joint_dim}]", found=str(list(queries.shape))
        )
    best: list[list[Hit]] = [[] for _ in queries]
    for batch in table.batches():
        kept = _of_modalities(batch, only)
        if len(kept):
            for at, query in enumerate(queries):
                best[at] = _merge(best[at], _best_of(kept, query, top), top)
    return best


def _of_modalities(batch: Batch, only: Collection[str]) -> Batch:
    if not only:
        return batch
    wanted = [modality in only for modality in batch.column("modality").to_pylist()]
    return batch.filter(pa.array(wanted, pa.bool_()))


def _best_of(batch: Batch, query: NDArray[Any], top: int) -> list[Hit]:
    """Candidates by a fast product, scored again one by one: equal rows get equal scores."""
    rows = rows_of(batch)
    rough = rows @ query.astype(np.float32)
    place = min(top, len(rough)) - 1
    last = -np.partition(-rough, place)[place]
    candidates = np.flatnonzero(rough >= last - SLACK)
    exact = (rows[candidates].astype(np.float64) * query.astype(np.float64)).sum(axis=-1)
    ids = np.array(batch.column("id").to_pylist())[candidates]
    order = np.lexsort((ids, -exact))[:top]
    found = batch.take(pa.array(candidates[order], pa.int64()))
    return [_hit(*values) for values in zip(exact[order].tolist(), _records(found), strict=True)]


def _records(batch: Batch) -> list[dict[str, Any]]:
    return batch.select(["id", "source", "modality", "weights"]).to_pylist()


def _hit(score: float, record: dict[str, Any]) -> Hit:
    values: dict[str, Any] = {**record, "weights": dict(record["weights"])}
    return Hit(**values, score=score)


def _merge(left: Sequence[Hit], right: Sequence[Hit], top: int) -> list[Hit]:
    return sorted([*left, *right], key=lambda hit: (-hit.score, hit.id))[:top]
