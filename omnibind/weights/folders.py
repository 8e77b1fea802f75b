"""Where files are looked for and kept: the user's weights folder, the cache, and whether offline.

The layout of `OMNIBIND_WEIGHTS` is that of the references: `hub:owner/name@revision/path` is
looked for as `owner/name/path`, then by its file name alone.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from omnibind.cache import cache_folder
from omnibind.errors import WeightsError

__all__ = ["cache_folder", "file_in_weights_folder", "is_offline", "weights_folder"]

GENERIC = {
    *("model", "pytorch_model", "open_clip_pytorch_model"),
    *("config", "tokenizer", "tokenizer_config", "vocab", "spiece"),
}
"""Stems that files of many repositories share: such a name alone does not tell whose it is."""


def is_offline() -> bool:
    """Whether `OMNIBIND_OFFLINE` forbids every download."""
    return os.environ.get("OMNIBIND_OFFLINE", "") not in ("", "0")


def weights_folder() -> Path | None:
    """The folder that `OMNIBIND_WEIGHTS` names.

    Raises:
        WeightsError: it is no folder.
    """
    chosen = os.environ.get("OMNIBIND_WEIGHTS")
    folder = Path(chosen).expanduser() if chosen else None
    if folder and not folder.is_dir():
        raise WeightsError(
            f"the folder {chosen!r} of OMNIBIND_WEIGHTS",
            found="a file" if folder.exists() else "nothing there",
            next_step="correct or unset OMNIBIND_WEIGHTS; its layout is OWNER/NAME/PATH",
        )
    return folder


def file_in_weights_folder(repository: str, path: str, *, certain: bool) -> Path | None:
    """A hub file in `OMNIBIND_WEIGHTS`, or None where it is not there.

    Args:
        repository: `owner/name`.
        path: inside the repository.
        certain: whether a checksum will tell a wrong file.

    Raises:
        WeightsError: all there is is a file whose name many repositories share.
    """
    folder, name = weights_folder(), PurePosixPath(path).name
    if folder is None:
        return None
    if (folder / repository / path).is_file():
        return folder / repository / path
    if not (folder / name).is_file():
        return None
    if not certain and name.partition(".")[0] in GENERIC:
        raise WeightsError(
            f"the file {path!r} of {repository} in OMNIBIND_WEIGHTS",
            found=f"{folder / name}, a name that many repositories have, and no checksum to tell",
            next_step=f"move it to {folder / repository / path} if it is that one",
        )
    return folder / name
