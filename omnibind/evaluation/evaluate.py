"""The bound model beside its members on one benchmark, as JSON, Markdown and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnibind.binder import Binder
from omnibind.evaluation.bootstrap import Figure
from omnibind.evaluation.classification import Classification
from omnibind.evaluation.classified import Classified
from omnibind.evaluation.directions import refuse_unmeasurable, said_of
from omnibind.evaluation.measure import Retrieval
from omnibind.evaluation.members import LabelledRows, bound, compare, members
from omnibind.evaluation.overlap import UNKNOWN, SeenItems
from omnibind.evaluation.pairs import AnyToAny
from omnibind.evaluation.picture import Series, whiskers
from omnibind.writing import write_text

__all__ = ["Evaluation", "evaluate"]

PICTURES = ("map.svg", "r_at_*.svg", "classification_*.svg")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a benchmark says.

    Attributes:
        name: of the benchmark.
        whole: the bound model.
        alone: each member, by space.
        classified: zero-shot classification by modality, where it was asked for.
        seen: which of its items training has seen.
        facts: further circumstances to print.
    """

    name: str
    whole: AnyToAny
    alone: Mapping[str, AnyToAny]
    classified: Mapping[str, Classified]
    seen: SeenItems = UNKNOWN
    facts: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, metric: str = "R@1") -> dict[tuple[str, str], tuple[str, Figure]]:
        """By direction: the best member, and bound minus best member by paired bootstrap."""
        best = compare(self.whole, self.alone, metric)
        return {
            pair: (name, self.whole.pairs[pair].minus(found, metric))
            for pair, (name, found) in best.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Everything; differences for each metric."""
        return {
            "benchmark": self.name,
            "bound": self.whole.to_json(),
            "left_out": [{"from": a, "to": b} for a, b in self.whole.left_out],
            "members": {space: found.to_json() for space, found in self.alone.items()},
            "bound_minus_best_member": {
                metric: [
                    {"from": a, "to": b, "member": name, **one.to_json()}
                    for (a, b), (name, one) in self.differences(metric).items()
                ]
                for metric in self.whole.metrics
            },
            "classification": {m: found.to_json() for m, found in self.classified.items()},
            "overlap": self.seen.to_json(),
            "facts": dict(self.facts),
        }

    def summary(self) -> dict[str, Any]:
        """The figures alone, for a checkpoint: each with the ends of its interval."""
        best = compare(self.whole, self.alone, "mAP")
        return {
            "directions": [
                {
                    "from": a,
                    "to": b,
                    "queries": found.queries,
                    "candidates": found.candidates,
                    **{metric: _ends(one) for metric, one in found.figures.items()},
                    "median_rank": found.median_rank.value,
                    "best_member": best[a, b][0] if (a, b) in best else None,
                }
                for a, b, found in self.whole
            ],
            "left_out": [{"from": a, "to": b} for a, b in self.whole.left_out],
            "classification": {m: found.summary() for m, found in self.classified.items()},
            "overlap": self.seen.to_json(),
        }

    def to_markdown(self) -> str:
        """Two tables: retrieval and classification, with every member."""
        lines = [f"# {self.name}", "", "Intervals: 95 %, bootstrap over queries.", ""]
        lines += [f"* {self.seen.said()}"]
        lines += [f"* {name}: {value}" for name, value in self.facts.items()]
        if self.whole.left_out:
            lines += [f"* {said_of(self.whole.left_out)}"]
        if self.whole.pairs:
            lines += ["", *self._retrieval_lines()]
        if self.classified:
            lines += ["", *self._classified_lines()]
        return "\n".join([*lines, ""])

    def to_svg(self, metric: str = "R@1") -> str:
        """A picture: bound and members by direction, with intervals and chance."""
        models = {"bound": self.whole, **self.alone}
        return whiskers(
            f"{self.name}: {metric}",
            [
                Series(
                    name=name,
                    values={f"{a} → {b}": found.figures[metric] for a, b, found in table},
                )
                for name, table in models.items()
            ],
        )

    def classes_to_svg(self, metric: str = "top-1") -> str:
        """The same of classification, by modality."""
        values: dict[str, dict[str, Figure]] = {"bound": {}}
        for modality, found in self.classified.items():
            for name, one in found.models.items():
                values.setdefault(name, {})[modality] = one.figures[metric]
        series = [Series(name=name, values=own) for name, own in values.items()]
        return whiskers(f"{self.name}: classification, {metric}", series)

    def write(self, folder: Path) -> None:
        """`evaluation.json`, `evaluation.md` and one picture a metric; former pictures go."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "evaluation.json": json.dumps(self.to_json(), indent=1),
            "evaluation.md": self.to_markdown(),
        }
        for metric in self.whole.metrics:
            files[f"{_file_name(metric)}.svg"] = self.to_svg(metric)
        for metric in next(iter(self.classified.values())).bound.figures if self.classified else ():
            files[f"classification_{_file_name(metric)}.svg"] = self.classes_to_svg(metric)
        for name, content in files.items():
            write_text(folder / name, content)
        for path in (path for former in PICTURES for path in folder.glob(former)):
            if path.name not in files:
                path.unlink()

    def _retrieval_lines(self) -> list[str]:
        titles = ["direction", "model", "queries", "candidates", *self.whole.metrics]
        titles += ["median rank", "chance R@1", "bound - best member, R@1"]
        differences = self.differences()
        lines = _head(titles)
        for a, b, found in self.whole:
            gain = _gain(differences.get((a, b)))
            lines.append(_retrieved(f"{a} -> {b}", "bound", found, gain))
            for space, table in self.alone.items():
                if (a, b) in table.pairs:
                    lines.append(_retrieved("", space, table.pairs[a, b], ""))
        return lines

    def _classified_lines(self) -> list[str]:
        metrics = list(next(iter(self.classified.values())).bound.figures)
        titles = ["items", "model", "n", "classes", *metrics]
        lines = _head([*titles, "chance top-1", "bound - best member, top-1"])
        for modality, found in self.classified.items():
            for name, one in found.models.items():
                bound = one is found.bound
                gain = _gain(found.difference("top-1")) if bound else ""
                lines.append(_classified(modality if bound else "", name, one, gain))
        return lines


