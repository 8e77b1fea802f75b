"""Why the hub gave no file, in words, and what helps: one answer for each of its errors."""

from __future__ import annotations

import errno

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

__all__ = ["explained"]


def explained(error: Exception, repo: str, revision: str, path: str) -> tuple[str, str]:
    """What was found, and the next step."""
    page = f"{constants.ENDPOINT}/{repo}"
    match error:
        case GatedRepoError():
            return "a gated repository", f"accept its licence at {page}, then `hf auth login`"
        case RevisionNotFoundError():
            return f"no revision {revision!r} there", f"correct the card: see {page}/commits/main"
        case OfflineModeIsEnabled() | LocalEntryNotFoundError():
            return "not cached, and HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE once"
        case EntryNotFoundError():
            return f"no such file at {revision!r}", f"correct the card: see {page}/tree/{revision}"
        case RepositoryNotFoundError():
            return (
                f"{_status(error)}: no such repository, or a private one",
                f"see whether {page} is there; if it is private, `hf auth login`",
            )
        case HfHubHTTPError():
            return _refused(error, page)
        case _:
            return _broken(error, path)


def _refused(error: HfHubHTTPError, page: str) -> tuple[str, str]:
    if error.response.status_code in (401, 403):
        return (
            f"{_status(error)}: the hub refuses",
            f"`hf auth login` with a token that may read {page}",
        )
    return f"{_status(error)}: {error.server_message or 'the hub failed'}", "try again later"


def _broken(error: Exception, path: str) -> tuple[str, str]:
    """Errors of connections and disks."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full: {first}", "free some, or name another folder as HF_HUB_CACHE"
    if first.startswith("Consistency check failed"):
        return f"a truncated file: {first}", "run it again"
    return (
        f"{type(error).__name__}: {first}",
        f"check the network and {constants.ENDPOINT}, then run it again; or put {path!r} into the "
        "folder that OMNIBIND_WEIGHTS names",
    )


def _status(error: HfHubHTTPError) -> str:
    return f"HTTP {error.response.status_code}"
