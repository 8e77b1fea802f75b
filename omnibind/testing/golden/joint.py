"""The golden cases of omnibind's own networks: a projector, and the three published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnibind.binder import Binder
from omnibind.projectors import HeadEnsemble
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot

__all__ = ["run_head", "run_joint"]

Facts = dict[str, Any]
State = Mapping[str, Tensor]
LETTERS = {"audio": "A", "image": "V", "points": "P", "text": "T"}
IMAGEBIND, BACKBONE = "IB", "EVA_18B"


def run_head(case: Facts, folder: Path, state: State, inputs: State) -> dict[str, Tensor]:
    """Seven heads: the first alone, their mean, its norm."""
    count = case["config"]["neutral"]["heads"]
    rows = inputs["expert_embedding"]
    ensemble = _ensemble("x", state, [str(head) for head in range(count)])
    heads = ensemble.unit_heads({"x": rows})["x"]
    mean = heads.mean(dim=1)
    return {"head0": heads[:, 0], "mean7": mean, "norm7": mean.norm(dim=-1)}


def run_joint(case: Facts, folder: Path, state: State, inputs: State) -> dict[str, Tensor]:
    """Joint rows and router weights of each modality, from the published router file's layout."""
    facts = case["config"]["neutral"]
    orders = {modality: facts[f"expert_order_{modality}"] for modality in LETTERS}
    binder = _binder(facts, orders, state)
    outputs: dict[str, Tensor] = {}
    for modality, names in orders.items():
        letter = LETTERS[modality]
        rows = {name: inputs[f"{letter}.{at}.{name}"] for at, name in enumerate(names)}
        bound = binder(modality, rows)
        outputs |= {f"{modality}_joint": bound.rows, f"{modality}_weights": bound.weights}
    return outputs


def _binder(facts: Facts, orders: Mapping[str, list[str]], state: State) -> Binder:
    heads = facts["heads_per_expert"]
    projectors = {
        name: _ensemble(name, state, [f"projs.{at * heads + head}" for head in range(heads)])
        for at, name in enumerate(facts["head_block_order"])
    }
    inside = [f"ib_projs.{head}" for head in range(facts["ib_heads"])]
    projectors[IMAGEBIND] = _ensemble(IMAGEBIND, state, inside)
    slots = {m: tuple(_slot(name, m) for name in facts[_slots_of(m)]) for m in orders}
    recipe = Recipe(
        name="published",
        backbone=BACKBONE,
        joint_dim=next(iter(projectors.values())).joint,
        slots=slots,
        router_inputs={m: _inputs(facts["router_input"][m], names) for m, names in orders.items()},
    )
    routers = {modality: _router(state, modality, slots[modality]) for modality in orders}
    return Binder(recipe, projectors, routers).eval()


def _slots_of(modality: str) -> str:
    return "point_slots" if modality == "points" else f"{modality}_slots"


def _slot(name: str, modality: str) -> Slot:
    if name == f"{IMAGEBIND}+{BACKBONE} mix":
        return Slot(name="backbone", parts={IMAGEBIND: 0.1, BACKBONE: 0.9}, normalise=True)
    return Slot.of(name, normalise=name == IMAGEBIND and modality in ("image", "text"))


def _inputs(positions: int | list[int], names: list[str]) -> tuple[str, ...]:
    return tuple(names[at] for at in (positions if isinstance(positions, list) else [positions]))


def _ensemble(space: str, state: State, prefixes: list[str]) -> HeadEnsemble:
    """The published heads `<prefix>.Head2.mlps.*` as one ensemble."""

    def over_heads(key: str) -> Tensor:
        return torch.cat([state[f"{prefix}.Head2.mlps.{key}"] for prefix in prefixes])

    count, dim = len(prefixes), state[f"{prefixes[0]}.Head2.mlps.0.weight"].shape[1]
    joint, hidden = state[f"{prefixes[0]}.Head2.mlps.3.weight"].shape
    with torch.device("meta"):
        made = HeadEnsemble([space], dim, joint, heads=count, hidden=hidden)
    fitted = {
        "first": over_heads("0.weight").view(1, -1, dim),
        "first_bias": over_heads("0.bias").view(1, -1),
        "second": over_heads("3.weight").view(count, joint, hidden),
        "second_bias": over_heads("3.bias").view(count, joint),
    }
    for name, layer in (("first_norm", 1), ("second_norm", 4)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            fitted[f"{name}.{part}"] = over_heads(f"{layer}.{part}")
        fitted[f"{name}.num_batches_tracked"] = torch.tensor(1)
    made.load_state_dict(fitted, assign=True)
    return made.eval()


def _router(state: State, modality: str, slots: tuple[Slot, ...]) -> Router:
    prefix = f"{LETTERS[modality]}_enc_router.router."
    own = {key.removeprefix(prefix): value for key, value in state.items() if prefix in key}
    temperature = 10.0 if modality == "text" else 1.0
    router = Router(own["0.weight"].shape[1], [s.name for s in slots], temperature=temperature)
    router.net.load_state_dict(own)
    return router.eval()
