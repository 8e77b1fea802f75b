"""Which items of a benchmark the model was trained on, by content: figures over them flatter it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnibind.engine import recognise
from omnibind.engine.items import short_name
from omnibind.errors import MediaError
from omnibind.evaluation.labelled import LabelledItem
from omnibind.plugins import Registry
from omnibind.seen import SEEN, Seen, content_id, overlap, read_seen

__all__ = ["UNKNOWN", "SeenItems", "Share", "content_ids", "seen_items", "seen_of"]

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Share:
    """The items of one modality.

    Attributes:
        items: of the benchmark.
        seen: names of those that training has seen.
        unknown: items in memory, of which no file can be compared.
    """

    items: int
    seen: tuple[str, ...]
    unknown: int = 0


@dataclass(frozen=True)
class SeenItems:
    """What is known of a benchmark's overlap with the training data.

    Attributes:
        shares: by modality; None where the model does not say what it was trained on.
    """

    shares: Mapping[str, Share] | None

    @property
    def count(self) -> int:
        """Items that training has seen."""
        return sum(len(one.seen) for one in (self.shares or {}).values())

    def to_json(self) -> dict[str, Any]:
        """`known`, and counts and names by modality."""
        if self.shares is None:
            return {"known": False}
        by_modality = {
            m: {"items": one.items, "seen": len(one.seen), "unknown": one.unknown}
            for m, one in self.shares.items()
        }
        names = {m: list(one.seen) for m, one in self.shares.items() if one.seen}
        return {"known": True, "seen": self.count, "modalities": by_modality, "names": names}

    def said(self) -> str:
        """A sentence for people."""
        if self.shares is None:
            return "overlap with training: unknown, the model does not say what binding has seen"
        if not self.count:
            unknown = sum(one.unknown for one in self.shares.values())
            left = f"; {unknown} in memory were not compared" if unknown else ""
            return f"overlap with training: none of the items, by content{left}"
        parts = [
            f"{len(one.seen)} of {one.items} {m} items ({_some(one.seen)})"
            for m, one in self.shares.items()
            if one.seen
        ]
        return f"training has seen {', '.join(parts)}: these figures flatter the model"


UNKNOWN = SeenItems(None)


def seen_of(model: str | Path) -> Seen | None:
    """What a model was trained on; None for a recipe, and for a checkpoint that does not say.

    Args:
        model: a recipe's name, or the folder of a bound checkpoint.
    """
    path = Path(model) / SEEN
    return read_seen(path) if path.is_file() else None


def seen_items(items: Sequence[LabelledItem], known: Registry, seen: Seen | None) -> SeenItems:
    """Compares a benchmark with what training has seen, by content.

    Args:
        items: of the benchmark.
        known: says which modality an item is of.
        seen: see `seen_of`.
    """
    if seen is None:
        return UNKNOWN
    ids = content_ids(items, known)
    return SeenItems({m: _share(seen, m, several) for m, several in ids.items()})


def content_ids(
    items: Sequence[LabelledItem], known: Registry
) -> dict[str, list[tuple[str | None, str]]]:
    """By modality, the content and the name of each item; None where it lies in memory.

    What cannot be recognised or read is left out: it cannot be encoded either.
    """
    ids: dict[str, list[tuple[str | None, str]]] = {}
    for item in items:
        try:
            found = recognise(0, item.item, known.modalities, item.modality)
            made = _content(found.modality.name, found.source)
        except (MediaError, OSError):
            continue
        ids.setdefault(found.modality.name, []).append((made, short_name(item.item)))
    return ids


def _content(modality: str, given: object) -> str | None:
    if modality != "text" and isinstance(given, str):
        given = Path(given)
    return content_id(modality, given) if isinstance(given, Path | str | bytes) else None


def _share(seen: Seen, modality: str, ids: Sequence[tuple[str | None, str]]) -> Share:
    asked = [(made, name) for made, name in ids if made is not None]
    found = overlap(seen, modality, [made for made, _ in asked])
    return Share(
        items=len(ids),
        seen=tuple(asked[at][1] for at in found.positions),
        unknown=len(ids) - len(asked),
    )


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
