"""What a recipe adds up to: parameters, operations, bytes, licences; each network counted once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from omnibind.plugins import Registry
from omnibind.specs import EncoderSpec, Recipe, SpaceSpec

__all__ = ["RecipeFacts", "WeightsFile", "add_up", "files_of", "files_of_space", "find_recipe"]

BYTES_AT_BF16 = 2


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """A recipe's installed spaces, added up.

    Attributes:
        name: of the recipe.
        backbone: the space whose coordinates are the joint ones.
        joint_dim: width of a joint row.
        spaces: cards of its installed spaces.
        missing: names of spaces that no installed plugin provides.
        encoders: networks by key; two spaces that share one carry the same key.
        params: parameters of all networks.
        bytes_at_bf16: memory for these parameters at 2 bytes each.
        flops_per_item: modality -> operations an item, over all networks of that modality.
        licences: those of the spaces, each once. A joint row depends on all of them.
        commercial_use: False when one space forbids it, None when one is unclear.
    """

    name: str
    backbone: str
    joint_dim: int
    spaces: tuple[SpaceSpec, ...]
    missing: tuple[str, ...]
    encoders: dict[str, EncoderSpec]
    params: int
    bytes_at_bf16: int
    flops_per_item: dict[str, float]
    licences: tuple[str, ...]
    commercial_use: bool | None


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file that a space needs: what for, and its reference."""

    space: str
    purpose: str
    reference: str


def find_recipe(known: Registry, name: str) -> Recipe:
    """The recipe of a name, or of the folder of a bound checkpoint."""
    if Path(name).is_dir():
        from omnibind.checkpoint import read_checkpoint

        return read_checkpoint(Path(name)).recipe
    return known.recipe(name)


def add_up(known: Registry, recipe: Recipe) -> RecipeFacts:
    """Adds up the installed spaces of a recipe."""
    spaces = tuple(known.spaces[name] for name in recipe.spaces if name in known.spaces)
    encoders = {e.key: e for space in spaces for e in space.encoders.values()}
    flops: dict[str, float] = {}
    for encoder in encoders.values():
        flops[encoder.modality] = flops.get(encoder.modality, 0.0) + encoder.flops_per_item
    params = sum(encoder.params for encoder in encoders.values())
    return RecipeFacts(
        name=recipe.name,
        backbone=recipe.backbone,
        joint_dim=recipe.joint_dim,
        spaces=spaces,
        missing=tuple(name for name in recipe.spaces if name not in known.spaces),
        encoders=encoders,
        params=params,
        bytes_at_bf16=params * BYTES_AT_BF16,
        flops_per_item=flops,
        licences=_each_once(space.licence for space in spaces),
        commercial_use=_permitted([space.commercial_use for space in spaces]),
    )


def files_of(known: Registry, recipe: Recipe) -> tuple[WeightsFile, ...]:
    """Every file that the installed spaces of a recipe need, each reference once."""
    found: dict[str, WeightsFile] = {}
    for name in recipe.spaces:
        if name in known.spaces:
            for file in files_of_space(known.spaces[name], [recipe.backbone]):
                found.setdefault(file.reference, file)
    return tuple(found.values())


def files_of_space(
    space: SpaceSpec, backbones: Collection[str] | None = None
) -> Iterator[WeightsFile]:
    """Every file that a space needs; its projectors onto these backbones, or all of them."""
    for modality, encoder in space.encoders.items():
        for reference in encoder.weights:
            yield WeightsFile(space=space.name, purpose=f"{modality} weights", reference=reference)
        for asset, reference in encoder.assets.items():
            yield WeightsFile(space=space.name, purpose=f"{modality} {asset}", reference=reference)
    for backbone, reference in space.projectors.items():
        if backbones is None or backbone in backbones:
            yield WeightsFile(space=space.name, purpose="projector", reference=reference)


def _each_once(licences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for one in licences for part in one.split(" AND ")))


def _permitted(answers: list[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers or not answers else True
