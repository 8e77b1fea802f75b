"""The bound model beside its members at zero-shot classification of one modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.classification import Classification

__all__ = ["Classified"]


@dataclass(frozen=True, kw_only=True)
class Classified:
    """What models make of the same items and class texts.

    Attributes:
        bound: the bound model.
        alone: each member that reads the modality and text, in its own coordinates, by space.
    """

    bound: Classification
    alone: Mapping[str, Classification]

    @property
    def models(self) -> dict[str, Classification]:
        """By name, the bound model first."""
        return {"bound": self.bound, **self.alone}

    def difference(self, metric: str) -> tuple[str, Figure] | None:
        """The best member, and bound minus best member by paired bootstrap; None without one."""
        if not self.alone:
            return None
        best = max(self.alone, key=lambda space: self.alone[space].figures[metric].value)
        return best, self.bound.minus(self.alone[best], metric)

    def to_json(self) -> dict[str, Any]:
        """The bound model's figures, and beside them each member's and the differences."""
        differences = {metric: self.difference(metric) for metric in self.bound.figures}
        return {
            **self.bound.to_json(),
            "members": {space: found.to_json() for space, found in self.alone.items()},
            "bound_minus_best_member": {
                metric: {"member": one[0], **one[1].to_json()}
                for metric, one in differences.items()
                if one
            },
        }

    def summary(self) -> dict[str, Any]:
        """The bound model's figures, and who was the best member by mAP."""
        best = self.difference("mAP")
        return {**self.bound.to_json(), "best_member": best[0] if best else None}
