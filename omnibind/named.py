"""What a name that is given for a model means: a recipe, or the folder of a bound checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

__all__ = ["CONTENT", "checkpoint_folder"]

CONTENT = "recipe.json"
"""The file of a checkpoint that says what is in it."""


def checkpoint_folder(name: str | Path, recipes: Collection[str]) -> Path | None:
    """The absolute folder that is meant, or None where it is a recipe's name.

    Args:
        name: a path is always a folder.
        recipes: names of those that are installed. One of them is meant also where a folder is
            called the same, as long as that folder holds no checkpoint.
    """
    folder = Path(name).expanduser()
    if name in recipes:
        meant = (folder / CONTENT).is_file()
    else:
        meant = isinstance(name, Path) or folder.is_dir()
    return folder.absolute() if meant else None
