"""`omnibind bench ...`: measures omnibind itself."""

from __future__ import annotations

from typing import Annotated

import typer

from omnibind.bench import build as build_bench
from omnibind.bench import pairing as pairing_bench
from omnibind.bench import startup as startup_bench
from omnibind.cli.bench_engine import ceiling, endurance, engine, overhead, threads
from omnibind.cli.bench_options import Out, written
from omnibind.cli.bench_precision import precision
from omnibind.cli.options import AsJson
from omnibind.cli.printing import number, print_table, talk
from omnibind.plugins import registry

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure omnibind itself."""


for command in (engine, threads, overhead, ceiling, endurance, precision):
    app.command()(command)


@app.command()
def startup(
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs that are counted.")] = 9,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Time what needs no torch: import, --help, spaces, plugins, recipes."""
    timings = startup_bench.measure(runs)
    if written({"figures": timings}, out, as_json):
        return
    print_table(
        ["command", ">median", ">fastest", ">slowest", ">runs", f"under {startup_bench.LIMIT} s"],
        [
            (
                timing.command,
                f"{timing.median:.3f} s",
                f"{timing.fastest:.3f} s",
                f"{timing.slowest:.3f} s",
                timing.runs,
                "yes" if timing.median < startup_bench.LIMIT else "no",
            )
            for timing in timings
        ],
    )


@app.command()
def build(out: Out = None, as_json: AsJson = False) -> None:
    """Time the layout of every encoder at full size, without memory; count its parameters."""
    layouts = build_bench.measure(registry())
    if written({"figures": layouts}, out, as_json):
        return
    print_table(
        ["encoder", ">params", ">seconds", f"under {build_bench.LIMIT:g} s", "as on its card"],
        [
            (
                layout.encoder,
                number(layout.params),
                f"{layout.seconds:.2f}",
                "yes" if layout.seconds < build_bench.LIMIT else "no",
                "yes" if layout.params == layout.params_on_card else "no",
            )
            for layout in layouts
        ],
    )


@app.command()
def pairing(
    sizes: Annotated[
        list[int] | None, typer.Option("--items", min=2, help="Items a pool; may be repeated.")
    ] = None,
    dim: Annotated[int, typer.Option("--dim", min=1, help="Width of the rows.")] = 64,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Measure the memory of pairing two pools and taking batches, by the size of the pools."""
    asked = sizes or [10_000, 100_000, 400_000]
    found = pairing_bench.measure(asked, dim, lambda one: talk(f"{one.items} items measured"))
    peak = pairing_bench.extrapolate(found)
    if written({"figures": found, "at": pairing_bench.EXTRAPOLATED, "peak_mb": peak}, out, as_json):
        return
    print_table(
        [">items a pool", ">dim", ">peak MB", ">at start", ">pairing", ">rows/s in batches"],
        [
            (
                one.items,
                one.dim,
                f"{one.peak_mb:.0f}",
                f"{one.start_mb:.0f}",
                f"{one.pair_seconds:.1f} s",
                f"{one.rows_per_second:.0f}",
            )
            for one in found
        ],
    )
    if peak is not None:
        talk(f"extrapolated to {pairing_bench.EXTRAPOLATED:,} items a pool: {peak:.0f} MB")


@app.command()
def heads(
    spaces: Annotated[int, typer.Option("--spaces", min=1, help="Of one width.")] = 4,
    dim: Annotated[int, typer.Option("--dim", min=1, help="Width of rows.")] = 384,
    hidden: Annotated[int, typer.Option("--hidden", min=1, help="Hidden width of a head.")] = 64,
    batch: Annotated[int, typer.Option("--batch", min=12, help="Rows a head and step.")] = 48,
    seconds: Annotated[float, typer.Option("--seconds", min=0.0, help="For each.")] = 5.0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train all heads as one batched module, and one after another; both in one run."""
    from omnibind.bench import heads as heads_bench

    sizes = heads_bench.Sizes(spaces=spaces, dim=dim, hidden=hidden, batch=batch)
    found = heads_bench.measure(sizes, seconds=seconds)
    if written({"figures": [found], "ratio": found.ratio}, out, as_json):
        return
    print_table(
        ["", ">rows/s"],
        [
            ("batched", f"{found.batched:.0f}"),
            ("loop, plain PyTorch", f"{found.loop:.0f}"),
            ("loop, our modules", f"{found.own_loop:.0f}"),
            ("ratio to the plain loop", f"{found.ratio:.2f}"),
        ],
    )


@app.command()
def adding(
    spaces: Annotated[int, typer.Option("--spaces", min=3, max=8, help="Of the toy world.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of the heads' training.")] = 300,
    seed: Annotated[int, typer.Option("--seed", help="Of the world and the training.")] = 0,
    late: Annotated[
        list[str] | None, typer.Option("--late", help="The space that is added; may be repeated.")
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Add each space of a toy world to the others, and bind all of them anew."""
    from omnibind.bench import adding as adding_bench

    world = adding_bench.World(spaces=spaces, steps=steps, seed=seed)
    found = adding_bench.measure(world, late or ())
    if written({"figures": found}, out, as_json):
        return
    print_table(
        ["space", ">mAP before", ">added", ">bound anew", ">added - anew", ">time", ">of anew"],
        [
            (
                one.space,
                f"{one.before:.3f}",
                f"{one.added:.3f}",
                f"{one.anew:.3f}",
                f"{one.added - one.anew:+.3f}",
                f"{one.share:.1%}",
                f"{one.share_anew:.1%}",
            )
            for one in found
        ],
    )
