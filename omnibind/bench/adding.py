"""Adding a space against binding anew: how good, and for what share of the training time."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from omnibind.binder import Binder
from omnibind.checkpoint import read_checkpoint, write_checkpoint
from omnibind.errors import UnknownNameError
from omnibind.evaluation import any_to_any
from omnibind.specs import Recipe, Slot
from omnibind.testing.latents import ToyWorld
from omnibind.training import project, route
from omnibind.training.add import add
from omnibind.training.descent import DescentSettings
from omnibind.training.heads import HeadSettings
from omnibind.training.routers import RouterSettings
from omnibind.training.tuples import RowsInMemory, Tuples

__all__ = ["SPACES", "Gain", "World", "measure"]

SPACES: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "back": (32, ("text", "image")),
    "hear": (24, ("text", "audio")),
    "look": (24, ("text", "image")),
    "three": (32, ("text", "image", "audio")),
    "hear-2": (16, ("text", "audio")),
    "look-2": (32, ("text", "image")),
    "hear-3": (24, ("text", "audio")),
    "look-3": (16, ("text", "image")),
}
"""Toy spaces: width and modalities; the first two link the modalities and are read by routers."""
LINKS = {"text-image": "back", "text-audio": "hear"}
INPUTS = {"text": ("back", "hear"), "image": ("back",), "audio": ("hear",)}
HELD_OUT = 300


@dataclass(frozen=True, kw_only=True)
class World:
    """What is bound.

    Attributes:
        spaces: so many of `SPACES`.
        items: of each pool.
        steps: of the projectors' training; routers get half as many.
        seed: of the world and of the training.
    """

    spaces: int = 8
    items: int = 1500
    steps: int = 300
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One space that comes later. Figures are mAP on held-out items, the mean of all directions.

    Attributes:
        space: its name.
        before: without it.
        added: added to that.
        anew: everything bound together.
        share: processor time of adding it, beside that of the bind that it is added to.
        share_anew: the same beside that of binding everything together.
    """

    space: str
    before: float
    added: float
    anew: float
    share: float
    share_anew: float


def measure(world: World, late: Sequence[str] = ()) -> list[Gain]:
    """Leaves out each space in turn, binds the others, and adds it.

    Args:
        world: sizes.
        late: spaces that come later; all but those that link the modalities, if left out.

    Raises:
        UnknownNameError: one of them is none of these.
    """
    names = list(SPACES)[: world.spaces]
    addable = [name for name in names if name not in LINKS.values()]
    for name in late:
        if name not in addable:
            what = "space that can be added to a toy world"
            raise UnknownNameError(what, name, addable, next_step="choose one of these with --late")
    toys = ToyWorld(
        spaces={name: SPACES[name] for name in names}, width=8, noise=1.2, seed=world.seed * 7919
    )
    rows = toys.pools(world.items)
    given = _Given(world=world, toys=toys, rows=rows, tuples=toys.tuples(rows, LINKS))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = _recipe(names)
        seconds = _bind(Path(folder) / "anew", whole, given)
        anew = _score(route.bound(Path(folder) / "anew", whole).binder(), toys)
        found: list[Gain] = []
        for name in late or addable:
            others = _recipe([other for other in names if other != name])
            found.append(_later(Path(folder) / name, others, name, given, anew, seconds))
        return found


@dataclass(frozen=True, kw_only=True)
class _Given:
    world: World
    toys: ToyWorld
    rows: RowsInMemory
    tuples: Tuples


def _later(
    out: Path, recipe: Recipe, space: str, given: _Given, anew: float, seconds: float
) -> Gain:
    own = _bind(out, recipe, given)
    bound = route.bound(out, recipe)
    write_checkpoint(bound, out / "checkpoint", {})
    started = time.process_time()
    add(space, to=out / "checkpoint", rows=given.rows, tuples=given.tuples, spaces={})
    spent = time.process_time() - started
    return Gain(
        space=space,
        before=_score(bound.binder(), given.toys),
        added=_score(read_checkpoint(out / "checkpoint").binder(), given.toys),
        anew=anew,
        share=spent / own,
        share_anew=spent / seconds,
    )


def _recipe(names: Sequence[str]) -> Recipe:
    slots = {m: tuple(Slot.of(n) for n in names if m in SPACES[n][1]) for m in INPUTS}
    return Recipe(
        name="toy",
        backbone="back",
        joint_dim=SPACES["back"][0],
        slots=slots,
        router_inputs=INPUTS,
        temperature={"text": 10.0},
        hidden=64,
    )


def _bind(out: Path, recipe: Recipe, given: _Given) -> float:
    """Trains heads and routers; processor seconds."""
    descent = DescentSettings(steps=given.world.steps, rate=2e-3, seed=given.world.seed)
    run: dict[str, Any] = {"recipe": recipe, "rows": given.rows, "tuples": given.tuples}
    started = time.process_time()
    project.run(out, settings=HeadSettings(batch=96, descent=descent), **run)
    shorter = replace(descent, steps=max(1, descent.steps // 2))
    route.run(out, settings=RouterSettings(batch=192, descent=shorter), **run)
    return time.process_time() - started


def _score(binder: Binder, toys: ToyWorld) -> float:
    with torch.no_grad():
        rows = {m: binder(m, spaces).rows for m, spaces in toys.paired(HELD_OUT).items()}
    table = any_to_any(rows, dict.fromkeys(rows, range(HELD_OUT)), resamples=10)
    return fmean(found.mean_average_precision.value for _, _, found in table)
