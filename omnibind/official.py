"""The authors' `projs/{base,large,full}.pt` as bound checkpoints.

The published file names heads by position (`projs.{i}.Head2.mlps.*`, seven a space), ImageBind's
apart (`ib_projs.{0..6}.*`), and routers by letter (`{A,V,P,T}_enc_router.router.*`). The number of
heads and the rows of the image router's last layer tell which of the three layouts it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omnibind.checkpoint import BoundCheckpoint, write_checkpoint
from omnibind.errors import CheckpointError
from omnibind.plugins import registry
from omnibind.plugins.published import BASE, FULL, IMAGEBIND, LARGE
from omnibind.projectors import HeadEnsemble
from omnibind.routers import Router
from omnibind.specs import Recipe
from omnibind.weights import read_state

__all__ = ["Layout", "convert", "convert_file", "ensemble", "layout_of"]

HEADS = 7
LETTERS = {"audio": "A", "image": "V", "points": "P", "text": "T"}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
PAIR = ("weight", "bias")


def _keys(layers: Mapping[int, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(f"{layer}.{part}" for layer, parts in layers.items() for part in parts)


HEAD_KEYS = _keys({0: PAIR, 1: NORM, 3: PAIR, 4: NORM})
ROUTER_KEYS = _keys({0: PAIR, 1: NORM, 3: PAIR, 4: NORM, 6: PAIR})


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where each tensor of a published file belongs.

    Attributes:
        recipe: the size that the file is of.
    """

    recipe: Recipe

    @property
    def blocks(self) -> tuple[str, ...]:
        """Spaces in the order of their blocks of seven heads: the text slots' order."""
        own = (IMAGEBIND, self.recipe.backbone)
        parts = [part for slot in self.recipe.slots["text"] for part in slot.parts]
        return tuple(part for part in parts if part not in own)

    def prefixes(self, space: str) -> list[str]:
        """Prefixes of a space's seven heads."""
        if space == IMAGEBIND:
            return [f"ib_projs.{head}.Head2.mlps." for head in range(HEADS)]
        start = HEADS * self.blocks.index(space)
        return [f"projs.{start + head}.Head2.mlps." for head in range(HEADS)]

    def router(self, modality: str) -> str:
        """Prefix of a modality's router."""
        return f"{LETTERS[modality]}_enc_router.router."

    def keys(self) -> Iterator[str]:
        """Every key of the whole file."""
        for space in (*self.blocks, IMAGEBIND):
            yield from (prefix + key for prefix in self.prefixes(space) for key in HEAD_KEYS)
        for modality in LETTERS:
            yield from (self.router(modality) + key for key in ROUTER_KEYS)


def layout_of(state: Mapping[str, Tensor]) -> Layout:
    """Which of the three sizes a published file is of.

    Raises:
        CheckpointError: none of them.
    """
    last = state.get("V_enc_router.router.6.weight")
    rows = 0 if last is None else len(last)
    for recipe in (BASE, LARGE, FULL):
        if rows == len(recipe.slots["image"]):
            return Layout(recipe=recipe)
    raise CheckpointError(
        "the layout of a published router file",
        found=f"{len(state)} tensors; an image router with {rows} slots, where base has "
        f"{len(BASE.slots['image'])}, large {len(LARGE.slots['image'])}, full "
        f"{len(FULL.slots['image'])}",
        next_step="give projs/base.pt, projs/large.pt or projs/full.pt",
    )


def convert(
    state: Mapping[str, Tensor], *, fill_from: Mapping[str, Tensor] | None = None
) -> BoundCheckpoint:
    """Makes a bound checkpoint of a published file.

    Args:
        state: its tensors.
        fill_from: those of another published file, for heads that this one lacks; the result
            says so in its facts.

    Raises:
        CheckpointError: keys that are missing (each head by space) or that belong nowhere.
    """
    layout = layout_of(state)
    whole = dict(state)
    filled = _fill(layout, whole, fill_from) if fill_from is not None else []
    _refuse_misfits(layout, whole)
    projectors = {
        space: ensemble(space, whole, layout.prefixes(space))
        for space in (*layout.blocks, IMAGEBIND)
    }
    facts: dict[str, object] = {"origin": f"converted from the published {layout.recipe.name}.pt"}
    if filled:
        facts["heads taken from another file"] = filled
    return BoundCheckpoint(
        recipe=layout.recipe,
        projectors=projectors,
        routers={modality: _router(layout, modality, whole) for modality in LETTERS},
        facts=facts,
    )


