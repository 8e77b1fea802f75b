"""`omnibind bench precision`: what narrower numbers cost, as a cosine, and what they save."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from omnibind.cli.bench_options import Items, MediaFolder, Out, made_media, written
from omnibind.cli.options import AsJson, Device, ModelSize, WeightsKind
from omnibind.cli.printing import print_table, talk
from omnibind.errors import SetupError
from omnibind.plugins import registry

__all__ = ["precision"]


def precision(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Recipes, spaces or encoders; all installed if left out."),
    ] = None,
    numbers: Annotated[
        Literal["both", "bfloat16", "float8"], typer.Option("--numbers", help="Only these.")
    ] = "both",
    items: Items = None,
    size: ModelSize = "full",
    weights: WeightsKind = "official",
    device: Device = "auto",
    media: MediaFolder = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Compare rows of bfloat16 with those of float32, and of float8 with those of bfloat16."""
    from omnibind.bench import precision as precision_bench
    from omnibind.bench.setting import picked

    known, found = registry(), list[precision_bench.Likeness]()
    cards, where = precision_bench.encoders(known, names or ()), picked(device)
    usual = [f"{name}=8" for name in ("image", "audio", "points", "text")]
    with made_media(None, [*usual, *(items or ())], media) as made:
        for card in cards:
            talk(card.key)
            try:
                found += precision_bench.measure(
                    card,
                    made,
                    known,
                    numbers=("bfloat16", "float8") if numbers == "both" else (numbers,),
                    size=size,
                    weights=weights,
                    device=where,
                )
            except SetupError as error:
                talk(f"left out: {error}")
    if written({"size": size, "weights": weights, "figures": found}, out, as_json):
        return
    print_table(
        [
            "encoder",
            "numbers",
            "against",
            ">items",
            ">least cosine",
            ">median",
            ">of two items",
            ">s an item",
            ">times as fast",
            ">bytes",
            f"bears it ({precision_bench.LEAST})",
            "on its card",
        ],
        [
            (
                one.encoder,
                one.numbers,
                one.against,
                one.items,
                f"{one.least:.6f}",
                f"{one.median:.6f}",
                "-" if one.others is None else f"{one.others:.3f}",
                f"{one.seconds / one.items:.3f}",
                f"{one.ratio:.2f}",
                f"{one.bytes:.2f}",
                one.verdict,
                one.on_card,
            )
            for one in found
        ],
    )
