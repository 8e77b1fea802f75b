"""What one column is: the rows of one encoder revision, unit norm, float16."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from omnibind.specs import EncoderSpec

__all__ = ["FACTS", "Column", "Entry", "as_stored", "column_of", "rows_in", "unusable"]

Field = Any
"""A `pyarrow.Field`; pyarrow has no types that a checker could read."""
FACTS = (("id", pa.string()), ("source", pa.string()), ("metadata", pa.string()))
"""The columns beside the rows."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An item of a pool, as the store keeps it.

    Attributes:
        id: hash of its content, 32 hexadecimal digits.
        source: where it came from: a path, a member of an archive, or the text itself.
        metadata: further facts (labels, split), as JSON.
    """

    id: str
    source: str
    metadata: str = "{}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """Rows of one encoder, as one revision of its weights makes them.

    Attributes:
        key, revision, dim: of the encoder's card.
        identity: everything that rows depend on besides the item (`Networks.identity`).
    """

    key: str
    revision: str
    dim: int
    identity: str = field(repr=False)

    @property
    def name(self) -> str:
        """Its name in the dataset; Lance permits no dots."""
        return re.sub(r"[^\w@-]", "_", f"{self.key}@{self.revision}")

    @property
    def fingerprint(self) -> str:
        """A short name of the identity, for people to compare."""
        return hashlib.blake2b(self.identity.encode(), digest_size=4).hexdigest()

    def field(self) -> Field:
        """The Arrow field, with all of this in its metadata."""
        facts = {"key": self.key, "revision": self.revision, "identity": self.identity}
        return pa.field(self.name, pa.list_(pa.float16(), self.dim), metadata=facts)

    def array(self, rows: Float[Tensor, "item dim"]) -> Any:
        """Rows as the Arrow array that is stored: unit norm first, so that float16 is enough."""
        unit = F.normalize(rows.detach().float().cpu(), dim=-1)
        return as_stored(unit.numpy())

    @classmethod
    def of_field(cls, field: Field) -> Column | None:
        """The column that a field holds, or None for a fact."""
        facts: Mapping[bytes, bytes] = field.metadata or {}
        if b"identity" not in facts:
            return None
        return cls(
            key=facts[b"key"].decode(),
            revision=facts[b"revision"].decode(),
            dim=int(field.type.list_size),
            identity=facts[b"identity"].decode(),
        )


def column_of(encoder: EncoderSpec, identity: str) -> Column:
    """The column for an encoder's rows."""
    return Column(key=encoder.key, revision=encoder.revision, dim=encoder.dim, identity=identity)


def as_stored(rows: NDArray[np.float32], there: NDArray[np.bool_] | None = None) -> Any:
    """Rows as an Arrow array, rounded to float16 and no more; what `rows_in` gave, bit for bit.

    Args:
        rows: `[item, dim]`.
        there: which items have one, `[item]`; all by default.
    """
    flat = np.ascontiguousarray(rows.astype(np.float16)).reshape(-1)
    empty = None if there is None else pa.array(~there)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), rows.shape[1], mask=empty)


def rows_in(array: Any) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows `[item, dim]` out of a stored array, and which items have one; zeros where not."""
    there = np.asarray(array.is_valid())
    width = int(array.type.list_size)
    rows = np.zeros((len(array), width), np.float32)
    rows[there] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return rows, there


def unusable(rows: Float[Tensor, "item dim"]) -> Bool[Tensor, " item"]:
    """Which rows have no direction: NaN, infinity, or nothing but zeros."""
    norms = torch.linalg.vector_norm(rows.float(), dim=-1)
    return ~torch.isfinite(norms) | (norms == 0)