def convert_file(file: Path, out: Path, *, fill_from: Path | None = None) -> Mapping[str, Any]:
    """Converts a published file into the folder of a bound checkpoint; returns its facts.

    Raises:
        WeightsError: a file that cannot be read, or a pickle that wants more than tensors.
        CheckpointError: a file of no known layout, or with missing or unexpected keys.
    """
    other = read_state(fill_from) if fill_from else None
    checkpoint = convert(read_state(file), fill_from=other)
    write_checkpoint(checkpoint, out, registry().spaces)
    return checkpoint.facts


def _lacking(layout: Layout, state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Space -> heads of which at least one tensor is missing."""
    found: dict[str, list[int]] = {}
    for space in (*layout.blocks, IMAGEBIND):
        for head, prefix in enumerate(layout.prefixes(space)):
            if any(prefix + key not in state for key in HEAD_KEYS):
                found.setdefault(space, []).append(head)
    return found


def _fill(layout: Layout, whole: dict[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    source = layout_of(other)
    filled: list[str] = []
    for space, heads in _lacking(layout, whole).items():
        if space not in (*source.blocks, IMAGEBIND):
            continue
        for head in heads:
            here, there = layout.prefixes(space)[head], source.prefixes(space)[head]
            whole |= {here + k: other[there + k] for k in HEAD_KEYS if there + k in other}
            filled.append(f"{space} head {head} from {source.recipe.name}")
    return filled


def _refuse_misfits(layout: Layout, whole: Mapping[str, Tensor]) -> None:
    expected = set(layout.keys())
    extra = sorted(whole.keys() - expected)
    lacking = _lacking(layout, whole)
    routers = sorted(key for key in expected - whole.keys() if "_enc_router" in key)
    if not (extra or lacking or routers):
        return
    found = [
        f"{space}: heads {', '.join(map(str, heads))} missing" for space, heads in lacking.items()
    ]
    found += [f"missing {key}" for key in routers[:5]] + [f"unexpected {key}" for key in extra[:5]]
    raise CheckpointError(
        f"a whole published {layout.recipe.name}.pt ({len(expected)} tensors)",
        found=[f"{len(whole)} tensors", *found],
        next_step="add --fill-from large.pt to take the missing heads from there (the result is "
        "marked), or fetch the file again",
    )


def ensemble(space: str, state: Mapping[str, Tensor], prefixes: list[str]) -> HeadEnsemble:
    """Seven published heads as one ensemble."""

    def over_heads(key: str) -> Tensor:
        return torch.cat([state[prefix + key] for prefix in prefixes])

    count, dim = len(prefixes), state[prefixes[0] + "0.weight"].shape[1]
    joint, hidden = state[prefixes[0] + "3.weight"].shape
    with torch.device("meta"):
        made = HeadEnsemble([space], dim, joint, heads=count, hidden=hidden)
    fitted = {
        "first": over_heads("0.weight").view(1, -1, dim),
        "first_bias": over_heads("0.bias").view(1, -1),
        "second": over_heads("3.weight").view(count, joint, hidden),
        "second_bias": over_heads("3.bias").view(count, joint),
    }
    for name, layer in (("first_norm", 1), ("second_norm", 4)):
        for part in NORM[:-1]:
            fitted[f"{name}.{part}"] = over_heads(f"{layer}.{part}")
        fitted[f"{name}.num_batches_tracked"] = state[f"{prefixes[0]}{layer}.num_batches_tracked"]
    made.load_state_dict(fitted, assign=True)
    return made.eval()


def _router(layout: Layout, modality: str, state: Mapping[str, Tensor]) -> Router:
    prefix, recipe = layout.router(modality), layout.recipe
    own = {key: state[prefix + key] for key in ROUTER_KEYS}
    slots = [slot.name for slot in recipe.slots[modality]]
    temperature = recipe.temperature.get(modality, 1.0)
    router = Router(own["0.weight"].shape[1], slots, temperature=temperature)
    router.net.load_state_dict(own)
    return router.eval()
