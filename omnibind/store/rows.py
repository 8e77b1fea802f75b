"""A store's rows by space: what pairing and training take their batches from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from omnibind.errors import StoreError
from omnibind.specs import EncoderSpec, SpaceSpec
from omnibind.store.store import Store

__all__ = ["StoreRows"]


class StoreRows:
    """Rows by space, modality and position; a `RowSource` of `omnibind.training`.

    Args:
        store: has a column for each encoder.
        spaces: cards; only their encoders' columns are used.

    Raises:
        StoreError: a column was made by another revision of its encoder than the card's.
    """

    def __init__(self, store: Store, spaces: Iterable[SpaceSpec]) -> None:
        self.store = store
        cards = list(spaces)
        self._encoders: dict[str, dict[str, EncoderSpec]] = {}
        for modality in store.modalities:
            columns = store.columns(modality)
            self._encoders[modality] = {}
            for space in cards:
                encoder = space.encoders.get(modality)
                if encoder and encoder.key in columns:
                    _refuse_revision(store, modality, encoder, columns[encoder.key].revision)
                    self._encoders[modality][space.name] = encoder

    def modalities(self) -> tuple[str, ...]:
        """Modalities with at least one space."""
        return tuple(m for m, encoders in self._encoders.items() if encoders)

    def spaces(self, modality: str) -> tuple[str, ...]:
        """Spaces whose rows are there."""
        return tuple(self._encoders.get(modality, ()))

    def count(self, modality: str) -> int:
        """Items of a modality, those without a row of some encoder included."""
        return self.store.count(modality)

    def take(
        self, space: str, modality: str, items: Int64[Tensor, " item"]
    ) -> Float[Tensor, "item dim"]:
        """Rows of some items, float32, unit norm, in the order asked for.

        Raises:
            StoreError: the space has no rows of this modality, or none of an item.
        """
        return self.store.take(modality, self._key(space, modality), items)

    def whole(self, modality: str) -> NDArray[np.bool_]:
        """Which items have a row of every space, `[item]`."""
        keys = dict.fromkeys(encoder.key for encoder in self._encoders[modality].values())
        return self.store.whole(modality, list(keys))

    def _key(self, space: str, modality: str) -> str:
        encoder = self._encoders.get(modality, {}).get(space)
        if encoder is None:
            raise StoreError(
                f"the {modality} rows of the space {space!r} in {self.store.folder}",
                found=f"rows of {', '.join(self.spaces(modality)) or 'no space'}",
                next_step="add it to the recipe and run the stage `embed`, or correct the name",
            )
        return encoder.key


def _refuse_revision(store: Store, modality: str, encoder: EncoderSpec, revision: str) -> None:
    if revision != encoder.revision:
        raise StoreError(
            f"{modality} rows of the encoder {encoder.key!r}, revision {encoder.revision}",
            found=f"rows of its revision {revision} in {store.folder}",
            next_step=f"`omnibind store drop {store.folder} {encoder.key}` and embed again, "
            "or choose another folder",
        )
