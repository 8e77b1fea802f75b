"""Trains the toy recipe into a folder, and dies in a stage after a step: FOLDER STAGE STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from omnibind.specs import Recipe, Slot
from omnibind.testing.latents import ToyWorld
from omnibind.training import project, route
from omnibind.training.descent import DescentSettings
from omnibind.training.heads import HeadSettings
from omnibind.training.routers import RouterSettings

WORLD = ToyWorld(spaces={"back": (16, ["text", "image"]), "second": (12, ["text", "image"])})
RECIPE = Recipe(
    name="toy",
    backbone="back",
    joint_dim=16,
    slots={m: (Slot.of("back"), Slot.of("second")) for m in ("text", "image")},
    router_inputs={"text": ("back", "second"), "image": ("second",)},
    hidden=16,
    heads=("mix", "T"),
)
DESCENT = DescentSettings(steps=14, save_every=4, log_every=1)


def bind(out: Path, stage: str = "", die_at: int = -1) -> None:
    """Both stages; in the named one the process is killed after a step, as by `kill -9`."""

    def on_step(done: int, of: int, remaining: float) -> None:
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    rows = WORLD.pools(120)
    given = {"recipe": RECIPE, "rows": rows, "tuples": WORLD.tuples(rows, {"text-image": "back"})}
    hooks = {name: on_step if name == stage else None for name in ("project", "route")}
    heads = HeadSettings(batch=24, descent=DESCENT)
    project.run(out, settings=heads, on_step=hooks["project"], **given)
    routers = RouterSettings(batch=24, descent=DESCENT)
    route.run(out, settings=routers, on_step=hooks["route"], **given)


if __name__ == "__main__":
    bind(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
