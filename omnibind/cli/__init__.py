"""The command `omnibind`: parse, call one library function, print."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit code.

    0: done. 1: some items failed. 2: usage or set-up. 130: stopped by Ctrl-C.

    Args:
        arguments: those of the process where none are given.
    """
    from omnibind.cli.root import run

    return run(arguments)
