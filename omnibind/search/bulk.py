"""Embeds any number of items into a table, and goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from omnibind.embedder import Embedder, Embeddings
from omnibind.engine import Interrupted, Item, recognise
from omnibind.errors import ItemError, MediaError
from omnibind.search.binding import binding_of
from omnibind.search.job import Failed, Job, Part
from omnibind.search.sources import Source
from omnibind.search.table import Facts

__all__ = ["Summary", "embed_table"]

OnDone = Callable[[int], None]
PART_ITEMS, PART_ITEMS_IN_TURN = 256, 4096
"""Items a part; more of them where weights are moved with every part (ours)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of a call.

    Attributes:
        out: the table.
        rows: in the table now.
        added: rows that this call made.
        there: items that had a row already and have not changed.
        failures: items of this call without a row.
        degraded: spaces and routers that were missing in this call.
    """

    out: Path
    rows: int
    added: int
    there: int
    failures: tuple[Failed, ...]
    degraded: tuple[str, ...]


def embed_table(
    model: Embedder,
    sources: Sequence[Source],
    out: Path,
    *,
    part_items: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
    loaded_as: Mapping[str, Any] | None = None,
    on_done: OnDone | None = None,
) -> Summary:
    """Makes or extends a table.

    Rows are kept part by part. After a kill, a power cut or Ctrl-C the same call goes on with the
    items that have no row yet; items that failed are tried again, items that changed are replaced.

    Args:
        model: makes the rows.
        sources: see `gather`.
        out: `.parquet` (streamed, any size), `.safetensors` or `.npz` (gathered in memory).
        part_items: items a part; at most these are encoded again after a kill. By default 256,
            and 4,096 where the encoders take turns on the devices, since each part moves them.
        strict: stop at the first part with an item that fails.
        overwrite: forget the rows that are there.
        loaded_as: arguments of `omnibind.load`, kept so that a search can load the same model.
        on_done: called with a number of items, whenever so many more are done.

    Raises:
        SetupError: `out` is no table, was made by another binding, or is being written.
        ItemError: only when strict; what was done before is kept.
        Interrupted: Ctrl-C; the rows so far are kept.
    """
    part_items = part_items or (PART_ITEMS if model.fits else PART_ITEMS_IN_TURN)
    facts = Facts(binding=binding_of(model), loaded_as=loaded_as or {})
    with Job(out, facts, overwrite) as job:
        due = [source for source in sources if not job.has(source)]
        _call(on_done, len(sources) - len(due))
        added, failures = 0, list[Failed]()
        degraded: dict[str, None] = {}
        for start in range(0, len(due), part_items):
            part, stop = _embed(model, due[start : start + part_items], on_done)
            job.add(part)
            if stop is not None:
                raise stop
            added += len(part.sources)
            failures += part.failures
            degraded |= dict.fromkeys(part.degraded)
            if strict and failures:
                raise _refused(failures)
        rows = job.finish()
    return Summary(
        out=out,
        rows=rows,
        added=added,
        there=len(sources) - len(due),
        failures=tuple(failures),
        degraded=tuple(degraded),
    )


def _embed(
    model: Embedder, sources: Sequence[Source], on_done: OnDone | None
) -> tuple[Part, Interrupted | None]:
    """The rows of one part: one call of the model for each modality in it, until Ctrl-C."""

    def one_done(_: Item) -> None:
        _call(on_done, 1)

    read_as = [_modality(model, source) for source in sources]
    failures = [found for found in read_as if isinstance(found, Failed)]
    _call(on_done, len(failures))
    made: dict[int, tuple[Any, Mapping[str, float]]] = {}
    degraded: dict[str, None] = {}
    stop: Interrupted | None = None
    for modality in dict.fromkeys(found for found in read_as if isinstance(found, str)):
        where = [at for at, found in enumerate(read_as) if found == modality]
        try:
            found = model.embed([sources[at].given for at in where], modality, on_done=one_done)
        except Interrupted as interrupted:
            stop, found = interrupted, cast("Embeddings", interrupted.done)
        rows = found.rows.detach().numpy()
        for index, row, weights in zip(found.indices, rows, found.weights, strict=True):
            made[where[index]] = row, weights
        failures += [
            _failed(sources[where[error.index]], modality, error.stage, error.reason)
            for error in found.errors
        ]
        degraded |= dict.fromkeys(found.degraded)
        if stop is not None:
            break
    order = sorted(made)
    empty = np.empty((0, model.recipe.joint_dim), np.float32)
    part = Part(
        sources=[sources[at] for at in order],
        modalities=[str(read_as[at]) for at in order],
        rows=np.stack([made[at][0] for at in order]) if order else empty,
        weights=[made[at][1] for at in order],
        failures=failures,
        degraded=tuple(degraded),
    )
    return part, stop


def _modality(model: Embedder, source: Source) -> str | Failed:
    """What a source is read as, or why the model cannot read it."""
    name = source.modality
    try:
        if name is None:
            name = recognise(0, source.given, model.known.modalities).modality.name
    except MediaError as error:
        return _failed(source, None, "recognise", str(error))
    if name in model.modalities:
        return name
    refusal = MediaError(
        f"a row of the {name} {source.name[:200]}",
        found=f"the recipe {model.recipe.name!r} reads {', '.join(model.modalities)}",
        next_step="install a space that reads it, choose another recipe, or leave it out",
    )
    return _failed(source, name, "recognise", str(refusal))


def _failed(source: Source, modality: str | None, stage: str, reason: str) -> Failed:
    return Failed(
        source=source.name, state=source.state, modality=modality, stage=stage, reason=reason
    )


def _refused(failures: Sequence[Failed]) -> ItemError:
    return ItemError(
        "a row for every item",
        found=list(_lines(failures)),
        next_step="mend or leave out these items, or do without --strict; finished parts are kept",
    )


def _lines(failures: Sequence[Failed]) -> Iterator[str]:
    for failed in failures:
        yield f"{failed.source[:200]}, {failed.stage}: {failed.reason}"


def _call(on_done: OnDone | None, count: int) -> None:
    if on_done and count:
        on_done(count)
