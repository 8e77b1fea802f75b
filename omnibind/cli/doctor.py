"""`omnibind doctor`: what works here, what does not, and why."""

from __future__ import annotations

import typer

from omnibind.cli.health import Health, examine
from omnibind.cli.options import AsJson
from omnibind.cli.printing import print_json, print_table, talk
from omnibind.plugins import registry

app = typer.Typer()


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what works here and what does not, and why. Nothing is downloaded or changed.

    Exit code 1: something must be mended.
    """
    health = examine(registry())
    if as_json:
        print_json(health)
    else:
        _print(health)
    for problem in health.problems:
        talk(f"problem: {problem.splitlines()[0]}")
    if health.problems:
        raise typer.Exit(1)
    talk("everything that is installed works")


def _print(health: Health) -> None:
    print_table(["system", ""], health.system.items())
    print()
    print_table(["device"], [(device,) for device in health.devices])
    print()
    versions = {name: found or "missing" for name, found in health.libraries.items()}
    print_table(["library", "version"], {**versions, **health.optional}.items())
    print()
    print_table(["plugin", "version"], health.plugins.items())
    print()
    print_table(
        ["space", ">files", "not on this machine yet"],
        [
            (name, len(files), ", ".join(f.file.purpose for f in files if f.path is None) or "-")
            for name, files in health.weights.items()
        ],
    )
    for recipe in health.not_whole:
        talk(f"`omnibind fetch {recipe}` gets the files that are not here yet")
    for failure in health.failures:
        print(f"\nfailed plugin: {failure.name} ({failure.distribution}), at {failure.stage}")
        print(failure.traceback.rstrip())
