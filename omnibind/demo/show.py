"""The demo: embeds a folder of media, counts what finds what, and writes a page about it."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from omnibind.demo.content import content
from omnibind.demo.embedded import Progress, embed, figures
from omnibind.demo.folder import default_media, read_media
from omnibind.demo.page import write_page
from omnibind.embedder import Embedder, load
from omnibind.errors import ItemFailure
from omnibind.evaluation import AnyToAny, Figure

__all__ = ["DemoResult", "figures_table", "run"]


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
    embedded = embed(folder, model, progress)
    table = figures(embedded)
    clock.append(time.perf_counter())
    left_out = tuple(m for m in folder.modalities if m not in model.modalities)
    write_page(page, content(folder, model, embedded, table, left_out))
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
        "95 %: bootstrap interval over queries. Green: above chance.",
        title_style="bold",
        caption_style="dim",
    )
    made.add_column("asked")
    made.add_column("found")
    for k in (1, 5):
        made.add_column(f"R@{k}", justify="right")
        made.add_column("95 %", justify="center", style="dim", no_wrap=True)
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
    return value, f"{figure.low:.2f}-{figure.high:.2f}", f"{figure.chance:.2f}"
