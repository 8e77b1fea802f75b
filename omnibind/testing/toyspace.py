"""Toy spaces, recipes and registries, made in the process: no entry points, nothing installed.

a, b = ToySpace("a"), ToySpace("b", modalities=["text", "audio"])
model = omnibind.load("toys", size="tiny", known=toy_registry(a, b, toy_recipe("toys", [a, b])))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from safetensors.torch import save_file

from omnibind.errors import UnknownNameError
from omnibind.plugins import LoadedPlugin, Registry, builtin
from omnibind.projectors import HeadEnsemble, write_projector
from omnibind.specs import Command, Dataset, EncoderSpec, Modality, Recipe, Slot, SpaceSpec
from omnibind.testing.toys import FEATURES, WIDTHS
from omnibind.weights import build_encoder
from omnibind.weights.build import seeded

__all__ = ["ToySpace", "toy_recipe", "toy_registry", "with_files"]

Card = Modality | SpaceSpec | Recipe | Dataset | Command


def ToySpace(
    name: str,
    *,
    dim: int = 8,
    modalities: Iterable[str] = tuple(FEATURES),
    keys: Mapping[str, str] | None = None,
    licence: str = "CC0-1.0",
    commercial_use: bool | None = True,
) -> SpaceSpec:
    """The card (a `SpaceSpec`) of a toy space; its encoders have random weights.

    Args:
        name: of the space.
        dim: width of its rows, at every size.
        modalities: some of text, image, audio, points.
        keys: modality -> encoder key, to share a network with another space;
            `<name>-<modality>` where it says nothing.
        licence: of the weights.
        commercial_use: as on the card.
    """
    return SpaceSpec(
        name=name,
        dim=dim,
        encoders={m: _encoder((keys or {}).get(m, f"{name}-{m}"), m, dim) for m in modalities},
        licence=licence,
        commercial_use=commercial_use,
        revision="1",
        training_data="nothing",
    )


def with_files(space: SpaceSpec, folder: Path, *, backbone: str = "", joint: int = 0) -> SpaceSpec:
    """The card of the same toy space with files behind it, as a published one has.

    Args:
        space: of toy encoders.
        folder: where the encoders' weights and the projector are written.
        backbone: the space that the projector leads to; none is written where this is empty.
        joint: the backbone's width.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoders = {m: _with_weights(encoder, folder) for m, encoder in space.encoders.items()}
    projectors = dict(space.projectors)
    if backbone:
        path = folder / f"{space.name}-to-{backbone}.safetensors"
        heads = seeded(
            lambda: HeadEnsemble([space.name], space.dim, joint, hidden=32), path.name, 0
        )
        write_projector(cast("HeadEnsemble", heads), path, backbone=backbone)
        projectors[backbone] = f"file:{path}"
    return replace(space, encoders=encoders, projectors=projectors)


def toy_recipe(
    name: str,
    spaces: Iterable[SpaceSpec],
    *,
    backbone: str | None = None,
    routed: Iterable[str] = (),
) -> Recipe:
    """A recipe with one slot a space, in every modality the space has.

    Args:
        name: of the recipe.
        spaces: those without a projector file drop out when it is loaded, except the backbone.
        backbone: the first space where it says nothing.
        routed: modalities with a router, which reads the rows of all their spaces.
    """
    listed = list(spaces)
    chosen = next(space for space in listed if space.name == (backbone or listed[0].name))
    modalities = dict.fromkeys(modality for space in listed for modality in space.encoders)
    members = {m: tuple(space.name for space in listed if m in space.encoders) for m in modalities}
    return Recipe(
        name=name,
        backbone=chosen.name,
        joint_dim=chosen.dim,
        slots={m: tuple(Slot.of(space) for space in names) for m, names in members.items()},
        router_inputs={m: members[m] for m in routed},
        hidden=32,
    )


def toy_registry(*cards: Card) -> Registry:
    """A registry of the built-in modalities and these cards, as if a plugin had brought them.

    Raises:
        PluginError: cards that do not go together, as for any plugin.
    """
    known = Registry()
    known.add(_plugin("builtin"), list(builtin.provide_modalities()))
    known.add(_plugin("toys", cards), cards)
    return known


def _plugin(name: str, cards: Iterable[Card] = ()) -> LoadedPlugin:
    names: dict[str, tuple[str, ...]] = {}
    for card in cards:
        kind = type(card).__name__
        names[kind] = (*names.get(kind, ()), card.name)
    return LoadedPlugin(name=name, distribution="toys", version="0", provides=names)


def _encoder(key: str, modality: str, dim: int) -> EncoderSpec:
    if modality not in FEATURES:
        raise UnknownNameError(
            "toy encoder of the modality", modality, FEATURES, next_step="choose one of these"
        )
    _, features = FEATURES[modality]
    params = (features + 1) * WIDTHS["full"] + WIDTHS["full"] * dim
    return EncoderSpec(
        key=key,
        modality=modality,
        dim=dim,
        params=params,
        flops_per_item=2.0 * params,
        build=f"omnibind.testing.toys:{modality}_{dim}",
        weights=(),
    )


def _with_weights(spec: EncoderSpec, folder: Path) -> EncoderSpec:
    path = folder / f"{spec.key}.safetensors"
    state = build_encoder(spec, weights="random").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return replace(spec, weights=(f"file:{path}",))
