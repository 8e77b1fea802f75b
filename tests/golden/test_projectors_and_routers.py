"""Projectors, routers and binder give the numbers of the original code (real sizes)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from omnibind.binder import Binder
from omnibind.projectors import HeadEnsemble
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the golden cases of the original code are not beside the project"
)


def _filled(case: str, seed: int) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("fill", GOLDEN / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    keys = json.loads((GOLDEN / case / "keys.json").read_text())
    return {
        key: torch.from_numpy(fill.fill(key, shape, dtype, seed, how))
        for key, (shape, dtype, how) in keys.get("keys", keys).items()
    }


def _ensemble(space: str, state: dict[str, Tensor], prefixes: list[str]) -> HeadEnsemble:
    """Seven published heads (`<prefix>.Head2.mlps.*`) as one ensemble."""

    def over_heads(key: str) -> Tensor:
        return torch.cat([state[f"{prefix}.Head2.mlps.{key}"] for prefix in prefixes])

    dim = state[f"{prefixes[0]}.Head2.mlps.0.weight"].shape[1]
    made = HeadEnsemble([space], dim, 1536)
    fitted = {
        "first": over_heads("0.weight").view(1, -1, dim),
        "first_bias": over_heads("0.bias").view(1, -1),
        "second": over_heads("3.weight").view(7, 1536, -1),
        "second_bias": over_heads("3.bias").view(7, -1),
    }
    for name, layer in (("first_norm", 1), ("second_norm", 4)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            fitted[f"{name}.{part}"] = over_heads(f"{layer}.{part}")
        fitted[f"{name}.num_batches_tracked"] = torch.tensor(1)
    made.load_state_dict(fitted)
    return made.eval()


def _router(state: dict[str, Tensor], letter: str, slots: list[str], temperature: float) -> Router:
    prefix = f"{letter}_enc_router.router."
    own = {key.removeprefix(prefix): value for key, value in state.items() if prefix in key}
    router = Router(own["0.weight"].shape[1], slots, temperature=temperature)
    router.net.load_state_dict(own)
    return router.eval()


def test_seven_heads_equal_the_original() -> None:
    given = load_file(GOLDEN / "projector-head" / "inputs.safetensors")
    expected = load_file(GOLDEN / "projector-head" / "expected.safetensors")
    state = _filled("projector-head", 1011)
    ensemble = _ensemble("x", state, [str(k) for k in range(7)])
    with torch.inference_mode():
        heads = ensemble.unit_heads({"x": given["expert_embedding"]})["x"]
    assert (heads[:, 0] - expected["head0"]).abs().max() <= 1e-5
    assert (heads.mean(1) - expected["mean7"]).abs().max() <= 1e-5
    assert (heads.mean(1).norm(dim=-1) - expected["norm7"]).abs().max() <= 1e-5


def _published(size: str) -> tuple[Binder, dict[str, list[str]]]:
    case = json.loads((GOLDEN / f"joint-{size}" / "case.json").read_text())
    facts, state = case["config"]["neutral"], _filled(f"joint-{size}", case["checkpoints"][0]["seed"])
    order = {m: facts[f"expert_order_{m}"] for m in ("audio", "image", "points", "text")}
    projectors = {
        name: _ensemble(name, state, [f"projs.{7 * at + k}" for k in range(7)])
        for at, name in enumerate(facts["head_block_order"])
    }
    projectors["IB"] = _ensemble("IB", state, [f"ib_projs.{k}" for k in range(7)])
    named = {m: facts[f"{'point' if m == 'points' else m}_slots"] for m in order}
    slots = {m: tuple(_slot(name, m) for name in names) for m, names in named.items()}
    inputs = {
        m: tuple(order[m][at] for at in _positions(facts["router_input"][m])) for m in order
    }
    recipe = Recipe(
        name=size, backbone="EVA_18B", joint_dim=1536, slots=slots, router_inputs=inputs
    )
    letters = {"audio": "A", "image": "V", "points": "P", "text": "T"}
    routers = {
        m: _router(state, letters[m], named[m], 10.0 if m == "text" else 1.0) for m in order
    }
    return Binder(recipe, projectors, routers).eval(), order


def _positions(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def _slot(name: str, modality: str) -> Slot:
    if name == "IB+EVA_18B mix":
        return Slot(name=name, parts={"IB": 0.1, "EVA_18B": 0.9}, normalise=True)
    return Slot.of(name, normalise=name == "IB" and modality in ("image", "text"))


@pytest.mark.parametrize("size", ["base", "large", "full"])
def test_joint_rows_and_weights_equal_the_original(size: str) -> None:
    given = load_file(GOLDEN / f"joint-{size}" / "inputs.safetensors")
    expected = load_file(GOLDEN / f"joint-{size}" / "expected.safetensors")
    binder, order = _published(size)
    letters = {"audio": "A", "image": "V", "points": "P", "text": "T"}
    for modality, names in order.items():
        rows = {
            name: given[f"{letters[modality]}.{at}.{name}"] for at, name in enumerate(names)
        }
        with torch.inference_mode():
            bound = binder(modality, rows)
        assert bound.degraded == ()
        assert (bound.rows - expected[f"{modality}_joint"]).abs().max() <= 1e-5
        assert (bound.weights - expected[f"{modality}_weights"]).abs().max() <= 1e-5
