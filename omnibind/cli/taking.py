"""Options that several commands share, as one value: a command takes what is made of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, get_type_hints

__all__ = ["taking"]

Command = Callable[..., None]


def taking(**makers: Callable[..., Any]) -> Callable[[Command], Command]:
    """Gives a command the options of other functions in the place of its own parameters.

        @taking(loading=loading)
        def compare(a: list[str], loading: Loading) -> None: ...

    The command line shows the parameters of `loading` where `loading` stood, and the command is
    called with what that function makes of them.

    Args:
        makers: parameter of the command -> the function whose parameters are options.
    """

    def wrap(command: Command) -> Command:
        options = {name: _options(maker) for name, maker in makers.items()}

        @wraps(command)
        def with_options(**values: Any) -> None:
            for name, maker in makers.items():
                values[name] = maker(**{option: values.pop(option) for option in options[name]})
            command(**values)

        shown: dict[str, inspect.Parameter] = {}
        for name, parameter in _options(command, made=tuple(makers)).items():
            shown |= options.get(name) or {name: parameter}
        with_options.__signature__ = inspect.Signature(list(shown.values()))  # pyright: ignore[reportAttributeAccessIssue]
        with_options.__annotations__ = {name: one.annotation for name, one in shown.items()}
        return with_options

    return wrap


def _options(
    function: Callable[..., Any], made: tuple[str, ...] = ()
) -> dict[str, inspect.Parameter]:
    """Parameters by name, annotations read; of what is made, the type may be for checkers alone."""
    unread = {str(function.__annotations__[name]): Any for name in (*made, "return")}
    hints = get_type_hints(function, localns=unread, include_extras=True)
    return {
        name: one.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, one in inspect.signature(function).parameters.items()
    }
