"""Whether a plugin's cards can be taken: well-formed, and no name claimed twice."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omnibind.errors import PluginError
from omnibind.specs import EncoderSpec, Recipe, SpaceSpec

__all__ = ["check_cards"]

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


Owners = Mapping[tuple[type, str], str]


def check_cards(
    plugin: str, cards: Sequence[Any], owners: Owners, encoders: Mapping[str, EncoderSpec]
) -> None:
    """Refuses a plugin's cards when any one of them cannot be taken.

    Args:
        plugin: its name.
        cards: all that it provides.
        owners: (card type, name) -> plugin, of the cards taken before.
        encoders: key -> card, of the encoders taken before.

    Raises:
        PluginError: a malformed name, a taken name (both plugins are named), an encoder key
            with two meanings, a space whose encoders differ from its card, an unusable recipe.
    """
    keys, seen = dict(encoders), dict(owners)
    for card in cards:
        _check_name(plugin, card)
        _check_free(plugin, card, seen)
        seen[type(card), card.name] = plugin
        if isinstance(card, SpaceSpec):
            _check_space(plugin, card, keys)
        elif isinstance(card, Recipe):
            _check_recipe(plugin, card)


def _check_name(plugin: str, card: Any) -> None:
    if not isinstance(card.name, str) or not NAME.fullmatch(card.name):
        raise PluginError(
            f"the plugin {plugin!r} names a {type(card).__name__} {card.name!r}",
            found="a name that is not lower-case letters, digits, dots and dashes",
            next_step="rename it",
        )


def _check_free(plugin: str, card: Any, seen: Owners) -> None:
    owner = seen.get((type(card), card.name))
    if owner is not None:
        raise PluginError(
            f"the plugin {plugin!r} claims the {type(card).__name__} name {card.name!r}",
            found=f"the plugin {owner!r} has it already",
            next_step=f"uninstall one, or OMNIBIND_DISABLE_PLUGINS={plugin}",
        )


def _check_space(plugin: str, space: SpaceSpec, keys: dict[str, EncoderSpec]) -> None:
    for modality, encoder in space.encoders.items():
        if encoder.modality != modality or encoder.dim != space.dim:
            raise PluginError(
                f"the plugin {plugin!r} provides the space {space.name!r} of width {space.dim}",
                found=f"under {modality!r} an encoder of {encoder.modality!r}, width {encoder.dim}",
                next_step="make card and encoders agree",
            )
        if keys.setdefault(encoder.key, encoder) != encoder:
            raise PluginError(
                f"the plugin {plugin!r} describes the encoder {encoder.key!r}",
                found="another card with this key that says something else",
                next_step="use one card for one network, or another key",
            )


def _check_recipe(plugin: str, recipe: Recipe) -> None:
    for modality, slots in recipe.slots.items():
        names = [slot.name for slot in slots]
        if not names or len(set(names)) != len(names) or not all(s.parts for s in slots):
            raise PluginError(
                f"the plugin {plugin!r} provides the recipe {recipe.name!r}",
                found=f"slots of {modality!r} that are empty or named twice: {names}",
                next_step="give every slot one name and at least one part",
            )
