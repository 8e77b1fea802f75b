"""Whether a benchmark can be measured at all: asked before anything is encoded or learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from omnibind.errors import RecipeError
from omnibind.evaluation import labelled_items, labels_of, refuse_prompts, refuse_unmeasurable
from omnibind.plugins import Registry
from omnibind.specs import Recipe, SpaceSpec

__all__ = ["refuse_benchmarks"]


def refuse_benchmarks(
    benchmarks: Iterable[str],
    prompts: Sequence[str],
    recipe: Recipe,
    spaces: Mapping[str, SpaceSpec],
    known: Registry,
) -> None:
    """Reads the tables and compares their labels; no item is opened.

    Args:
        benchmarks: tables or data sets.
        prompts: patterns for zero-shot classification.
        recipe: what is bound.
        spaces: cards of its spaces that are there.
        known: the installed plugins.

    Raises:
        SetupError: a benchmark that is not there, or by whose labels nothing can be measured; a
            prompt without a place for the class.
        RecipeError: it has items of a modality that will not be bound.
    """
    refuse_prompts(prompts)
    reads = [
        modality
        for modality, slots in recipe.slots.items()
        if any(slot.parts.keys() <= spaces.keys() for slot in slots)
    ]
    for data in dict.fromkeys(benchmarks):
        labels = labels_of(labelled_items(data, known), known)
        unread = sorted(labels.keys() - set(reads))
        if unread:
            raise RecipeError(
                f"{', '.join(unread)} items of the benchmark {data} by {recipe.name!r}",
                found=f"spaces for {', '.join(reads)}",
                next_step="take them out of the table, or install a space that reads them",
            )
        refuse_unmeasurable(data, labels, classes=bool(prompts))
