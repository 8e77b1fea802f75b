"""The authors' router files: told apart, converted by name, refused when heads are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnibind.checkpoint import read_checkpoint
from omnibind.errors import CheckpointError
from omnibind.official import LETTERS, Layout, convert, convert_file, layout_of
from omnibind.plugins.published import BASE, FULL, LARGE
from omnibind.routers import Router
from omnibind.specs import Recipe

WIDTHS = {"clap-general": 3, "clap-music": 3, "siglip-so400m": 5}


def _shape(key: str, dim: int, hidden: int, out: int) -> tuple[int, ...]:
    layer, part = key.split(".")[-2:]
    if part == "num_batches_tracked":
        return ()
    first = layer in ("0", "1")
    if layer in ("0", "3") and part == "weight":
        return (hidden, dim) if first else (out, hidden)
    return (hidden,) if first else (out,)


def _published(recipe: Recipe) -> dict[str, Tensor]:
    """A file of a size's layout at toy width."""
    torch.manual_seed(1)
    layout, state = Layout(recipe=recipe), {}
    every = list(layout.keys())
    for space in (*layout.blocks, "imagebind"):
        for prefix in layout.prefixes(space):
            for key in filter(lambda k, p=prefix: k.startswith(p), every):
                state[key] = torch.rand(_shape(key, WIDTHS.get(space, 4), 6, 8))
    for modality in LETTERS:
        width = sum(WIDTHS.get(space, 4) for space in recipe.router_inputs[modality])
        slots = [slot.name for slot in recipe.slots[modality]]
        net = Router(width, slots).net
        state |= {layout.router(modality) + key: value for key, value in net.state_dict().items()}
    return {k: v.long() if k.endswith("tracked") else v for k, v in state.items()}


@pytest.mark.parametrize(("recipe", "tensors"), [(BASE, 652), (LARGE, 1338), (FULL, 1338)])
def test_each_size_is_told_by_its_layout(recipe: Recipe, tensors: int) -> None:
    state = _published(recipe)
    assert len(state) == tensors
    assert layout_of(state).recipe == recipe


def test_a_converted_file_binds_every_space_of_its_recipe(tmp_path: Path) -> None:
    torch.save(_published(BASE), tmp_path / "base.pt")
    convert_file(tmp_path / "base.pt", tmp_path / "bound")
    checkpoint = read_checkpoint(tmp_path / "bound")
    assert checkpoint.recipe == BASE
    rows = {space: torch.rand(2, 4) for space in BASE.spaces if space != "eva-clip-18b"}
    for modality in ("audio", "image", "points", "text"):
        assert checkpoint.binder()(modality, rows).degraded == ()


def _without_a_space(space: str) -> dict[str, Tensor]:
    gone = tuple(Layout(recipe=FULL).prefixes(space))
    return {key: value for key, value in _published(FULL).items() if not key.startswith(gone)}


def test_missing_heads_are_named_and_refused() -> None:
    with pytest.raises(CheckpointError, match=r"imagebind: heads 0, 1, 2, 3, 4, 5, 6 missing"):
        convert(_without_a_space("imagebind"))


def test_missing_heads_are_filled_from_another_file_and_that_is_recorded() -> None:
    large = _published(LARGE)
    checkpoint = convert(_without_a_space("uni3d-lvis"), fill_from=large)
    filled = checkpoint.facts["heads taken from another file"]
    assert filled == [f"uni3d-lvis head {head} from large" for head in range(7)]
    first = large[Layout(recipe=LARGE).prefixes("uni3d-lvis")[0] + "0.bias"]
    assert torch.equal(checkpoint.projectors["uni3d-lvis"].first_bias[0, :6], first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra.weight": torch.ones(1)}, "unexpected extra.weight"),
        ({"A_enc_router.router.0.bias": None}, "missing A_enc_router.router.0.bias"),
        ({"V_enc_router.router.6.weight": torch.ones(4, 100)}, "4 slots"),
        ({"V_enc_router.router.6.weight": None}, "0 slots"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_key(change: dict, message: str) -> None:
    state = {k: v for k, v in (_published(BASE) | change).items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        convert(state)
