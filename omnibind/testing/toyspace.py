"""Toy spaces, recipes and registries, made in the process: no entry points, nothing installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from safetensors.torch import save_file

from omnibind.errors import UnknownNameError
from omnibind.plugins import LoadedPlugin, Registry, builtin
from omnibind.projectors import HeadEnsemble, write_projector
from omnibind.specs import EncoderSpec, Recipe, Slot, SpaceSpec
from omnibind.testing.toys import FEATURES
from omnibind.weights import build_encoder
from omnibind.weights.build import seeded

__all__ = ["ToySpace", "toy_recipe", "toy_registry"]


@dataclass(frozen=True)
class ToySpace:
    """Makes the card of a toy space.

        ToySpace("a", dim=8, modalities=("text", "image")).spec

    Attributes:
        name: of the space.
        dim: width of its rows, at every size.
        modalities: some of text, image, audio, points.
        keys: modality -> encoder key, for spaces that share a network; `<name>-<modality>` else.
        licence: of the weights.
        commercial_use: as on the card.
    """

    name: str
    dim: int = 16
    modalities: tuple[str, ...] = ("text", "image", "audio", "points")
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    licence: str = "CC0-1.0"
    commercial_use: bool | None = True

    @property
    def spec(self) -> SpaceSpec:
        """The card; its encoders have random weights only."""
        return SpaceSpec(
            name=self.name,
            dim=self.dim,
            encoders={modality: self._encoder(modality) for modality in self.modalities},
            licence=self.licence,
            commercial_use=self.commercial_use,
            revision="1",
            training_data="nothing",
        )

    def written(self, folder: Path, *, backbone: str = "", joint: int = 0) -> SpaceSpec:
        """The card of the same space with files behind it, as a published one has.

        Args:
            folder: where the encoders' weights and the projector are written.
            backbone: the space that the projector leads to; none is written where this is empty.
            joint: the backbone's width.
        """
        folder.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        encoders = {m: _with_weights(e, folder) for m, e in spec.encoders.items()}
        if not backbone:
            return replace(spec, encoders=encoders)
        path = folder / f"{self.name}-to-{backbone}.safetensors"
        heads = seeded(lambda: HeadEnsemble([self.name], self.dim, joint, hidden=32), self.name, 0)
        write_projector(cast("HeadEnsemble", heads), path, backbone=backbone)
        return replace(spec, encoders=encoders, projectors={backbone: f"file:{path}"})

    def _encoder(self, modality: str) -> EncoderSpec:
        if modality not in FEATURES:
            raise UnknownNameError(
                "toy encoder of the modality", modality, FEATURES, next_step="choose one of these"
            )
        _, features = FEATURES[modality]
        params = (features + 1) * 64 + 64 * self.dim
        return EncoderSpec(
            key=self.keys.get(modality, f"{self.name}-{modality}"),
            modality=modality,
            dim=self.dim,
            params=params,
            flops_per_item=2.0 * params,
            build=f"omnibind.testing.toys:{modality}_{self.dim}",
            weights=(),
        )


def toy_recipe(
    spaces: Iterable[SpaceSpec], *, name: str = "toy", routed: Iterable[str] = ()
) -> Recipe:
    """A recipe with one slot a space, in every modality the space has.

    Args:
        spaces: the first is the backbone.
        name: of the recipe.
        routed: modalities with a router, which reads the rows of all their spaces.
    """
    spaces = list(spaces)
    modalities = dict.fromkeys(modality for space in spaces for modality in space.encoders)
    members = {m: tuple(s.name for s in spaces if m in s.encoders) for m in modalities}
    return Recipe(
        name=name,
        backbone=spaces[0].name,
        joint_dim=spaces[0].dim,
        slots={m: tuple(Slot.of(space) for space in names) for m, names in members.items()},
        router_inputs={m: members[m] for m in routed},
        hidden=32,
    )


def toy_registry(spaces: Iterable[SpaceSpec], recipes: Iterable[Recipe] = ()) -> Registry:
    """A registry of the built-in modalities and these cards, as one plugin named `toys`.

    Raises:
        PluginError: cards that do not go together, as for any plugin.
    """
    known = Registry()
    modalities = builtin.provide_modalities()
    known.add(_plugin("builtin", {"Modality": tuple(card.name for card in modalities)}), modalities)
    spaces, recipes = list(spaces), list(recipes)
    provides = {
        "SpaceSpec": tuple(card.name for card in spaces),
        "Recipe": tuple(card.name for card in recipes),
    }
    known.add(_plugin("toys", provides), [*spaces, *recipes])
    return known


def _plugin(name: str, provides: Mapping[str, tuple[str, ...]]) -> LoadedPlugin:
    return LoadedPlugin(name=name, distribution="omnibind", version="0", provides=provides)


def _with_weights(spec: EncoderSpec, folder: Path) -> EncoderSpec:
    path = folder / f"{spec.key}.safetensors"
    state = build_encoder(spec, weights="random").state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    return replace(spec, weights=(f"file:{path}",))
