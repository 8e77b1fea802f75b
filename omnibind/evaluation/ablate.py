"""What each slot is worth: the same benchmark with one slot left out at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omnibind.binder import Binder
from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.directions import refuse_unmeasurable
from omnibind.evaluation.members import LabelledRows, bound
from omnibind.evaluation.pairs import AnyToAny

__all__ = ["Ablation", "ablate"]


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A benchmark without each slot in turn.

    Attributes:
        whole: nothing left out.
        without: by slot, in all modalities at once; where it is a modality's only one it stays.
    """

    whole: AnyToAny
    without: Mapping[str, AnyToAny]

    def losses(self, metric: str) -> dict[str, dict[tuple[str, str], Figure]]:
        """By slot and direction: whole minus without it, by paired bootstrap; above 0 it helps."""
        return {
            slot: {
                pair: found.minus(table.pairs[pair], metric)
                for pair, found in self.whole.pairs.items()
            }
            for slot, table in self.without.items()
        }

    def to_json(self, metric: str = "mAP") -> dict[str, Any]:
        """Losses by slot, and their mean over directions."""
        return {
            slot: {
                "mean": sum(one.value for one in pairs.values()) / len(pairs),
                "directions": [
                    {"from": a, "to": b, **one.to_json()} for (a, b), one in pairs.items()
                ],
            }
            for slot, pairs in self.losses(metric).items()
        }


def ablate(
    binder: Binder, data: LabelledRows, *, name: str = "the benchmark", **settings: Any
) -> Ablation:
    """Leaves out one slot at a time, of those that have rows; the others are renormalised.

    Args:
        binder: of the model; nothing is trained again.
        data: the benchmark.
        name: of the benchmark, for messages.
        settings: of `retrieval`.

    Raises:
        SetupError: no modality shares a label with another one.
    """
    refuse_unmeasurable(name, data.labels)
    slots = dict.fromkeys(s.name for m, rows in data.rows.items() for s in binder.present(m, rows))
    return Ablation(
        whole=bound(binder, data, **settings),
        without={slot: bound(binder, data, without=[slot], **settings) for slot in slots},
    )