def evaluate(
    binder: Binder,
    data: LabelledRows,
    *,
    name: str = "evaluation",
    classified: Mapping[str, Classified] | None = None,
    seen: SeenItems = UNKNOWN,
    facts: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Evaluation:
    """Measures a bound model and each of its members on the same rows.

    Args:
        binder: of the model.
        data: the benchmark.
        name: of the benchmark.
        classified: zero-shot classification by modality, measured by the caller.
        seen: which of the items training has seen.
        facts: circumstances to print.
        settings: of `retrieval`: ks, resamples, seed.

    Raises:
        SetupError: nothing can be measured: no modality shares a label with another one, and
            nothing is classified.
    """
    refuse_unmeasurable(name, data.labels, classes=bool(classified))
    return Evaluation(
        name=name,
        whole=bound(binder, data, **settings),
        alone=members(data, **settings),
        classified=classified or {},
        seen=seen,
        facts=facts or {},
    )


def _head(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]


def _retrieved(direction: str, model: str, found: Retrieval, gain: str) -> str:
    cells = [direction, model, str(found.queries), str(found.candidates)]
    cells += map(_cell, found.figures.values())
    cells += [f"{found.median_rank.value:g}", f"{found.recall[1].chance:.4f}", gain]
    return f"| {' | '.join(cells)} |"


def _classified(modality: str, model: str, found: Classification, gain: str) -> str:
    cells = [modality, model, str(found.items), str(found.classes)]
    cells += [*map(_cell, found.figures.values()), f"{found.top[1].chance:.4f}", gain]
    return f"| {' | '.join(cells)} |"


def _gain(difference: tuple[str, Figure] | None) -> str:
    if difference is None:
        return ""
    name, one = difference
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f}), {name}"


def _file_name(metric: str) -> str:
    return metric.replace("@", "_at_").replace("-", "_").lower()


def _ends(one: Figure) -> list[float]:
    return [round(number, 4) for number in (one.value, one.low, one.high)]


def _cell(one: Figure) -> str:
    return f"{one.value:.3f} ({one.low:.2f}-{one.high:.2f})"
