"""Real pre-trained spaces whose weights come in pip packages: five spaces and a recipe."""

from __future__ import annotations

from omnibind.plugins import hookimpl
from omnibind.specs import Recipe, SpaceSpec
from omnibind_plugin_starter import cards


@hookimpl
def provide_spaces() -> list[SpaceSpec]:
    """Picture-text twice, sound-text twice, and shapes with pictures and text."""
    return list(cards.SPACES)


@hookimpl
def provide_recipes() -> list[Recipe]:
    """`starter`: all five, in MiniLM's coordinates."""
    return [cards.STARTER]
