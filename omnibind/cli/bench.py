"""`omnibind bench ...`: measures omnibind itself."""

from __future__ import annotations

from typing import Annotated

import typer

from omnibind.bench import build as build_bench
from omnibind.bench import startup as startup_bench
from omnibind.cli.options import AsJson
from omnibind.cli.printing import number, print_json, print_table
from omnibind.plugins import registry

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure omnibind itself."""


@app.command()
def startup(
    runs: Annotated[int, typer.Option("--runs", min=1, help="Runs that are counted.")] = 9,
    as_json: AsJson = False,
) -> None:
    """Time what needs no torch: import, --help, spaces, plugins, recipes."""
    timings = startup_bench.measure(runs)
    if as_json:
        print_json(timings)
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
def build(as_json: AsJson = False) -> None:
    """Time the layout of every encoder at full size, without memory; count its parameters."""
    layouts = build_bench.measure(registry())
    if as_json:
        print_json(layouts)
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
