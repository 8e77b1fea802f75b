"""What is measured: a recipe at a size on a device, and the cards that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

import omnibind
from omnibind.embedder import Embedder
from omnibind.engine import Dtype, Engine
from omnibind.engine.devices import pick
from omnibind.errors import RecipeError, UnknownNameError
from omnibind.plugins import Registry, registry
from omnibind.specs import EncoderSpec, Size, SpaceSpec
from omnibind.weights.build import Weights

__all__ = ["Setting", "cards_of", "picked", "spaces_of"]

Cards = Mapping[str, Mapping[str, EncoderSpec]]
"""Modality -> encoder key -> card: what the engine runs, each network once."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way of running a recipe; see `omnibind.load` and `omnibind.engine.Engine`.

    Attributes:
        batch: items that an encoder sees at once.
        memory: bytes that the engine's weights may take on the device, or like "24GiB".
        workers: threads that decode and preprocess; None leaves it to the engine.
    """

    recipe: str = "starter"
    size: Size = "full"
    weights: Weights = "official"
    device: str = "auto"
    dtype: Dtype = "auto"
    batch: int = 32
    memory: str = "auto"
    workers: int | None = None
    seed: int = 0

    def model(self, known: Registry | None = None) -> Embedder:
        """An embedder with an engine of its own that keeps no rows."""
        engine = Engine(
            device=self.device,
            size=self.size,
            weights=self.weights,
            seed=self.seed,
            dtype=self.dtype,
            memory=self.memory,
            workers=self.workers,
            batch_size=self.batch,
            cache=None,
        )
        return omnibind.load(
            self.recipe,
            size=self.size,
            weights=self.weights,
            engine=engine,
            known=known or registry(),
        )


def picked(device: str) -> torch.device:
    """The first device that an engine takes.

    Raises:
        SetupError: it is not there.
    """
    return pick(device)[0]


def spaces_of(model: Embedder, modality: str) -> list[SpaceSpec]:
    """The installed spaces that make joint rows of a modality, each once.

    Raises:
        UnknownNameError: a modality that the recipe has no slots for.
        RecipeError: none of its spaces is installed.
    """
    recipe = model.recipe
    if modality not in recipe.slots:
        raise UnknownNameError(
            f"modality of the recipe {recipe.name!r}",
            modality,
            recipe.slots,
            next_step="choose one of these with --modality",
        )
    named = [part for slot in recipe.slots[modality] for part in slot.parts]
    named += recipe.router_inputs.get(modality, ())
    here = [model.spaces[name] for name in dict.fromkeys(named) if name in model.spaces]
    reading = [space for space in here if modality in space.encoders]
    if not reading:
        raise RecipeError(
            f"encoders of {modality!r} for the recipe {recipe.name!r}",
            found=f"none of {', '.join(dict.fromkeys(named))} is installed",
            next_step="install one of them, or measure another modality",
        )
    return reading


def cards_of(model: Embedder, modalities: Sequence[str]) -> dict[str, dict[str, EncoderSpec]]:
    """The encoders that modalities need; a network that spaces share is there once."""
    cards = {m: [space.encoders[m] for space in spaces_of(model, m)] for m in modalities}
    return {m: {card.key: card for card in every} for m, every in cards.items()}
