"""How long the commands that need no torch take, as a user sees it: whole processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from omnibind.errors import SetupError

__all__ = ["LIMIT", "Timing", "measure"]

LIMIT = 0.3
"""What each of them may take at most, in seconds."""

SCRIPT = "import sys; from omnibind.cli import main; sys.exit(main())"  # as pip installs it
COMMANDS: dict[str, tuple[str, ...]] = {
    "import omnibind": ("-c", "import omnibind"),
    "omnibind --help": ("-c", SCRIPT, "--help"),
    "omnibind spaces": ("-c", SCRIPT, "spaces"),
    "omnibind plugins": ("-c", SCRIPT, "plugins"),
    "omnibind recipes": ("-c", SCRIPT, "recipes"),
}


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Wall seconds of one command over several runs, the first of which is not counted."""

    command: str
    median: float
    fastest: float
    slowest: float
    runs: int


def measure(runs: int = 9) -> tuple[Timing, ...]:
    """Times each command as a process of its own.

    The commands take turns, so that a machine that slows down slows all of them alike.

    Raises:
        SetupError: a command fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, arguments in COMMANDS.items():
            seconds[name].append(_time(name, arguments))
    return tuple(
        Timing(
            command=name,
            median=statistics.median(every[1:]),
            fastest=min(every[1:]),
            slowest=max(every[1:]),
            runs=runs,
        )
        for name, every in seconds.items()
    )


def _time(name: str, arguments: tuple[str, ...]) -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - started
    if done.returncode:
        raise SetupError(
            f"the seconds that `{name}` takes",
            found=(done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1],
            next_step="run it by hand; `omnibind doctor` shows what is broken",
        )
    return elapsed
