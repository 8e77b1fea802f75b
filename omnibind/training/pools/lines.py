"""A file of texts as a pool: every line that says something is one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from omnibind.specs import Modality
from omnibind.training.pools.listed import Listed, Unlisted, as_json

__all__ = ["line_items", "listed_text"]


def line_items(file: Path, modality: Modality) -> Iterator[Listed | Unlisted]:
    """Lists the lines of a file; empty ones are passed over."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{file.name}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                yield Unlisted(source=f"{file}:{number}", reason=f"not UTF-8: {error.reason}")
                continue
            if text:
                yield listed_text(text, as_json({"line": where}))


def listed_text(text: str, metadata: str) -> Listed:
    """A text as an item; its state is itself."""
    return Listed(source=text, state=text, read=partial(str, text), metadata=metadata)
