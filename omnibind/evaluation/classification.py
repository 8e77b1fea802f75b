"""Zero-shot classification: which of some class texts is nearest to an item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from omnibind.errors import ShapeError
from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.measure import retrieval
from omnibind.evaluation.ranking import Labels, relevance

__all__ = ["Classification", "class_rows", "classification"]


@dataclass(frozen=True, kw_only=True)
class Classification:
    """How often the right class is near.

    Attributes:
        items: that were classified: those with at least one of the classes.
        classes: by name, those that have an item.
        unlabelled: items without any of the classes; they are left out.
        top: by k: the share of items with a right class among the k nearest; the interval is
            over items.
        mean_average_precision: mean over classes of the average precision with which a class
            text finds its items, as AudioSet is scored; the interval is over classes.
    """

    items: int
    classes: int
    unlabelled: int
    top: Mapping[int, Figure]
    mean_average_precision: Figure

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            "items": self.items,
            "classes": self.classes,
            "unlabelled": self.unlabelled,
            **{f"top-{k}": one.to_json() for k, one in self.top.items()},
            "mAP": self.mean_average_precision.to_json(),
        }


def classification(
    rows: Float[Tensor, "item dim"],
    classes: Float[Tensor, "class dim"],
    names: Sequence[Hashable],
    labels: Labels,
    *,
    ks: Sequence[int] = (1, 5),
    resamples: int = 2000,
    seed: int = 0,
) -> Classification:
    """Classifies items by the nearest class row.

    Args:
        rows: of the items, of any norm.
        classes: a row a class; see `class_rows`.
        names: of the classes.
        labels: the right class of each item, or several.
        ks: cut-offs.
        resamples, seed: of the bootstrap.

    Raises:
        ShapeError: the shapes do not fit, or no item has one of the classes.
    """
    right = relevance(labels, names)
    measured = partial(retrieval, resamples=resamples, seed=seed)
    by_item = measured(rows, classes, right, ks=ks)
    by_class = measured(classes, rows, right.T, ks=(1,))
    return Classification(
        items=by_item.queries,
        classes=by_class.queries,
        unlabelled=by_item.unanswerable,
        top=by_item.recall,
        mean_average_precision=by_class.mean_average_precision,
    )


def class_rows(
    prompts: Float[Tensor, "prompt dim"], of_class: Sequence[Hashable], names: Sequence[Hashable]
) -> Float[Tensor, "class dim"]:
    """One row a class: the mean of its prompts' unit rows, of unit norm.

    Args:
        prompts: a row each.
        of_class: the class of each prompt.
        names: of the classes, in the order that is wanted.

    Raises:
        ShapeError: a class without any prompt.
    """
    found: list[Tensor] = []
    for name in names:
        own = [at for at, one in enumerate(of_class) if one == name]
        if not own:
            raise ShapeError(
                f"a prompt for each of {len(names)} classes",
                found=f"none for {name!r}",
                next_step="give every class at least one text",
            )
        found.append(F.normalize(prompts[own], dim=-1).mean(0))
    return F.normalize(torch.stack(found), dim=-1)
