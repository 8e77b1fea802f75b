"""Every hook a plugin can implement, on one screen. Hooks return cards, never loaded models.

A plugin is a module named by an entry point:

    [project.entry-points.omnibind]
    mine = "omnibind_plugin_mine"
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from omnibind.specs import Command, Dataset, Modality, Recipe, SpaceSpec

__all__ = ["GROUP", "HOOKS", "hookimpl", "hookspec"]

GROUP = "omnibind"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def provide_modalities() -> Iterable[Modality]:  # pyright: ignore[reportReturnType]
    """New kinds of items: how a path, bytes or an object becomes decoded media."""


@hookspec
def provide_spaces() -> Iterable[SpaceSpec]:  # pyright: ignore[reportReturnType]
    """Embedding spaces: their encoders, licences and projector files."""


@hookspec
def provide_recipes() -> Iterable[Recipe]:  # pyright: ignore[reportReturnType]
    """Named sets of spaces, slots and router inputs."""


@hookspec
def provide_datasets() -> Iterable[Dataset]:  # pyright: ignore[reportReturnType]
    """Labelled items for evaluation."""


@hookspec
def add_commands() -> Iterable[Command]:  # pyright: ignore[reportReturnType]
    """Sub-commands of `omnibind`, imported only when they are called."""


HOOKS = (
    "provide_modalities",
    "provide_spaces",
    "provide_recipes",
    "provide_datasets",
    "add_commands",
)
