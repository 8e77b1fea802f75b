"""Writes a step's losses and gradients; Fabric starts as many processes as are asked for."""

from __future__ import annotations

import sys
import warnings

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file

from omnibind.binder import Binder
from omnibind.projectors import HeadEnsemble
from omnibind.specs import Recipe, Slot
from omnibind.testing.latents import ToyWorld
from omnibind.training.heads import HeadObjective, HeadSettings, new_heads
from omnibind.training.ranks import Ranks
from omnibind.training.routers import RouterObjective, RouterSettings, new_router

RECIPE = Recipe(
    name="toy",
    backbone="back",
    joint_dim=16,
    slots={m: (Slot.of("back"), Slot.of("second"), Slot.of("all")) for m in ("text", "image")},
    router_inputs={"text": ("back", "second"), "image": ("second",)},
    hidden=16,
    heads=("mix", "T"),
)
WORLD = ToyWorld(
    spaces={
        "back": (16, ["text", "image"]),
        "second": (12, ["text", "image"]),
        "all": (12, ["text", "image", "audio"]),
    }
)


def main(out: str, devices: int) -> None:
    fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto")
    fabric.launch()
    ranks = Ranks(fabric)
    rows = WORLD.pools(60)
    tuples = WORLD.tuples(rows, {"text-image": "back", "text-audio": "all"})
    spaces = ("second", "all")
    group = HeadEnsemble.stacked([new_heads(s, 12, RECIPE, seed=0) for s in spaces])
    heads = HeadObjective(RECIPE, [group], rows, tuples, HeadSettings(batch=48), ranks=ranks)
    found = step(heads, ranks, "heads")
    projectors = {space: group.of_space(space).eval() for space in spaces}
    routers = {m: new_router(m, RECIPE, d, seed=0) for m, d in (("text", 28), ("image", 12))}
    for router in routers.values():
        ranks.shared_norms(router.net)
    binder = Binder(RECIPE, projectors, routers)
    binder.projectors.requires_grad_(False).eval()
    settings = RouterSettings(batch=48, spread=1.0, steer=1.0)
    found |= step(RouterObjective(binder, rows, tuples, settings, ranks=ranks), ranks, "routers")
    if ranks.first:
        save_file(found, out)
    ranks.wait()


def step(objective: torch.nn.Module, ranks: Ranks, name: str) -> dict[str, torch.Tensor]:
    objective.train()
    parts = objective.parts(3)
    parts.sum().backward()
    ranks.add_gradients(objective.parameters())
    found = {f"{name}/loss": ranks.total(parts.detach())}
    found |= {f"{name}/state/{k}": v.clone() for k, v in objective.state_dict().items()}
    learned = [(k, p) for k, p in objective.named_parameters() if p.grad is not None]
    return found | {f"{name}/gradient/{k}": p.grad.clone() for k, p in learned}


if __name__ == "__main__":
    warnings.simplefilter("error", FutureWarning)
    main(sys.argv[1], int(sys.argv[2]))
