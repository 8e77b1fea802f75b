"""How a failure ends: a message on stderr and an exit code, never a bare traceback."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from omnibind.errors import ItemError, OmnibindError
from omnibind.writing import is_full

__all__ = ["exit_code"]


def exit_code(error: BaseException, *, debug: bool = False) -> int:
    """Says on stderr what went wrong.

    Args:
        error: whatever ended the command.
        debug: show the traceback too.

    Returns:
        130 for Ctrl-C, 1 for items that failed, 2 for everything else.
    """
    if isinstance(error, KeyboardInterrupt):
        return 130
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OmnibindError):
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, ItemError) else 2
    shown: Any = error
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # Typer's own: usage
        shown.show()
        return 2
    if is_full(error):
        print(f"error: to write {getattr(error, 'filename', None) or 'a file'}", file=sys.stderr)
        print(f"  found:  {error}", file=sys.stderr)
        print("  next:   make room on the disk and run the same command again", file=sys.stderr)
        return 2
    print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
    print("  found:  nothing that omnibind knows; the fault may be its own", file=sys.stderr)
    print(
        "  next:   `omnibind doctor` looks for what is broken; `omnibind --debug ...` shows where",
        file=sys.stderr,
    )
    return 2
