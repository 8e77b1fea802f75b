"""`omnibind plugins`: what is installed, what it provides, and what failed."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from omnibind.cli.options import NO_OTHER_HELP, AsJson, Help
from omnibind.cli.printing import print_json, print_table, talk
from omnibind.cli.root import BUILT_IN
from omnibind.plugins import Registry, registry
from omnibind.specs import Command

app = typer.Typer()


@app.command(context_settings=NO_OTHER_HELP)
def plugins(as_json: AsJson = False, help: Help = False) -> None:
    """List the installed plugins, what they provide, and those that failed."""
    known = registry()
    if as_json:
        print_json(
            {
                "plugins": known.plugins,
                "failed": known.failures,
                "hidden_commands": hidden_commands(known),
            }
        )
        return
    print_table(
        ["plugin", "distribution", "version", "provides"],
        [
            (plugin.name, plugin.distribution, plugin.version, _provided(plugin.provides))
            for plugin in known.plugins
        ],
    )
    if known.failures:
        print()
        print_table(
            ["failed", "distribution", "stage", "why"],
            [(f.name, f.distribution, f.stage, _first_line(f.reason)) for f in known.failures],
        )
        talk("`omnibind doctor` shows the tracebacks")
    for name, plugin in hidden_commands(known).items():
        talk(f"warning: the command {name!r} of the plugin {plugin!r} is hidden by omnibind's own")


def hidden_commands(known: Registry) -> dict[str, str]:
    """Commands of plugins that have the name of a built-in one -> the plugin."""
    return {n: known.owners[Command, n] for n in known.commands if n in BUILT_IN}


def _provided(provides: Mapping[str, tuple[str, ...]]) -> str:
    words = {"SpaceSpec": "space"}
    return "; ".join(
        f"{words.get(kind, kind.lower())}: {', '.join(names)}" for kind, names in provides.items()
    )


def _first_line(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines()]
    return " ".join(lines[:2])
