"""Zero-shot classification: which of some class texts is nearest to an item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from omnibind.errors import ShapeError
from omnibind.evaluation.bootstrap import Figure, figure, mean
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
        values: by metric (`top-1`, ..., `mAP`), one number for each item, or for each class.
        resamples, seed: of the bootstrap.
    """

    items: int
    classes: int
    unlabelled: int
    top: Mapping[int, Figure]
    mean_average_precision: Figure
    values: Mapping[str, NDArray[np.float64]] = field(repr=False, compare=False)
    resamples: int
    seed: int

    @property
    def figures(self) -> dict[str, Figure]:
        """By metric."""
        tops = {f"top-{k}": one for k, one in self.top.items()}
        return {**tops, "mAP": self.mean_average_precision}

    def minus(self, other: Classification, metric: str) -> Figure:
        """How much better this is than another model at the same items, by paired bootstrap."""
        gained = self.values[metric] - other.values[metric]
        return figure(gained, mean, chance=0.0, resamples=self.resamples, seed=self.seed)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            "items": self.items,
            "classes": self.classes,
            "unlabelled": self.unlabelled,
            **{metric: one.to_json() for metric, one in self.figures.items()},
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
        values={f"top-{k}": by_item.values[f"R@{k}"] for k in ks} | {"mAP": by_class.values["mAP"]},
        resamples=resamples,
        seed=seed,
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
