"""What the commands that measure the engine share: options, media, how figures are written."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnibind.cli.options import Device, Dtype, Memory, ModelSize, WeightsKind
from omnibind.cli.printing import json_text, talk
from omnibind.plugins import registry

if TYPE_CHECKING:
    from omnibind.bench.media import Media
    from omnibind.bench.setting import Setting
    from omnibind.bench.timing import Spread

__all__ = [
    "Batch",
    "Batches",
    "Items",
    "MediaFolder",
    "Modalities",
    "OneRecipe",
    "Out",
    "Profile",
    "Recipes",
    "Runs",
    "gib",
    "made_media",
    "setting_asked",
    "shown",
    "written",
]

Recipes = Annotated[list[str] | None, typer.Argument(help="Recipes; `starter` if left out.")]
OneRecipe = Annotated[str, typer.Argument(help="A recipe.")]
Modalities = Annotated[
    list[str] | None, typer.Option("--modality", help="Only this one; may be repeated.")
]
Items = Annotated[
    list[str] | None,
    typer.Option("--items", help="How many: image=200, audio=60, points=60, text=200."),
]
Batches = Annotated[
    list[int] | None,
    typer.Option("--batch", min=1, help="Items an encoder sees at once; may be repeated."),
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Items an encoder sees at once.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Threads that decode and preprocess.")
]
MediaFolder = Annotated[
    Path | None,
    typer.Option("--media", help="A folder of files; derived from the examples if left out."),
]
Runs = Annotated[int, typer.Option("--runs", min=1, help="Runs that are counted.")]


def _in_a_folder(file: Path | None) -> Path | None:
    """A file that can be written once all is measured."""
    if file is not None and (file.is_dir() or not file.parent.is_dir()):
        what = "is a folder" if file.is_dir() else f"is in no folder that is there ({file.parent})"
        raise typer.BadParameter(f"{file} {what}")
    return file


Out = Annotated[
    Path | None,
    typer.Option("--out", callback=_in_a_folder, help="A file for the JSON document as well."),
]
Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        callback=_in_a_folder,
        help="A file for a table of operations; .json for a trace.",
    ),
]


def setting_asked(
    size: ModelSize = "full",
    weights: WeightsKind = "official",
    device: Device = "auto",
    dtype: Dtype = "auto",
    memory: Memory = "auto",
    workers: Workers = None,
) -> Setting:
    """The options of commands that run recipes; these add the recipe and the batch."""
    from omnibind.bench.setting import Setting

    return Setting(
        size=size, weights=weights, device=device, dtype=dtype, memory=memory, workers=workers
    )


@contextmanager
def made_media(
    modalities: Sequence[str] | None, items: Sequence[str] | None, folder: Path | None
) -> Generator[Media]:
    """The items to measure with; derived files are gone afterwards."""
    from omnibind.bench import media

    counts = _counts(modalities, items, media.DEFAULT_COUNTS)
    known = registry().modalities
    if folder is not None:
        yield media.files_of(folder, known, counts)
        return
    with tempfile.TemporaryDirectory() as made:
        yield media.derive(media.example_media(), Path(made), known, counts)


def _counts(
    modalities: Sequence[str] | None, items: Sequence[str] | None, usual: Mapping[str, int]
) -> dict[str, int]:
    asked: dict[str, int] = {}
    for words in items or ():
        name, _, count = words.partition("=")
        if not count.isdecimal() or int(count) < 1:
            raise typer.BadParameter(f"{words!r} is not MODALITY=N", param_hint="--items")
        asked[registry().modality(name).name] = int(count)
    chosen = modalities or [*dict.fromkeys([*usual, *asked])]
    for name in chosen:
        if registry().modality(name).name not in usual.keys() | asked.keys():
            raise typer.BadParameter(f"how many of {name!r}? {name}=N", param_hint="--items")
    return {name: asked.get(name, usual.get(name, 0)) for name in chosen}


def written(document: Mapping[str, Any], out: Path | None, as_json: bool) -> bool:
    """Writes the document, and the machine, where they were asked for; whether stdout has them."""
    if out is None and not as_json:
        return False
    from omnibind.bench.hardware import describe

    text = json_text({"machine": describe(), **document})
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
        talk(f"written: {out}")
    if as_json:
        print(text)
    return as_json


def shown(one: Spread | None) -> str:
    """The median, and how far the runs lie apart."""
    return "-" if one is None else f"{one.median:.2f} ({one.least:.2f}-{one.most:.2f})"


def gib(nbytes: int | None) -> str:
    """An amount of memory."""
    return "-" if nbytes is None else f"{nbytes / 2**30:.2f} GiB"
