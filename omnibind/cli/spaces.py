"""`omnibind spaces [NAME]`: which spaces are installed, and what one of them is."""

from __future__ import annotations

from typing import Any

import typer

from omnibind.cli.options import NO_OTHER_HELP, AsJson, Context, Help
from omnibind.cli.printing import number, print_json, print_table, talk
from omnibind.plugins import Registry, registry
from omnibind.specs import SpaceSpec

app = typer.Typer()


@app.command(
    options_metavar="[OPTIONS] [NAME]",
    context_settings={**NO_OTHER_HELP, "allow_extra_args": True},
)
def spaces(context: Context, as_json: AsJson = False, help: Help = False) -> None:
    """List the installed spaces, or describe the one called NAME."""
    known = registry()
    if context.args:
        _describe(known, known.space(" ".join(context.args)), as_json=as_json)
    elif as_json:
        print_json([space_facts(known, space) for space in known.spaces.values()])
    else:
        _print_list(known)


def space_facts(known: Registry, space: SpaceSpec) -> dict[str, Any]:
    """A space's card with its plugin, as JSON."""
    return {**vars(space), "plugin": known.owners[SpaceSpec, space.name]}


def permitted(commercial_use: bool | None) -> str:
    """Whether a licence permits commercial use, in a word."""
    return {True: "yes", False: "no", None: "unclear"}[commercial_use]


def _print_list(known: Registry) -> None:
    if not known.spaces:
        talk("no space is installed; pip install omnibind-plugin-<name>")
        return
    print_table(
        ["space", "modalities", ">dim", ">params", "licence", "commercial", "plugin"],
        [
            (
                space.name,
                ", ".join(space.encoders),
                space.dim,
                number(sum({e.key: e.params for e in space.encoders.values()}.values())),
                space.licence,
                permitted(space.commercial_use),
                known.owners[SpaceSpec, space.name],
            )
            for space in known.spaces.values()
        ],
    )


def _describe(known: Registry, space: SpaceSpec, *, as_json: bool) -> None:
    facts = space_facts(known, space)
    if as_json:
        print_json(facts)
        return
    rows = [(k, facts[k]) for k in ("name", "plugin", "dim", "licence", "revision", "paper")]
    rows += [
        ("commercial use", permitted(space.commercial_use)),
        ("training data", space.training_data),
        *((f"projector onto {backbone}", ref) for backbone, ref in space.projectors.items()),
    ]
    for modality, encoder in space.encoders.items():
        rows += [
            (f"{modality} encoder", encoder.key),
            ("  parameters", number(encoder.params)),
            ("  FLOPs an item", number(encoder.flops_per_item)),
            *(("  weights", reference) for reference in encoder.weights),
            *(("  note", encoder.note) for _ in [0] if encoder.note),
        ]
    print_table(["space", space.name], rows[1:])
