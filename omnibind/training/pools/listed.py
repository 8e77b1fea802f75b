"""One item as a pool lists it: its name and state at once, its content only when asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Listed", "Unlisted", "as_json", "listed_file", "printable"]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An item of a pool.

    Attributes:
        source: the absolute path, the member of an archive, or the text itself.
        state: changes when the item does.
        read: gives what the engine takes: a `Path`, a `str`, or the bytes of a file.
        metadata: further facts, as JSON.
    """

    source: str
    state: str
    read: Callable[[], Path | str | bytes]
    metadata: str = "{}"


@dataclass(frozen=True, kw_only=True)
class Unlisted:
    """A place in a pool where an item should be and is not."""

    source: str
    reason: str


def listed_file(path: Path, metadata: str = "{}") -> Listed | Unlisted:
    """A file as an item."""
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        return Unlisted(source=printable(str(path)), reason=f"{type(error).__name__}: {error}")
    return Listed(
        source=printable(str(path)),
        state=f"{facts.st_size}:{facts.st_mtime_ns}",
        read=lambda: path,
        metadata=metadata,
    )


def printable(name: str) -> str:
    """The name without lone surrogates, which neither Arrow nor JSON can hold."""
    return name.encode("utf-8", "backslashreplace").decode()


def as_json(facts: Mapping[str, Any]) -> str:
    """Facts as JSON; what JSON has no form for is written as text, NaN as null."""
    clean = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in facts.items()
    }
    return json.dumps(clean, default=str, sort_keys=True)
