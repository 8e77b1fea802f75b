"""Labelled items: read from a table or a plugin's data set, encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import torch

from omnibind.embedder import Embedder
from omnibind.errors import ItemFailure, MediaError, SetupError
from omnibind.evaluation.classification import class_rows, classification
from omnibind.evaluation.classified import Classified
from omnibind.evaluation.members import LabelledRows
from omnibind.plugins import Registry
from omnibind.specs import resolve

__all__ = ["LabelledItem", "encoded", "labelled_items", "refuse_prompts", "zero_shot"]

SEVERAL = "|"
TEXT = "text"
CLASS = "{}"


@dataclass(frozen=True, kw_only=True)
class LabelledItem:
    """One item of a benchmark; a data set of a plugin loads as a list of these.

    Attributes:
        item: whatever `Embedder.embed` takes.
        labels: items that share one are right answers to each other; an item without one is
            only in the way of others.
        modality: read it as this; None where the item tells.
    """

    item: Any
    labels: tuple[str, ...]
    modality: str | None = None


def labelled_items(data: str | Path, known: Registry) -> list[LabelledItem]:
    """Reads a table, or loads a plugin's data set by name.

    A table is CSV or Parquet with a column `path` (relative to the table) or `text` or both, a
    column `label` (several are separated by `|`; none where it is empty), and perhaps a column
    `modality`.

    Args:
        data: the file, or the name.
        known: says which data sets there are.

    Raises:
        SetupError: no such file or data set, or a table without these columns.
        PluginError: a data set that cannot be loaded.
    """
    path = Path(data)
    if not path.is_file():
        card = known.datasets.get(str(data))
        if card is None:
            raise _unreadable(path, "no such file, and no plugin has a data set of this name")
        return list(resolve(card.load)())
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _csv(path)
        lines = cast("list[dict[str, Any]]", table.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    if not lines or not ({"path", TEXT} & lines[0].keys() and "label" in lines[0]):
        raise _unreadable(path, f"columns {', '.join(table.column_names)}; {len(lines)} lines")
    return [_item(line, path.parent) for line in lines]


def encoded(
    model: Embedder, items: Sequence[LabelledItem], *, strict: bool = False, on_done: Any = None
) -> tuple[LabelledRows, tuple[ItemFailure, ...]]:
    """Rows of every space for the good items, and what became of the others.

    Args:
        model: its engine encodes; nothing is bound yet.
        items: of the benchmark.
        strict: raise where an item cannot be encoded instead of listing it.
        on_done: called with each item once it is prepared.

    Raises:
        MediaError: no item could be encoded.
        ItemError: only when strict.
    """
    rows: dict[str, dict[str, torch.Tensor]] = {}
    labels: dict[str, list[tuple[str, ...]]] = {}
    failures: list[ItemFailure] = []
    for modality in dict.fromkeys(one.modality for one in items):
        own = [one for one in items if one.modality == modality]
        given = [one.item for one in own]
        made = model.encode(given, modality, strict=strict, on_done=on_done)
        failures += made.errors
        for name, spaces in made.rows.items():
            before = rows.get(name, {})
            rows[name] = {s: torch.cat([*_there(before, s), new]) for s, new in spaces.items()}
            labels.setdefault(name, []).extend(own[at].labels for at in made.indices[name])
    if not rows:
        raise MediaError(
            f"rows of {len(items)} labelled items",
            found=[failure.reason for failure in failures[:3]],
            next_step="check the paths in the table",
        )
    return LabelledRows(rows=rows, labels=labels), tuple(failures)


def zero_shot(
    model: Embedder, data: LabelledRows, prompts: Sequence[str], **settings: Any
) -> dict[str, Classified]:
    """Classifies the items of every modality but text by their labels, by every member too.

    Args:
        model: embeds the prompts.
        data: the benchmark.
        prompts: patterns such as `a photo of a {}`; a class's row is the mean over them.
        settings: of `classification`.

    Raises:
        SetupError: a prompt without a place for the class.
    """
    refuse_prompts(prompts)
    found: dict[str, Classified] = {}
    for modality, spaces in data.rows.items():
        if modality == TEXT:
            continue
        labels = cast("Sequence[tuple[str, ...]]", data.labels[modality])
        names = sorted({label for several in labels for label in several})
        if not names:
            continue
        said = [(name, prompt.replace(CLASS, name)) for name in names for prompt in prompts]
        texts = model.encode([text for _, text in said], TEXT, strict=True).rows[TEXT]
        of_class = [name for name, _ in said]
        with torch.no_grad():
            joint = model.binder(modality, spaces).rows, model.binder(TEXT, texts).rows
        both = {"": joint} | {s: (own, texts[s]) for s, own in spaces.items() if s in texts}
        made = {
            space: classification(
                rows, class_rows(prompted, of_class, names), names, labels, **settings
            )
            for space, (rows, prompted) in both.items()
        }
        found[modality] = Classified(bound=made.pop(""), alone=made)
    return found


def refuse_prompts(prompts: Iterable[str]) -> None:
    """Refuses patterns that would say the same of every class.

    Raises:
        SetupError: one without `{}`.
    """
    for prompt in prompts:
        if CLASS not in prompt:
            raise SetupError(
                f"classification by the prompt {prompt!r}",
                found=f"no {CLASS} in it: every class would have the same text",
                next_step=f"write {CLASS} where the class stands, as in 'a photo of {CLASS}'",
            )


def _csv(path: Path) -> Any:
    strings = {name: pa.string() for name in ("path", TEXT, "label", "modality")}
    quoted = pa_csv.ParseOptions(newlines_in_values=True)
    return pa_csv.read_csv(
        path,
        parse_options=quoted,
        convert_options=pa_csv.ConvertOptions(column_types=strings),
    )


def _item(line: dict[str, Any], folder: Path) -> LabelledItem:
    said = "" if line["label"] is None else str(line["label"])
    labels = tuple(label.strip() for label in said.split(SEVERAL) if label.strip())
    if line.get("path"):
        given: Any = folder / line["path"]
        return LabelledItem(item=given, labels=labels, modality=line.get("modality") or None)
    return LabelledItem(item=line.get(TEXT) or "", labels=labels, modality=TEXT)


def _there(rows: dict[str, torch.Tensor], space: str) -> Iterable[torch.Tensor]:
    return [rows[space]] if space in rows else []


def _unreadable(path: Path, found: str) -> SetupError:
    return SetupError(
        f"labelled items from {path}",
        found=found,
        next_step="give CSV or Parquet with the columns path or text, and label, or the name of a "
        "data set that an installed plugin provides",
    )
