"""A toy model and a table of its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

import omnibind
from omnibind import Embedder
from omnibind.engine import Engine
from omnibind.search import Table, embed_table, gather, read_table
from omnibind.specs import EncoderSpec, Recipe, Slot, SpaceSpec
from omnibind.testing import toy_registry

WORDS = ("a cat", "a dog", "a red car", "the sea", "an old piano")


def encoder(modality: str) -> EncoderSpec:
    return EncoderSpec(
        key=f"toy-{modality}",
        modality=modality,
        dim=8,
        params=1,
        flops_per_item=1.0,
        build=f"omnibind.testing.toys:{modality}_8",
        weights=(),
    )


@pytest.fixture
def model() -> Embedder:
    """One toy space of texts and pictures."""
    space = SpaceSpec(
        name="toy",
        dim=8,
        encoders={"text": encoder("text"), "image": encoder("image")},
        licence="CC0-1.0",
        commercial_use=True,
        revision="1",
    )
    slots = {modality: (Slot.of("toy"),) for modality in space.encoders}
    recipe = Recipe(name="toys", backbone="toy", joint_dim=8, slots=slots)
    known = toy_registry(space, recipe)
    return omnibind.load("toys", engine=Engine(size="tiny", workers=1), known=known)


@pytest.fixture
def table(model: Embedder, tmp_path: Path) -> Table:
    """Five texts."""
    listing = gather(texts=WORDS, modalities=model.known.modalities)
    embed_table(model, listing.sources, tmp_path / "rows.parquet", part_items=2)
    return read_table(tmp_path / "rows.parquet")
