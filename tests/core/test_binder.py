"""The binder: slots, weights, subsets and what it calls degraded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from omnibind.binder import Binder
from omnibind.errors import RecipeError
from omnibind.projectors import Linear
from omnibind.routers import Router
from omnibind.specs import Recipe, Slot

MIX = Slot(name="mix", parts={"b": 0.1, "back": 0.9}, normalise=True)


def _recipe(**changes: object) -> Recipe:
    plain = {
        "name": "toy",
        "backbone": "back",
        "joint_dim": 8,
        "slots": {"text": (Slot.of("a"), Slot.of("b"), MIX)},
        "router_inputs": {"text": ("a",)},
    }
    return Recipe(**(plain | changes))


def _linear(name: str, seed: int) -> Linear:
    torch.manual_seed(seed)
    made = Linear(name, 6, 8)
    torch.nn.init.normal_(made.weight)
    return made


def _router(slots: tuple[str, ...] = ("a", "b", "mix")) -> Router:
    torch.manual_seed(3)
    return Router(6, slots).eval()


def _binder(**changes: object) -> Binder:
    projectors = {"a": _linear("a", 1), "b": _linear("b", 2)}
    return Binder(_recipe(**changes), projectors, {"text": _router()}).eval()


def _rows(*names: str) -> dict[str, Tensor]:
    torch.manual_seed(7)
    made = {name: F.normalize(torch.randn(5, 6), dim=-1) for name in ("a", "b")}
    made["back"] = F.normalize(torch.randn(5, 8), dim=-1)
    return {name: made[name] for name in names}


def test_a_joint_row_is_the_normalised_weighted_sum_of_slots() -> None:
    binder, rows = _binder(), _rows("a", "b", "back")
    bound = binder("text", rows)
    a, b = binder.projectors({"a": rows["a"]})["a"], binder.projectors({"b": rows["b"]})["b"]
    mix = F.normalize(0.1 * b + 0.9 * rows["back"], dim=-1)
    w = binder.routers["text"](rows["a"])
    expected = F.normalize(w[:, :1] * a + w[:, 1:2] * b + w[:, 2:] * mix, dim=-1)
    assert torch.allclose(bound.rows, expected, atol=1e-6)
    assert torch.allclose(bound.weights, w)
    assert bound.degraded == ()


def test_the_backbone_enters_unprojected() -> None:
    rows = _rows("back")
    bound = Binder(_recipe(slots={"text": (Slot.of("back"),)}, router_inputs={}), {})("text", rows)
    assert torch.allclose(bound.rows, rows["back"], atol=1e-6)


def test_a_missing_space_drops_out_and_the_weights_are_renormalised() -> None:
    binder, rows = _binder(), _rows("a", "back")
    bound = binder("text", rows)
    every = binder.routers["text"](rows["a"])
    kept = every[:, [0, 2]]
    assert bound.slots == ("a", "mix")
    assert torch.allclose(bound.weights, kept / kept.sum(-1, keepdim=True))
    assert bound.degraded == ("b",)


def test_a_mix_without_one_part_is_the_other_part() -> None:
    recipe = _recipe(slots={"text": (MIX,)}, router_inputs={})
    rows = _rows("back")
    assert torch.allclose(Binder(recipe, {})("text", rows).rows, rows["back"], atol=1e-6)


def test_without_its_inputs_a_router_gives_way_to_the_recorded_priors() -> None:
    priors = {"text": {"a": 0.2, "b": 0.2, "mix": 0.6}}
    binder = Binder(_recipe(), {"b": _linear("b", 2)}, {"text": _router()}, priors).eval()
    bound = binder("text", _rows("b", "back"))
    assert torch.allclose(bound.weights, torch.tensor([0.25, 0.75]).expand(5, 2))
    assert bound.degraded == ("a", "router:text")


def test_without_router_and_priors_slots_weigh_the_same_and_that_is_said() -> None:
    binder = Binder(_recipe(), {"a": _linear("a", 1), "b": _linear("b", 2)}).eval()
    bound = binder("text", _rows("a", "b", "back"))
    assert torch.allclose(bound.weights, torch.full((5, 3), 1 / 3))
    assert bound.degraded == ("router:text",)


def test_a_recipe_without_router_inputs_is_uniform_by_design() -> None:
    assert _binder(router_inputs={})("text", _rows("a", "b", "back")).degraded == ()


def test_rows_come_out_with_unit_norm_for_every_subset() -> None:
    for names in (("a",), ("b",), ("back",), ("a", "b"), ("b", "back")):
        rows = _binder()("text", _rows(*names)).rows
        assert torch.allclose(rows.norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize(("modality", "names"), [("audio", ("a",)), ("text", ())])
def test_nothing_to_weigh_is_an_error_that_names_the_recipe(
    modality: str, names: tuple[str, ...]
) -> None:
    with pytest.raises(RecipeError, match="'toy'"):
        _binder()(modality, _rows(*names))
