"""What a recipe adds up to: parameters, operations, bytes, licences; each network counted once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from omnibind.named import checkpoint_folder
from omnibind.plugins import Registry
from omnibind.specs import EncoderSpec, Recipe, SpaceSpec

__all__ = [
    "RecipeFacts",
    "WeightsFile",
    "add_up",
    "files_of",
    "files_of_space",
    "find_recipe",
    "used_encoders",
]

BYTES_AT_BF16 = 2
ROUTER = (512, 100)
"""Widths of a router's hidden layers."""


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """A recipe's installed spaces, added up.

    Attributes:
        name: of the recipe.
        backbone: the space whose coordinates are the joint ones.
        joint_dim: width of a joint row.
        spaces: cards of its installed spaces.
        missing: names of spaces that no installed plugin provides.
        used: each space with each of its encoders that the recipe runs.
        encoders: these networks by key; two spaces that share one carry the same key.
        params: parameters of all networks.
        projector_params: of the projectors and routers, as published: an ensemble of heads a
            space. None where a space ships a projector of its own, whatever that is.
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
    used: tuple[tuple[str, EncoderSpec], ...]
    encoders: dict[str, EncoderSpec]
    params: int
    projector_params: int | None
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
    folder = checkpoint_folder(name, known.recipes)
    if folder is None:
        return known.recipe(name)
    from omnibind.checkpoint import read_checkpoint

    return read_checkpoint(folder).recipe


def add_up(known: Registry, recipe: Recipe) -> RecipeFacts:
    """Adds up the installed spaces of a recipe."""
    spaces = tuple(known.spaces[name] for name in recipe.spaces if name in known.spaces)
    used = used_encoders(known, recipe)
    encoders = {encoder.key: encoder for _, encoder in used}
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
        used=used,
        encoders=encoders,
        params=params,
        projector_params=_projector_params(known, recipe),
        bytes_at_bf16=params * BYTES_AT_BF16,
        flops_per_item=flops,
        licences=_each_once(space.licence for space in spaces),
        commercial_use=_permitted([space.commercial_use for space in spaces]),
    )


def _projector_params(known: Registry, recipe: Recipe) -> int | None:
    """Of heads, rotations (`omnibind.projectors`) and routers, counted without torch."""
    dims = {name: space.dim for name, space in known.spaces.items()}
    mixed = {part for slots in recipe.slots.values() for slot in slots for part in slot.parts}
    projected = mixed & dims.keys() - {*recipe.headless}
    if any(recipe.backbone in known.spaces[name].projectors for name in projected):
        return None
    hidden, joint = recipe.hidden, recipe.joint_dim
    heads = sum((dims[name] + 3) * hidden + (hidden + 3) * joint for name in projected)
    turned = mixed & dims.keys() & {*recipe.rotated_spaces}
    rotations = sum((dims[name] + 1) * joint for name in turned)
    routers = sum(
        (sum(dims.get(name, 0) for name in inputs) + 3) * ROUTER[0]
        + (ROUTER[0] + 3) * ROUTER[1]
        + (ROUTER[1] + 1) * len(recipe.slots[modality])
        for modality, inputs in recipe.router_inputs.items()
    )
    return len(recipe.heads) * heads + rotations + routers


def used_encoders(known: Registry, recipe: Recipe) -> tuple[tuple[str, EncoderSpec], ...]:
    """Space and encoder, for each that a slot or a router of its modality names."""
    found: dict[tuple[str, str], tuple[str, EncoderSpec]] = {}
    for modality, slots in recipe.slots.items():
        named = [part for slot in slots for part in slot.parts]
        for name in [*named, *recipe.router_inputs.get(modality, ())]:
            space = known.spaces.get(name)
            if space and modality in space.encoders:
                found[name, modality] = name, space.encoders[modality]
    return tuple(found.values())


def files_of(known: Registry, recipe: Recipe) -> tuple[WeightsFile, ...]:
    """Every file that a recipe needs of its installed spaces, each reference once."""
    found: dict[str, WeightsFile] = {}
    for space, encoder in used_encoders(known, recipe):
        projectors = {} if recipe.checkpoint else known.spaces[space].projectors
        files = [*files_of_encoder(space, encoder), *_projectors(space, projectors, recipe)]
        for file in files:
            found.setdefault(file.reference, file)
    if recipe.checkpoint:
        bound = WeightsFile(space=recipe.name, purpose="checkpoint", reference=recipe.checkpoint)
        found[bound.reference] = bound
    return tuple(found.values())


def files_of_space(space: SpaceSpec) -> Iterator[WeightsFile]:
    """Every file that a space names, whoever needs it."""
    for encoder in space.encoders.values():
        yield from files_of_encoder(space.name, encoder)
    for reference in space.projectors.values():
        yield WeightsFile(space=space.name, purpose="projector", reference=reference)


def files_of_encoder(space: str, encoder: EncoderSpec) -> Iterator[WeightsFile]:
    """Its weights, then its assets."""
    for reference in encoder.weights:
        yield WeightsFile(space=space, purpose=f"{encoder.modality} weights", reference=reference)
    for asset, reference in encoder.assets.items():
        yield WeightsFile(space=space, purpose=f"{encoder.modality} {asset}", reference=reference)


def _projectors(space: str, projectors: Mapping[str, str], recipe: Recipe) -> Iterator[WeightsFile]:
    if recipe.backbone in projectors:
        reference = projectors[recipe.backbone]
        yield WeightsFile(space=space, purpose="projector", reference=reference)


def _each_once(licences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for one in licences for part in one.split(" AND ")))


def _permitted(answers: list[bool | None]) -> bool | None:
    if False in answers:
        return False
    return None if None in answers or not answers else True
