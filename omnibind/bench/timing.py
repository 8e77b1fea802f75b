"""Several runs of one thing: their median and how far they lie apart; two things in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median

__all__ = ["Spread", "in_turns", "quantile", "seconds_of"]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What several runs gave, in the unit of the figure that it stands for."""

    median: float
    least: float
    most: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The spread of at least one value."""
        every = list(values)
        return cls(median=median(every), least=min(every), most=max(every), runs=len(every))


def seconds_of(run: Callable[[], object]) -> float:
    """Wall seconds of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_turns(runs: int, *things: Callable[[], float]) -> tuple[list[float], ...]:
    """Runs each thing once a turn, so that a machine that slows down slows all of them alike.

    Args:
        runs: how many turns.
        things: each runs once and says its own figure.
    Returns:
        the figures of each thing, turn by turn.
    """
    turns = [[thing() for thing in things] for _ in range(runs)]
    return tuple(list(column) for column in zip(*turns, strict=True))


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
