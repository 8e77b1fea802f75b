"""What a name that is given for a model means: a recipe, or the folder of a bound checkpoint."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CONTENT", "checkpoint_folder"]

CONTENT = "recipe.json"
"""The file of a checkpoint that says what is in it."""


def checkpoint_folder(name: str | Path) -> Path | None:
    """The absolute folder that is meant, or None where it is a recipe's name.

    A bare word is a recipe's name also where a folder is called the same, as long as that folder
    holds no checkpoint.
    """
    folder = Path(name).expanduser()
    bare = isinstance(name, str) and folder.name == name
    meant = (folder / CONTENT).is_file() if bare else isinstance(name, Path) or folder.is_dir()
    return folder.absolute() if meant else None
