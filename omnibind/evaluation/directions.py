"""Which modalities of a benchmark can ask which: those whose items share a label."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import permutations

from omnibind.engine import recognise
from omnibind.errors import MediaError, SetupError
from omnibind.evaluation.labelled import LabelledItem
from omnibind.evaluation.ranking import Labels, several
from omnibind.plugins import Registry

__all__ = ["Direction", "labels_of", "refuse_unmeasurable", "said_of", "unanswerable"]

Direction = tuple[str, str]
"""The modality that asks, and the one that is searched."""


def labels_of(items: Sequence[LabelledItem], known: Registry) -> dict[str, list[tuple[str, ...]]]:
    """Labels by modality before anything is encoded, without items that nothing recognises.

    Raises:
        UnknownNameError: an item says a modality that is not there.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for item in items:
        if item.modality is not None:
            known.modality(item.modality)
        try:
            modality = recognise(0, item.item, known.modalities, item.modality).modality.name
        except MediaError:
            continue
        found.setdefault(modality, []).append(item.labels)
    return found


def unanswerable(labels: Mapping[str, Labels]) -> tuple[Direction, ...]:
    """Directions in which no item shares a label with any that it could find."""
    sets = {modality: _all(own) for modality, own in labels.items()}
    return tuple((a, b) for a, b in permutations(sets, 2) if not sets[a] & sets[b])


def refuse_unmeasurable(name: str, labels: Mapping[str, Labels], *, classes: bool = False) -> None:
    """Refuses a benchmark of which nothing can be measured.

    Args:
        name: of the benchmark.
        labels: of its items, by modality.
        classes: zero-shot classification is asked for: items of one modality will do.

    Raises:
        SetupError: no modality shares a label with another one.
    """
    count = len(labels)
    classified = classes and any(_all(own) for name, own in labels.items() if name != "text")
    if len(unanswerable(labels)) < count * (count - 1) or classified:
        return
    kinds = f"{' and '.join(sorted(labels))} items" if labels else "no item that is there"
    shared = ", and no label that two of these share" if count > 1 else " alone" if count else ""
    raise SetupError(
        f"retrieval from one modality to another by {name}",
        found=f"{kinds}{shared}",
        next_step="give items of two modalities the same labels, or classify those of one with "
        "--prompt 'a photo of {}'",
    )


def said_of(left_out: Iterable[Direction]) -> str:
    """A sentence for people; empty where nothing was left out."""
    named = ", ".join(f"{asked} -> {searched}" for asked, searched in left_out)
    return f"left out, since no items of the two share a label: {named}" if named else ""


def _all(labels: Labels) -> set[Hashable]:
    return {label for one in labels for label in several(one)}
