"""Is this the file that was meant? By the card's SHA-256, or by the one it had when first seen."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from omnibind.errors import WeightsError
from omnibind.weights.folders import cache_folder, weights_folder

if TYPE_CHECKING:
    from omnibind.weights.references import Reference

__all__ = ["SHA256", "checksum", "record_of", "verify", "verify_first_seen"]

SHA256 = re.compile(r"[0-9a-f]{64}")


def verify(path: Path, reference: Reference) -> None:
    """Checks a file against the SHA-256 of its reference.

    Raises:
        WeightsError: the checksum differs.
    """
    found = _checksum_once(path)
    if found != reference.sha256:
        raise WeightsError(
            f"the file behind {reference.text!r}",
            found=(f"{path}", f"sha256 {found}"),
            next_step=f"{_remove(path)}; if it stays, the source has changed: do not use it",
        )


def verify_first_seen(path: Path, reference: Reference) -> None:
    """Checks a file without a checksum on its card against the one it had when first seen.

    The first time, the checksum is recorded in the cache folder; a file of the hub's own cache
    has then to have the SHA-256 that the hub names it by, which it does for every large file.

    Raises:
        WeightsError: the checksum differs from the recorded one, or from the hub's.
    """
    record, found = record_of(reference), _checksum_once(path)
    if record.is_file():
        known, source = json.loads(record.read_text())["sha256"], f"first seen here, {record}"
    else:
        known, source = _named_by_the_hub(path) or found, "named by the hub"
    if found != known:
        raise WeightsError(
            f"the file behind {reference.text!r}",
            found=(f"{path}", f"sha256 {found}", f"sha256 {known} ({source})"),
            next_step=f"{_remove(path)}; if its publisher has changed it and you want the new "
            f"one, delete {record}: rows made before cannot be compared with new ones",
        )
    if not record.is_file():
        _write(record, json.dumps({"reference": reference.text, "sha256": found}, indent=1))


def record_of(reference: Reference) -> Path:
    """Where the checksum of a reference without one is recorded."""
    return cache_folder() / "first-seen" / f"{_key(reference.text)}.json"


def checksum(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_once(path: Path) -> str:
    """The same, computed once a state (size and time) of the file."""
    facts = path.stat()
    seen = f"{path.resolve()}:{facts.st_size}:{facts.st_mtime_ns}"
    stamp = cache_folder() / "checksums" / _key(seen)
    if stamp.is_file() and SHA256.fullmatch(known := stamp.read_text()):
        return known
    found = checksum(path)
    _write(stamp, found)
    return found


def _named_by_the_hub(path: Path) -> str | None:
    """A file of the hub's cache is a link to a blob, which for large files is named by SHA-256."""
    name = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
    return name if SHA256.fullmatch(name) else None


def _remove(path: Path) -> str:
    folder = weights_folder()
    if folder and path.is_relative_to(folder):
        return f"put the right file into OMNIBIND_WEIGHTS ({folder}/OWNER/NAME/PATH), or remove it"
    return f"delete {path.resolve()} and try again"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)
