"""Pools of toy media on disk, and plans over toy spaces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnibind.engine import Engine
from omnibind.specs import SpaceSpec
from omnibind.testing import ToySpace, toy_recipe, toy_registry
from omnibind.training.plan import Plan, Settings, make_plan

CLIP = ToySpace("clip", modalities=["image", "text"])
MORE = ToySpace("more", modalities=["image", "text"])


def write_pictures(folder: Path, numbers: range) -> Path:
    """Small pictures, each of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def pools(tmp_path: Path) -> tuple[str, str]:
    """Twenty pictures and thirty texts."""
    write_pictures(tmp_path / "pictures", range(20))
    texts = "".join(f"a picture of {n} cats\n" for n in range(30))
    (tmp_path / "texts.txt").write_text(texts)
    return f"image={tmp_path / 'pictures'}", f"text={tmp_path / 'texts.txt'}"


@pytest.fixture
def planned(tmp_path: Path, pools: tuple[str, str]) -> Callable[..., Plan]:
    """Plans over these pools, by default of one space that has both."""

    def plan(*spaces: SpaceSpec, engine: Engine | None = None, **asked: object) -> Plan:
        cards = spaces or (CLIP,)
        recipe = toy_recipe("toys", cards)
        return make_plan(
            recipe,
            toy_registry(*cards, recipe),
            pools=asked.pop("pools", pools),
            out=tmp_path / "out",
            engine=engine or Engine(size="tiny", workers=1),
            settings=Settings(batch_items=4, min_pairs=5, **asked.pop("numbers", {})),
            **asked,
        )

    return plan
