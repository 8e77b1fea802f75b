"""The demo: embeds a folder of media, counts what finds what, and writes a page about it."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

import omnibind
from omnibind.demo.folder import MediaFolder, Shown, default_media, read_media
from omnibind.demo.page import cosines, write_page
from omnibind.demo.previews import preview
from omnibind.embedder import Embedder, load
from omnibind.engine import Item
from omnibind.errors import ItemFailure, SetupError
from omnibind.evaluation import AnyToAny, Figure, any_to_any

__all__ = ["DemoResult", "figures_table", "run"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo did.

    Attributes:
        page: the HTML file.
        recipe: name of the recipe.
        items: how many items have a row.
        concepts: how many concepts they show.
        table: every modality asked by every other.
        errors: items without a row; their index is the place in the manifest, item by item.
        degraded: spaces and routers of the recipe that were missing.
        left_out: modalities of the manifest that the recipe cannot read.
        seconds: of the steps `load`, `embed` and `page`.
    """

    page: Path
    recipe: str
    items: int
    concepts: int
    table: AnyToAny
    errors: tuple[ItemFailure, ...]
    degraded: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        return {
            **{name: getattr(self, name) for name in ("recipe", "items", "concepts")},
            "page": str(self.page),
            "table": self.table.to_json(),
            "errors": [asdict(error) for error in self.errors],
            "degraded": list(self.degraded),
            "left_out": list(self.left_out),
            "seconds": dict(self.seconds),
        }


@dataclass(frozen=True, kw_only=True)
class _Row:
    """An item with its joint row and the weights of the slots it came from."""

    item: Shown
    row: Tensor
    weights: Mapping[str, float]


@dataclass(kw_only=True)
class _Embedded:
    rows: list[_Row]
    errors: list[ItemFailure]
    degraded: dict[str, None]


def run(
    media: Path | None,
    page: Path,
    *,
    recipe: str | Path | Embedder = "starter",
    open_browser: bool = False,
    progress: Progress | None = None,
) -> DemoResult:
    """Embeds the media of a folder, and writes the page.

    Args:
        media: a folder with a `manifest.json`; `examples/media` of the checkout if None.
        page: the HTML file to write.
        recipe: a recipe's name, the folder of a bound checkpoint, or a loaded model.
        open_browser: show the page when it is written.
        progress: called with the number of items that are prepared, and of all items.

    Raises:
        SetupError: no media, no recipe, or too few items that could be embedded.
    """
    clock = [time.perf_counter()]
    folder = read_media(media or default_media())
    model = recipe if isinstance(recipe, Embedder) else load(recipe)
    clock.append(time.perf_counter())
    embedded = _embed(folder, model, progress)
    table = _figures(embedded)
    clock.append(time.perf_counter())
    left_out = tuple(m for m in folder.modalities if m not in model.modalities)
    write_page(page, _content(folder, model, embedded, table, left_out))
    clock.append(time.perf_counter())
    if open_browser:
        webbrowser.open(page.resolve().as_uri())
    steps = zip(("load", "embed", "page"), clock, clock[1:], strict=False)
    return DemoResult(
        page=page,
        recipe=model.recipe.name,
        items=len(embedded.rows),
        concepts=len({one.item.concept for one in embedded.rows}),
        table=table,
        errors=tuple(embedded.errors),
        degraded=tuple(embedded.degraded),
        left_out=left_out,
        seconds={name: round(end - start, 3) for name, start, end in steps},
    )


def figures_table(result: DemoResult) -> Table:
    """The any-to-any table, for a rich console."""
    sizes = {found.candidates for _, _, found in result.table}
    among = f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    made = Table(
        title=f"{result.recipe}: any to any, {result.concepts} concepts",
        caption=f"R@k: share of queries with a right answer among the first k of {among}. "
        "In brackets: 95 % bootstrap interval over queries.",
        title_style="bold",
        caption_style="dim",
    )
    made.add_column("asked with")
    made.add_column("found")
    for k in (1, 5):
        made.add_column(f"R@{k}", justify="right")
        made.add_column("95 %", justify="center", style="dim")
        made.add_column("chance", justify="right", style="dim")
    before = ""
    for asked, searched, found in result.table:
        if before and asked != before:
            made.add_section()
        cells = [cell for k in (1, 5) for cell in _cells(found.recall[k])]
        made.add_row(asked if asked != before else "", searched, *cells)
        before = asked
    return made


def _cells(figure: Figure) -> tuple[str, str, str]:
    value = f"[green]{figure.value:.2f}[/]" if figure.low > figure.chance else f"{figure.value:.2f}"
    return value, f"{figure.low:.2f} - {figure.high:.2f}", f"{figure.chance:.2f}"


def _embed(folder: MediaFolder, model: Embedder, progress: Progress | None) -> _Embedded:
    wanted = [m for m in folder.modalities if m in model.modalities]
    total = sum(len(folder.of(m)) for m in wanted)
    done = count(1)

    def prepared(_: Item) -> None:
        if progress:
            progress(next(done), total)

    made = _Embedded(rows=[], errors=[], degraded={})
    for modality in wanted:
        items = folder.of(modality)
        found = model.embed(
            [item.source for item in items],
            modality=modality,
            on_done=prepared,
        )
        made.rows += [
            _Row(item=items[at], row=row, weights=weights)
            for at, row, weights in zip(found.indices, found.rows, found.weights, strict=True)
        ]
        made.errors += [replace(e, index=folder.items.index(items[e.index])) for e in found.errors]
        made.degraded.update(dict.fromkeys(found.degraded))
    return made


def _figures(embedded: _Embedded) -> AnyToAny:
    by_modality: dict[str, list[_Row]] = {}
    for one in embedded.rows:
        by_modality.setdefault(one.item.modality, []).append(one)
    if len(by_modality) < 2:
        reasons = [f"{error.item}: {error.reason}" for error in embedded.errors[:3]]
        raise SetupError(
            "a demo of at least two modalities",
            found=[f"rows of {', '.join(by_modality) or 'nothing'}", *reasons],
            next_step="`omnibind doctor` says what is wrong",
        )
    return any_to_any(
        {m: torch.stack([one.row for one in rows]) for m, rows in by_modality.items()},
        {m: [one.item.concept for one in rows] for m, rows in by_modality.items()},
        ks=(1, 5),
    )


def _content(
    folder: MediaFolder,
    model: Embedder,
    embedded: _Embedded,
    table: AnyToAny,
    left_out: tuple[str, ...],
) -> dict[str, Any]:
    """Everything the page shows."""
    shapes = sum(one.item.modality == "points" for one in embedded.rows)
    return {
        "version": omnibind.__version__,
        "recipe": {"name": model.recipe.name, "width": model.recipe.joint_dim},
        "modalities": list(dict.fromkeys(one.item.modality for one in embedded.rows)),
        "items": [
            {
                "concept": one.item.concept,
                "modality": one.item.modality,
                "name": one.item.name,
                "weights": {slot: round(weight, 4) for slot, weight in one.weights.items()},
                **preview(one.item, shapes),
            }
            for one in embedded.rows
        ],
        "cosines": cosines(torch.stack([one.row for one in embedded.rows])),
        "pairs": table.to_json(),
        "spaces": [
            {
                "name": space.name,
                "modalities": list(space.encoders),
                "licence": space.licence,
                "commercial": space.commercial_use,
                "training": space.training_data,
            }
            for space in model.spaces.values()
        ],
        "errors": [asdict(error) for error in embedded.errors],
        "degraded": list(embedded.degraded),
        "left_out": list(left_out),
        "credits": folder.credits,
    }
