"""How commands print: tables and JSON on stdout, talk on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, cast

__all__ = [
    "drawn",
    "json_text",
    "number",
    "print_json",
    "print_rich",
    "print_table",
    "progress",
    "talk",
]


def print_json(document: Any) -> None:
    """One JSON document on stdout; cards and other dataclasses become objects."""
    print(json_text(document))


def json_text(document: Any) -> str:
    """The same as text."""
    import json

    return json.dumps(document, indent=1, allow_nan=False, default=_plain)


def talk(text: str) -> None:
    """A line for people, on stderr."""
    print(text, file=sys.stderr)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; titles that start with `>` are columns of numbers.

    A terminal's width is respected; in a pipe no cell is ever cut or wrapped.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        print_rich(drawn(titles, cells))
    else:
        print("\n".join(_aligned(titles, cells)))


def drawn(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> Any:
    """The same table for rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        right = title.startswith(">")
        table.add_column(title.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    return table


def _aligned(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    right = [title.startswith(">") for title in titles]
    lines = [[title.removeprefix(">") for title in titles], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        columns = zip(line, widths, right, strict=True)
        words = [word.rjust(width) if r else word.ljust(width) for word, width, r in columns]
        yield "  ".join(words).rstrip()


def print_rich(thing: Any) -> None:
    """Anything that rich can draw, on stdout."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 10_000)
    with console.capture() as capture:
        console.print(thing)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


@contextmanager
def progress(label: str, total: int | None = None) -> Generator[Callable[..., None]]:
    """A bar on stderr while that is a terminal.

    Call the result with a number of items when so many more are done, and with the total where
    that was not known before or has changed.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=total)

        def advance(count: int, total: int | None = None) -> None:
            bar.update(task, advance=count, total=total)

        yield advance


def number(value: float | int) -> str:
    """A count in three figures: 1.23 M, 45.6 G."""
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _plain(thing: Any) -> Any:
    if is_dataclass(thing):
        return {field.name: getattr(thing, field.name) for field in fields(thing)}
    if isinstance(thing, Mapping):
        return dict(cast("Mapping[str, Any]", thing))
    return str(thing) if isinstance(thing, Path) else list(thing)
