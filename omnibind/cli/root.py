"""Which commands there are, and how one is found without importing the others."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import omnibind
from omnibind.cli.failing import exit_code
from omnibind.cli.options import NO_OTHER_HELP, Context, Help
from omnibind.errors import PluginError
from omnibind.plugins import registry
from omnibind.specs import Command, resolve

__all__ = ["BUILT_IN", "Asked", "run"]


@dataclass
class Asked:
    """What was said before the command's name.

    Attributes:
        strict: a plugin that fails, or an item, stops everything.
        debug: tracebacks are shown.
    """

    strict: bool = False
    debug: bool = False


def _command(name: str, help: str) -> Command:
    return Command(name=name, app=f"omnibind.cli.{name.replace('-', '_')}:app", help=help)


BUILT_IN: Mapping[str, Command] = {
    card.name: card
    for card in (
        _command("spaces", "List the installed spaces, or describe one."),
        _command("recipes", "List the recipes; `recipes show NAME` adds them up."),
        _command("plugins", "List the installed plugins, and those that failed."),
        _command("doctor", "Say what works here and what does not, and why."),
        _command("top", "Show what the engines of this machine do now."),
        _command("fetch", "Download and verify every file of a recipe."),
        _command("embed", "Embed files, folders and texts into a table of rows."),
        _command("compare", "Show the cosines between items of any modalities."),
        _command("search", "Find the rows of a table that are nearest to an item."),
        _command("bind", "Learn a joint space from pools of unpaired items."),
        _command("store", "Look into a store of rows, verify it, or drop an encoder's rows."),
        _command("evaluate", "Measure a model and its member spaces on labelled items."),
        _command("explain", "Show which slots made an item's joint row."),
        _command("ablate", "Show what each slot is worth on labelled items."),
        _command("convert", "Make a bound checkpoint of the authors' router files."),
        _command("new-plugin", "Write a plugin that passes its tests at once."),
        _command("demo", "Embed the example media and write a page to look at."),
        _command("bench", "Measure omnibind itself."),
    )
}


class LazyCommand(TyperCommand):
    """A name and a line of help; the command behind it is imported when it is called."""

    def __init__(self, card: Command) -> None:
        super().__init__(card.name, help=card.help, rich_markup_mode=None)
        self.card = card

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Parses the arguments as the real command does."""
        return imported(self.card).make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """The built-in commands and those of the plugins; a plugin never hides a built-in one."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Built-in names first, in the order a newcomer needs them."""
        return [*BUILT_IN, *sorted(registry().commands.keys() - BUILT_IN.keys())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command by name; plugins are loaded only for a name that is not built in."""
        card = BUILT_IN.get(cmd_name) or registry().commands.get(cmd_name)
        return LazyCommand(card) if card else None


def imported(card: Command) -> Any:
    """The command that a card names.

    Raises:
        PluginError: it cannot be imported, or is no Typer app.
    """
    app: Any = resolve(card.app)
    if not isinstance(app, typer.Typer):
        raise PluginError(
            f"the command {card.name!r}, which is {card.app!r}",
            found=f"{type(app).__name__}, not a typer.Typer",
            next_step="mend the card in the plugin",
        )
    app.rich_markup_mode = None  # plain help: rich takes longer to import than the rest to run
    app._add_completion = False  # pyright: ignore[reportPrivateUsage]
    command = typer.main.get_command(app)
    command.name = card.name
    command.context_settings.setdefault("help_option_names", ["--help"])  # not the root's none
    return command


def _strict(context: Context, asked: bool) -> bool:
    context.obj.strict = asked
    if asked:
        os.environ["OMNIBIND_STRICT"] = "1"  # before anything reads the plugins
    return asked


def _debug(context: Context, asked: bool) -> bool:
    context.obj.debug = asked
    return asked


def _version(asked: bool) -> bool:
    if asked:
        print(f"omnibind {omnibind.__version__}")
        raise typer.Exit
    return asked


root = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    context_settings=NO_OTHER_HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@root.callback()
def omnibind_(
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            callback=_strict,
            is_eager=True,
            help="A plugin or an item that fails stops everything.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", callback=_debug, is_eager=True, help="Show tracebacks."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    help: Help = False,
) -> None:
    """Binds pre-trained embedding spaces into one.

    Text, pictures, sounds and 3D shapes become rows that can be compared and searched.
    Results go to stdout, everything else to stderr.
    Exit codes: 0 done, 1 some items failed, 2 usage or set-up.
    """


def _say(message: Warning | str, *_: Any) -> None:
    print(f"warning: {message}", file=sys.stderr)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line; whatever goes wrong ends as a message and an exit code."""
    asked = Asked()
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = _say
    try:
        code = typer.main.get_command(root).main(
            words, prog_name="omnibind", standalone_mode=False, obj=asked
        )
        sys.stdout.flush()
    except SystemExit as stopped:
        if isinstance(stopped.__context__, BrokenPipeError):  # the reader has seen enough
            return 0
        raise
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last stop
        return exit_code(error, debug=asked.debug)
    return code if isinstance(code, int) else 0
