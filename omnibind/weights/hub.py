"""A file of a model hub repository at a pinned revision, through `huggingface_hub`."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from omnibind.errors import WeightsError
from omnibind.weights.references import Reference, is_offline

__all__ = ["file_of_hub"]

TARGET = re.compile(r"(?P<repo>[^/@]+/[^/@]+)@(?P<revision>[^/]+)/(?P<path>.+)")


def file_of_hub(reference: Reference) -> Path:
    """The path of a hub file in the hub's own cache, downloaded if it is not there.

    Raises:
        WeightsError: a malformed target, or the hub's own refusal.
    """
    match = TARGET.fullmatch(reference.target)
    if not match:
        raise WeightsError(
            f"the weights reference {reference.text!r}",
            found="no owner/name@revision/path",
            next_step="pin a revision: moving branches change rows without a word",
        )
    try:
        return Path(
            hf_hub_download(
                match["repo"],
                match["path"],
                revision=match["revision"],
                local_files_only=is_offline(),
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"the hub file {match['path']!r} of {match['repo']} at {match['revision']}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            next_step="check the network and, for gated repositories, `hf auth login`",
        ) from error
