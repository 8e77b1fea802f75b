"""Pseudo tuples: which items of the pools go together, and where their rows come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from omnibind.errors import TrainingError
from omnibind.writing import whole

__all__ = ["MISSING", "RowSource", "RowsInMemory", "Tuples", "read_tuples", "write_tuples"]

MISSING = -1
"""The item number that stands for 'nothing was retrieved'."""


@runtime_checkable
class RowSource(Protocol):
    """Rows of pools by space, modality and item number; a store is one."""

    def modalities(self) -> tuple[str, ...]:
        """Modalities that have a pool."""
        ...

    def spaces(self, modality: str) -> tuple[str, ...]:
        """Spaces that have a row for each item of the pool."""
        ...

    def count(self, modality: str) -> int:
        """Items in the pool."""
        ...

    def take(
        self, space: str, modality: str, items: Int64[Tensor, " item"]
    ) -> Float[Tensor, "item dim"]:
        """Unit rows of some items, float32; an item may be asked for more than once."""
        ...


class RowsInMemory:
    """A `RowSource` of tensors: modality -> space -> rows `[item, dim]`, of any norm.

    Raises:
        TrainingError: spaces of one modality that differ in their number of items.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, Tensor]]) -> None:
        self._rows = {
            m: {space: F.normalize(one.float(), dim=-1) for space, one in spaces.items()}
            for m, spaces in rows.items()
        }
        for modality, spaces in self._rows.items():
            if len({len(one) for one in spaces.values()}) > 1:
                raise TrainingError(
                    f"one row an item in each space of {modality!r}",
                    found=[f"{space}: {len(one)} rows" for space, one in spaces.items()],
                    next_step="give every space the rows of the same items, in one order",
                )

    def modalities(self) -> tuple[str, ...]:
        """As given."""
        return tuple(self._rows)

    def spaces(self, modality: str) -> tuple[str, ...]:
        """As given."""
        return tuple(self._rows[modality])

    def count(self, modality: str) -> int:
        """Rows of any of its spaces."""
        return len(next(iter(self._rows[modality].values())))

    def take(
        self, space: str, modality: str, items: Int64[Tensor, " item"]
    ) -> Float[Tensor, "item dim"]:
        """Rows by position."""
        return self._rows[modality][space][items]


@dataclass(frozen=True, kw_only=True)
class Tuples:
    """One row a query item: what was retrieved for it in every other modality.

    Attributes:
        modalities: names of the pools.
        query: position in `modalities` of the modality that the tuple was seeded by.
        items: modality -> item number in its pool; `MISSING` where nothing was retrieved.
        similarity: modality -> cosine in the linking space; 1 for the query itself.
        margin: modality -> best cosine minus second best.
    """

    modalities: tuple[str, ...]
    query: Int64[Tensor, " tuple"]
    items: Mapping[str, Int64[Tensor, " tuple"]]
    similarity: Mapping[str, Float[Tensor, " tuple"]]
    margin: Mapping[str, Float[Tensor, " tuple"]]

    def __len__(self) -> int:
        return len(self.query)

    def seeded_by(self, modality: str) -> Tensor:
        """Which tuples have a query of this modality: bool `[tuple]`."""
        return self.query == self.modalities.index(modality)

    @cached_property
    def pools(self) -> Mapping[str, Int64[Tensor, " item"]]:
        """By modality, the items that take part, ascending: what else may be drawn for training.

        A store has more: what was excluded, what has left the pools, what lacks a row.
        """
        return {m: _distinct(items) for m, items in self.items.items()}

    def only(self, which: Tensor) -> Tuples:
        """Some of the tuples: numbers, or bool `[tuple]`."""
        return Tuples(
            modalities=self.modalities,
            query=self.query[which],
            items={m: one[which] for m, one in self.items.items()},
            similarity={m: one[which] for m, one in self.similarity.items()},
            margin={m: one[which] for m, one in self.margin.items()},
        )


def _distinct(items: Tensor) -> Tensor:
    there = items[items != MISSING]
    seen = torch.zeros(int(there.max()) + 1 if len(there) else 0, dtype=torch.bool)
    seen[there] = True
    return seen.nonzero().squeeze(1)


def write_tuples(tuples: Tuples, path: Path) -> None:
    """Writes Parquet: query (string), and an item, similarity and margin a modality; atomic."""
    names = pa.array(tuples.modalities)
    query = pa.DictionaryArray.from_arrays(pa.array(tuples.query.int().numpy()), names)
    columns: dict[str, pa.Array] = {"query": query.cast(pa.string())}
    for name in tuples.modalities:
        columns[name] = pa.array(tuples.items[name].numpy())
        columns[f"{name}_similarity"] = pa.array(tuples.similarity[name].float().numpy())
        columns[f"{name}_margin"] = pa.array(tuples.margin[name].float().numpy())
    with whole(path) as part:
        pq.write_table(pa.table(columns), part)


def read_tuples(path: Path) -> Tuples:
    """Reads what `write_tuples` wrote.

    Raises:
        TrainingError: no such file, damaged, or columns that are missing.
    """
    try:
        table = pq.read_table(path)
        names = tuple(n for n in table.column_names if f"{n}_similarity" in table.column_names)
        query = table["query"].combine_chunks().dictionary_encode()
        order = torch.tensor([names.index(str(name)) for name in query.dictionary])
        numbers = query.indices.to_numpy(zero_copy_only=False)
        return Tuples(
            modalities=names,
            query=order[torch.from_numpy(numbers.astype(np.int64))],
            items={n: _column(table, n) for n in names},
            similarity={n: _column(table, f"{n}_similarity") for n in names},
            margin={n: _column(table, f"{n}_margin") for n in names},
        )
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise TrainingError(
            f"the pseudo tuples in {path}",
            found=f"{type(error).__name__}: {error}",
            next_step="run the stage `pair` again",
        ) from error


def _column(table: Any, name: str) -> Tensor:
    return torch.from_numpy(np.array(table[name].to_numpy()))
