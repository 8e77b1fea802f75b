"""A folder as a pool: every file in it and below that its modality reads, in order of names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omnibind.specs import Modality
from omnibind.training.pools.listed import Listed, Unlisted, listed_file

__all__ = ["folder_items"]


def folder_items(
    folder: Path, modality: Modality, *, apart: Path | None = None
) -> Iterator[Listed | Unlisted]:
    """Lists a folder; hidden files, other endings and the folder `apart` are passed over."""
    left_out = os.path.realpath(apart) if apart else ""
    for where, folders, names in os.walk(os.path.abspath(folder)):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(where, name)) != left_out
        )
        for name in sorted(names):
            ours = os.path.splitext(name)[1].lower() in modality.extensions
            if ours and not name.startswith("."):
                yield listed_file(Path(where, name))
