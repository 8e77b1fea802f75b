"""A file of a model hub repository at a pinned revision: local, cached, or downloaded.

`OMNIBIND_WEIGHTS` is looked into first, then the cache of `huggingface_hub`, which also
downloads: with progress, and on from where a broken connection stopped.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, XetDownloadError

from omnibind.errors import WeightsError
from omnibind.weights.checksums import SHA256
from omnibind.weights.folders import file_in_weights_folder, is_offline
from omnibind.weights.hub_errors import explained
from omnibind.weights.references import Reference

__all__ = ["TARGET", "file_of_hub"]

TARGET = re.compile(r"(?P<repo>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<path>.+)")
TransportError: type[Exception] = HfHubHTTPError.__bases__[0]
"""The error of the HTTP library below, whichever this release of huggingface_hub is built on."""


def file_of_hub(reference: Reference) -> Path:
    """The path of a hub file on this machine, downloaded if it is not there.

    What is cached is taken as it is, without a request: also under a moving revision.

    Raises:
        WeightsError: a malformed target; not here and offline; not enough disk; another file
            than the card's; or the hub's own refusal.
    """
    match = TARGET.fullmatch(reference.target)
    if not match:
        raise WeightsError(
            f"the weights reference {reference.text!r}",
            found="no owner/name@revision/path",
            next_step="pin a revision: moving branches change rows without a word",
        )
    repo, revision, path = match.groups()
    here = file_in_weights_folder(repo, path, certain=reference.sha256 is not None)
    here = here or _cached(repo, revision, path)
    if here:
        return here
    if is_offline():
        raise WeightsError(
            _asked(repo, revision, path),
            found="not on this machine, and OMNIBIND_OFFLINE is set",
            next_step="unset OMNIBIND_OFFLINE once, or put the file at "
            f"{repo}/{path} in the folder that OMNIBIND_WEIGHTS names",
        )
    return _downloaded(reference, repo, revision, path)


def _cached(repo: str, revision: str, path: str) -> Path | None:
    try:
        found = try_to_load_from_cache(repo, path, revision=revision)
    except HFValidationError as error:
        raise WeightsError(
            _asked(repo, revision, path), found=str(error), next_step="correct the card"
        ) from error
    return Path(found) if isinstance(found, str) else None  # or known not to be there


def _downloaded(reference: Reference, repo: str, revision: str, path: str) -> Path:
    try:
        facts = get_hf_file_metadata(hf_hub_url(repo, path, revision=revision))
        _refuse_another(reference, facts.etag)
        _refuse_without_room(reference, facts.size)
        return Path(hf_hub_download(repo, path, revision=revision))
    except (TransportError, XetDownloadError, OSError, ValueError) as error:
        found, next_step = explained(error, repo, revision, path)
        raise WeightsError(
            _asked(repo, revision, path), found=found, next_step=next_step
        ) from error


def _asked(repo: str, revision: str, path: str) -> str:
    return f"the hub file {path!r} of {repo} at {revision}"


def _refuse_another(reference: Reference, etag: str | None) -> None:
    """The hub names large files by their SHA-256: another one need not be downloaded."""
    if reference.sha256 and etag and SHA256.fullmatch(etag) and etag != reference.sha256:
        raise WeightsError(
            f"the file behind {reference.text!r}",
            found=f"sha256 {etag}, by the hub's word; nothing was downloaded",
            next_step="the source has changed: do not use it, and tell the plugin's author",
        )


def _refuse_without_room(reference: Reference, size: int | None) -> None:
    folder = Path(constants.HF_HUB_CACHE).absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if size and size > free:
        raise WeightsError(
            f"room for the file behind {reference.text!r}",
            found=f"{free / 1e9:.2f} GB free in {folder}; the file has {size / 1e9:.2f} GB",
            next_step="free some, or name a folder on another disk as HF_HUB_CACHE",
        )
