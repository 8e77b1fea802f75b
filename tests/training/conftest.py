"""A toy world of three spaces, pools of it, and a recipe that binds them."""

from __future__ import annotations

import pytest

from omnibind.specs import Recipe, Slot
from omnibind.testing.latents import ToyWorld
from omnibind.training.descent import DescentSettings
from omnibind.training.heads import HeadSettings
from omnibind.training.routers import RouterSettings
from omnibind.training.tuples import RowsInMemory, Tuples

LINKS = {"text-image": "back", "text-audio": "sound"}


@pytest.fixture(scope="session")
def world() -> ToyWorld:
    return ToyWorld(
        spaces={
            "back": (16, ["text", "image"]),
            "second": (12, ["text", "image"]),
            "sound": (12, ["text", "audio"]),
        }
    )


@pytest.fixture(scope="session")
def rows(world: ToyWorld) -> RowsInMemory:
    return world.pools(300)


@pytest.fixture(scope="session")
def tuples(world: ToyWorld, rows: RowsInMemory) -> Tuples:
    return world.tuples(rows, LINKS)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    slots = {"text": ("back", "second", "sound"), "image": ("back", "second"), "audio": ("sound",)}
    return Recipe(
        name="toy",
        backbone="back",
        joint_dim=16,
        slots={m: tuple(map(Slot.of, names)) for m, names in slots.items()},
        router_inputs={"text": ("back", "second", "sound"), "image": ("second",)},
        temperature={"text": 10.0},
        hidden=32,
        heads=("mix", "T", "AV"),
    )


@pytest.fixture(scope="session")
def heads() -> HeadSettings:
    return HeadSettings(batch=48, descent=DescentSettings(steps=12, save_every=5, log_every=4))


@pytest.fixture(scope="session")
def routers() -> RouterSettings:
    return RouterSettings(batch=48, descent=DescentSettings(steps=12, save_every=5, log_every=4))
