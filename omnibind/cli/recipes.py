"""`omnibind recipes [show NAME]`: which recipes are installed, and what one adds up to."""

from __future__ import annotations

from typing import Annotated

import typer

from omnibind.cli.options import NO_OTHER_HELP, AsJson, Context, Help
from omnibind.cli.printing import number, print_json, print_table, talk
from omnibind.cli.recipe_facts import BYTES_AT_BF16, RecipeFacts, add_up, find_recipe
from omnibind.cli.spaces import permitted
from omnibind.plugins import registry
from omnibind.specs import EncoderSpec, Recipe, SpaceSpec

app = typer.Typer(invoke_without_command=True, context_settings=NO_OTHER_HELP)


@app.callback()
def recipes(context: Context, as_json: AsJson = False, help: Help = False) -> None:
    """List the recipes; `recipes show NAME` adds one up."""
    if context.invoked_subcommand:
        return
    known = registry()
    every = [add_up(known, recipe) for recipe in known.recipes.values()]
    if as_json:
        print_json([_as_json(facts) for facts in every])
    elif not every:
        talk("no recipe is installed; pip install omnibind-plugin-<name>")
    else:
        print_table(
            ["recipe", "backbone", ">joint", ">spaces", ">params", "commercial", "plugin"],
            [
                (
                    facts.name,
                    facts.backbone,
                    facts.joint_dim,
                    f"{len(facts.spaces)} of {len(facts.spaces) + len(facts.missing)}",
                    number(facts.params),
                    permitted(facts.commercial_use),
                    known.owners[Recipe, facts.name],
                )
                for facts in every
            ],
        )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A recipe, or the folder of a bound checkpoint.")],
    as_json: AsJson = False,
) -> None:
    """Add up one recipe: parameters, operations, bytes, licences, training data."""
    known = registry()
    facts = add_up(known, find_recipe(known, name))
    if as_json:
        print_json(_as_json(facts))
    else:
        _print(facts)


def _print(facts: RecipeFacts) -> None:
    spaces = {space.name: space for space in facts.spaces}
    print_table(
        ["space", "modality", "encoder", ">params", ">FLOPs/item", ">bf16", "licence",
         "commercial", "training data"],
        [_row(spaces[name], encoder) for name, encoder in facts.used],
    )  # fmt: skip
    print()
    flops = ", ".join(f"{number(f)} {m}" for m, f in facts.flops_per_item.items())
    print_table(
        ["recipe", facts.name],
        [
            ("joint rows", f"{facts.joint_dim} wide, in the coordinates of {facts.backbone}"),
            ("networks", f"{len(facts.encoders)}, each counted once"),
            ("parameters", f"{number(facts.params)} in networks{_projectors(facts)}"),
            ("bytes at bf16", number(facts.bytes_at_bf16) + "B"),
            ("FLOPs an item", flops),
            ("licence", " AND ".join(facts.licences)),
            ("commercial use", permitted(facts.commercial_use)),
        ],
    )
    if facts.missing:
        talk(f"warning: not installed: {', '.join(facts.missing)}")


def _projectors(facts: RecipeFacts) -> str:
    more = facts.projector_params
    return f", {number(more)} in projectors and routers" if more is not None else ""


def _row(space: SpaceSpec, encoder: EncoderSpec) -> tuple[object, ...]:
    return (
        space.name,
        encoder.modality,
        encoder.key,
        number(encoder.params),
        number(encoder.flops_per_item),
        number(BYTES_AT_BF16 * encoder.params) + "B",
        space.licence,
        permitted(space.commercial_use),
        space.training_data,
    )


def _as_json(facts: RecipeFacts) -> dict[str, object]:
    return {**vars(facts), "licence": " AND ".join(facts.licences)}
