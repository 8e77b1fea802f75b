"""Trains heads and routers once more for each choice that is to be shown, on the pairs of a bind.

    python ablate.py bound --out ablations              # a checkpoint a choice
    python evaluate.py --pools DIR --others ablations   # measures them all

Store, pairs and all other settings are those of the folder `bound`; what a choice does not change
is not trained again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from omnibind_plugin_starter.cards import SPACES

from omnibind.checkpoint import read_checkpoint, write_checkpoint
from omnibind.specs import Recipe
from omnibind.store import Store, StoreRows
from omnibind.training import project, route
from omnibind.training.descent import DescentSettings
from omnibind.training.heads import HeadSettings
from omnibind.training.routers import RouterSettings
from omnibind.training.tuples import read_tuples

Learning = TypeVar("Learning", HeadSettings, RouterSettings)
HEADS: Mapping[str, dict[str, Any]] = {
    "heads in place of rotations": {},
    "heads on aggregates of 8": {"aggregate": 8},
}
ROUTERS: Mapping[str, dict[str, Any]] = {
    "steer 0": {"steer": 0.0},
    "spread 0": {"spread": 0.0},
    "pairs of the linking space": {"joint_items": 0},
}
CARDS = {space.name: space for space in SPACES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bound", type=Path, help="the folder of a finished bind")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    recipe = read_checkpoint(asked.bound / "checkpoint").recipe
    heads = settings_of(HeadSettings, asked.bound / "project")
    routers = settings_of(RouterSettings, asked.bound / "route")
    for name, changed in ROUTERS.items():
        folder = asked.out / name.replace(" ", "-")
        shutil.copytree(asked.bound / "project", folder / "project", dirs_exist_ok=True)
        finish(asked.bound, folder, recipe, replace(routers, **changed))
    headed = replace(recipe, rotated=())
    for name, changed in HEADS.items():
        folder = asked.out / name.replace(" ", "-")
        rows, tuples = learned_from(asked.bound)
        project.run(
            folder, recipe=headed, rows=rows, tuples=tuples, settings=replace(heads, **changed)
        )
        finish(asked.bound, folder, headed, routers)


def finish(bound: Path, folder: Path, recipe: Recipe, settings: RouterSettings) -> None:
    """Trains the routers over the heads in `folder`, and writes its checkpoint."""
    rows, tuples = learned_from(bound)
    route.run(folder, recipe=recipe, rows=rows, tuples=tuples, settings=settings)
    write_checkpoint(route.bound(folder, recipe), folder / "checkpoint", CARDS)
    print(f"{folder}/checkpoint")


def learned_from(bound: Path) -> tuple[StoreRows, Any]:
    """Rows and pseudo tuples of a bind."""
    tuples = read_tuples(bound / "pairs" / "tuples.parquet")
    return StoreRows(Store(bound / "store"), CARDS.values()), tuples


def settings_of(kind: type[Learning], stage: Path) -> Learning:
    """The settings that a stage has recorded."""
    facts = json.loads((stage / "done.json").read_text(encoding="utf-8"))["facts"]["settings"]
    known = {field.name for field in fields(kind)} - {"descent"}
    values = {name: value for name, value in facts.items() if name in known}
    return kind(descent=DescentSettings(**facts["descent"]), **values)


if __name__ == "__main__":
    main()
