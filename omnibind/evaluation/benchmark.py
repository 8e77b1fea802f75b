"""A benchmark from its name or table to the figures of a model, in one call or in two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from omnibind.embedder import Embedder
from omnibind.errors import ItemFailure
from omnibind.evaluation.directions import Direction, unanswerable
from omnibind.evaluation.evaluate import Evaluation, evaluate
from omnibind.evaluation.labelled import LabelledItem, encoded, labelled_items, zero_shot
from omnibind.evaluation.members import LabelledRows
from omnibind.evaluation.overlap import SeenItems, seen_items
from omnibind.seen import Seen

__all__ = ["Benchmark", "read_benchmark"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Labelled items, encoded once; several models can be measured on them.

    Attributes:
        name: of the table or data set.
        rows: of the good items.
        failures: the items without a row.
        seen: which of the items training has seen.
    """

    name: str
    rows: LabelledRows
    failures: tuple[ItemFailure, ...]
    seen: SeenItems

    @property
    def left_out(self) -> tuple[Direction, ...]:
        """Directions that cannot be measured."""
        return unanswerable(self.rows.labels)

    def only(self, modalities: Collection[str]) -> Benchmark:
        """The items of some modalities."""
        rows = {m: one for m, one in self.rows.rows.items() if m in modalities}
        labels = {m: self.rows.labels[m] for m in rows}
        return replace(self, rows=LabelledRows(rows=rows, labels=labels))

    def evaluate(
        self, model: Embedder, prompts: Sequence[str] = (), *, resamples: int = 2000
    ) -> Evaluation:
        """Measures a model that has the same spaces, or some of them.

        Args:
            model: bound otherwise, perhaps.
            prompts: patterns for zero-shot classification, such as `a photo of {}`.
            resamples: of the bootstrap.

        Raises:
            SetupError: nothing can be measured by its labels.
        """
        return evaluate(
            model.binder,
            self.rows,
            name=self.name,
            classified=zero_shot(model, self.rows, prompts, resamples=resamples) if prompts else {},
            seen=self.seen,
            resamples=resamples,
        )


def read_benchmark(
    model: Embedder,
    data: str | Sequence[LabelledItem],
    *,
    name: str = "",
    seen: Seen | None = None,
    strict: bool = False,
    on_done: Callable[[object], None] | None = None,
) -> Benchmark:
    """Encodes a benchmark.

    Args:
        model: its engine encodes.
        data: a table, the name of a plugin's data set, or the items themselves.
        name: of the benchmark; what `data` says, where it is left out.
        seen: what the model was trained on; see `omnibind.evaluation.overlap.seen_of`.
        strict: raise where an item cannot be encoded instead of listing it.
        on_done: called with each item once it is prepared.

    Raises:
        SetupError: there is no such table or data set.
        MediaError: no item could be encoded.
        ItemError: only when strict.
    """
    items = labelled_items(data, model.known) if isinstance(data, str) else data
    rows, failures = encoded(model, items, strict=strict, on_done=on_done)
    return Benchmark(
        name=name or (data if isinstance(data, str) else "benchmark"),
        rows=rows,
        failures=failures,
        seen=seen_items(items, model.known, seen),
    )
